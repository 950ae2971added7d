-- Sieve of Eratosthenes: a list of bools that grows by append, then strided stores.

local function prime_sum(limit)
  local composite = {}
  for i = 1, limit do
    composite[i] = false
  end
  local sum = 0
  for i = 2, limit do
    if not composite[i] then
      sum = sum + i
      for j = i * i, limit, i do
        composite[j] = true
      end
    end
  end
  return sum
end

local total = 0
for round = 0, 69 do
  total = total + prime_sum(1000000 + round)
end
print(string.format("%d", total))
