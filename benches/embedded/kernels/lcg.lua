function run(n)
  local seed = 42
  local odd = 0
  local falls = 0
  for _ = 1, n do
    local next = seed * 16807 % 2147483647
    if next % 2 == 1 then odd = odd + 1 end
    if next < seed then falls = falls + 1 end
    seed = next
  end
  return seed + 3 * odd + falls
end
