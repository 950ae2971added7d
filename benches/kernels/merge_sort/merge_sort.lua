-- Merge sort that makes new tables: slices, appends, short-lived tables of every length.

local function random_list(n)
  local xs = {}
  local seed = 42
  for i = 1, n do
    seed = seed * 16807 % 2147483647
    xs[i] = seed
  end
  return xs
end

local function slice(xs, from, to)
  local out = {}
  for i = from, to do out[i - from + 1] = xs[i] end
  return out
end

local function merge(a, b)
  local out = {}
  local i, j, k = 1, 1, 0
  local m, n = #a, #b
  while i <= m and j <= n do
    k = k + 1
    if a[i] <= b[j] then
      out[k] = a[i]
      i = i + 1
    else
      out[k] = b[j]
      j = j + 1
    end
  end
  while i <= m do
    k = k + 1
    out[k] = a[i]
    i = i + 1
  end
  while j <= n do
    k = k + 1
    out[k] = b[j]
    j = j + 1
  end
  return out
end

local function sorted(xs)
  local n = #xs
  if n < 2 then return xs end
  local half = (n - n % 2) / 2
  return merge(sorted(slice(xs, 1, half)), sorted(slice(xs, half + 1, n)))
end

local function checksum(xs)
  local sum = 0
  for i = 1, #xs do
    sum = (sum * 31 + xs[i]) % 1000000007
  end
  return sum
end

print(string.format("%d", checksum(sorted(random_list(1300000)))))
