-- Taking texts apart and putting them together: split, substring, search, case, join.

local function sentence(n)
  local words = { "the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog" }
  local parts = {}
  local seed = 42
  for i = 1, n do
    seed = seed * 16807 % 2147483647
    parts[i] = words[seed % 9 + 1] .. string.format("%d", seed % 10)
  end
  return table.concat(parts, " ")
end

local function run(rounds, size)
  local text = sentence(size)
  local total = 0
  for round = 0, rounds - 1 do
    local out = {}
    local n = 0
    for word in text:gmatch("[^ ]+") do
      local head = word:sub(1, 1)
      local tail = word:sub(2)
      n = n + 1
      if tail:find("o", 1, true) then
        out[n] = head:upper() .. tail
      else
        out[n] = tail .. head
      end
    end
    local line = table.concat(out, "-")
    total = total + #line
    local at = round * 37 % #line + 1
    if line:sub(at, at) == "-" then
      total = total + 1
    end
  end
  print(string.format("%d", total))
end

run(5000, 1000)
