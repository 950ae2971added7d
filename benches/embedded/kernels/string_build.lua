local words = { "alpha", "be", "gamma-ray", "d", "epsilon", "zeta", "eta", "th" }

function run(pieces)
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
  return #table.concat(parts)
end
