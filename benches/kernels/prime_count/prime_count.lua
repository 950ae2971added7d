-- Primes counted by trial division: remainders by a variable.

local function is_prime(n)
  if n < 4 then return n > 1 end
  if n % 2 == 0 or n % 3 == 0 then return false end
  local d = 5
  while d * d <= n do
    if n % d == 0 or n % (d + 2) == 0 then return false end
    d = d + 6
  end
  return true
end

local function run(limit)
  local count, sum = 0, 0
  for n = 0, limit - 1 do
    if is_prime(n) then
      count = count + 1
      sum = sum + n
    end
  end
  print(string.format("%d", count))
  print(string.format("%d", sum))
end

run(2500000)
