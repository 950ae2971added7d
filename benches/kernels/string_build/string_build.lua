-- Strings built piece by piece: words, separators and numbers.

local words = { "alpha", "be", "gamma-ray", "d", "epsilon", "zeta", "eta", "th" }

local function build(pieces)
  local parts = {}
  local n = 0
  for i = 0, pieces - 1 do
    parts[n + 1] = words[i % 8 + 1]
    parts[n + 2] = ","
    n = n + 2
    if i % 16 == 0 then
      n = n + 1
      parts[n] = tostring(i)
    end
  end
  return table.concat(parts)
end

local total = 0
for round = 0, 149 do
  local text = build(80000 + round)
  total = total + #text
  if text:sub(-6, -2) == "gamma" then
    total = total + 1
  end
end
print(string.format("%d", total))
