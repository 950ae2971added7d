-- The game of life on a torus: rows of ints, eight neighbours each.

local function soup(width, height)
  local rows = {}
  local seed = 42
  for y = 1, height do
    local row = {}
    for x = 1, width do
      seed = seed * 16807 % 2147483647
      row[x] = seed % 2
    end
    rows[y] = row
  end
  return rows
end

local function next_rows(rows)
  local height = #rows
  local width = #rows[1]
  local out = {}
  for y = 1, height do
    local above = rows[y == 1 and height or y - 1]
    local here = rows[y]
    local below = rows[y == height and 1 or y + 1]
    local row = {}
    for x = 1, width do
      local left = x == 1 and width or x - 1
      local right = x == width and 1 or x + 1
      local around = above[left] + above[x] + above[right] + here[left] + here[right] + below[left] + below[x] + below[right]
      if around == 3 or (around == 2 and here[x] == 1) then
        row[x] = 1
      else
        row[x] = 0
      end
    end
    out[y] = row
  end
  return out
end

local function run(size, generations)
  local rows = soup(size, size)
  for _ = 1, generations do
    rows = next_rows(rows)
  end
  local alive, sum = 0, 0
  for y = 0, size - 1 do
    for x = 0, size - 1 do
      if rows[y + 1][x + 1] == 1 then
        alive = alive + 1
        sum = (sum * 31 + y * size + x) % 1000000007
      end
    end
  end
  print(string.format("%d", alive))
  print(string.format("%d", sum))
end

run(200, 1200)
