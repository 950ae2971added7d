-- Counting the substrings of a long text: many short strings as keys of a table.

local function random_text(n)
  local letters = { "a", "c", "g", "t" }
  local parts = {}
  local seed = 42
  for i = 1, n do
    seed = seed * 16807 % 2147483647
    parts[i] = letters[(seed - seed % 8) / 8 % 4 + 1]
  end
  return table.concat(parts)
end

local function count(text, length)
  local counts = {}
  local size = 0
  for i = 1, #text - length + 1 do
    local piece = text:sub(i, i + length - 1)
    local c = counts[piece]
    if c then
      counts[piece] = c + 1
    else
      counts[piece] = 1
      size = size + 1
    end
  end
  return counts, size
end

local function run(n)
  local text = random_text(n)
  for length = 4, 8 do
    local counts, size = count(text, length)
    local sum = 0
    for i = 1, 1000 do
      sum = sum + counts[text:sub(i, i + length - 1)]
    end
    print(string.format("%d", size))
    print(string.format("%d", sum))
  end
end

run(900000)
