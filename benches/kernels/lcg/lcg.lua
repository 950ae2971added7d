-- A numeric loop without a closed form: pseudo-random numbers, each made from the one before.

local function run(n)
  local seed = 42
  local odd = 0
  local falls = 0
  for _ = 1, n do
    local next = seed * 16807 % 2147483647
    if next % 2 == 1 then odd = odd + 1 end
    if next < seed then falls = falls + 1 end
    seed = next
  end
  print(string.format("%d", odd))
  print(string.format("%d", falls))
  print(string.format("%d", seed))
end

run(30000000)
