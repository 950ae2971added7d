-- A numeric loop whose result has a closed form: sums of squares plus a constant.

local function squares(n, c)
  local sum = 0
  for i = 0, n - 1 do
    sum = sum + i * i + c
  end
  return sum
end

local function run(rounds, n)
  local total = 0
  for round = 0, rounds - 1 do
    total = (total + squares(n - round % 100, round)) % 1000000007
  end
  print(string.format("%d", total))
end

run(3000, 100000)
