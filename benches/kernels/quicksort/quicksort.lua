-- Quicksort in place on a table of pseudo-random ints.

local floor = math.floor

local function random_list(n)
  local xs = {}
  local seed = 42
  for i = 1, n do
    seed = seed * 16807 % 2147483647
    xs[i] = seed
  end
  return xs
end

local function quicksort(xs, low, high)
  if low >= high then return end
  local pivot = xs[floor((low + high) / 2)]
  local i = low
  local j = high
  while i <= j do
    while xs[i] < pivot do i = i + 1 end
    while xs[j] > pivot do j = j - 1 end
    if i <= j then
      xs[i], xs[j] = xs[j], xs[i]
      i = i + 1
      j = j - 1
    end
  end
  quicksort(xs, low, j)
  quicksort(xs, i, high)
end

local function checksum(xs)
  local sum = 0
  for i = 1, #xs do
    if i > 1 and xs[i - 1] > xs[i] then return -1 end
    sum = (sum * 31 + xs[i]) % 1000000007
  end
  return sum
end

local xs = random_list(2000000)
quicksort(xs, 1, #xs)
print(string.format("%d", checksum(xs)))
