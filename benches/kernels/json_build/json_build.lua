-- Writing JSON text: tables and strings whose quotes need escaping, pieces collected in tables. Texts are escaped
-- character by character, as elsewhere: a pattern would be C.

local function make_items(n)
  local names = { "plain", "two words", 'a "quoted" one', "back\\slash", "a longer name without anything special" }
  local tags = { "new", "old", '"odd"', "large" }
  local out = {}
  local seed = 42
  for i = 1, n do
    seed = seed * 16807 % 2147483647
    local chosen = {}
    for j = 0, seed % 4 - 1 do
      chosen[j + 1] = tags[(seed + j) % 4 + 1]
    end
    out[i] = { id = seed, name = names[seed % 5 + 1], tags = chosen, active = seed % 3 == 0 }
  end
  return out
end

local function quoted(text)
  local parts = { '"' }
  local n = 1
  for i = 1, #text do
    local c = text:sub(i, i)
    if c == '"' or c == "\\" then
      n = n + 1
      parts[n] = "\\"
    end
    n = n + 1
    parts[n] = c
  end
  parts[n + 1] = '"'
  return table.concat(parts)
end

local function item_text(item)
  local tags = {}
  for i, tag in ipairs(item.tags) do
    tags[i] = quoted(tag)
  end
  return '{"id":'
    .. string.format("%d", item.id)
    .. ',"name":'
    .. quoted(item.name)
    .. ',"tags":['
    .. table.concat(tags, ",")
    .. '],"active":'
    .. tostring(item.active)
    .. "}"
end

local function document(items)
  local parts = {}
  for i, item in ipairs(items) do
    parts[i] = item_text(item)
  end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function run(n, rounds)
  local all = make_items(n)
  local total = 0
  for round = 0, rounds - 1 do
    all[round % n + 1].id = round
    total = total + #document(all)
  end
  local slashes = 0
  local text = document(all)
  for i = 1, #text do
    if text:sub(i, i) == "\\" then slashes = slashes + 1 end
  end
  print(string.format("%d", total))
  print(string.format("%d", slashes))
end

run(1000, 1100)
