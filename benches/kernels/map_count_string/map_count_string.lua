-- Counting in a table with string keys.

local function vocabulary(n)
  local words = {}
  for i = 0, n - 1 do
    words[i + 1] = "word-" .. string.format("%d", i * 7919 % 100003)
  end
  return words
end

local function count(words, n)
  local counts = {}
  local seed = 42
  local size = #words
  for _ = 1, n do
    seed = seed * 16807 % 2147483647
    local word = words[seed % size + 1]
    counts[word] = (counts[word] or 0) + 1
  end
  return counts
end

local function run(n, size)
  local words = vocabulary(size)
  local counts = count(words, n)
  local sum, distinct = 0, 0
  for i = 0, size - 1 do
    local c = counts[words[i + 1]]
    if c then
      distinct = distinct + 1
      sum = sum + i * c % 1009
    end
  end
  print(string.format("%d", distinct))
  print(string.format("%d", sum))
end

run(6000000, 20000)
