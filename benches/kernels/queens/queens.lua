-- All placements of queens on a board: recursion with bool tables as sets.

local function filled(n)
  local xs = {}
  for i = 1, n do xs[i] = false end
  return xs
end

local function place(row, n, columns, rising, falling)
  if row > n then return 1 end
  local found = 0
  for column = 1, n do
    local up = row + column - 1
    local down = row - column + n
    if not columns[column] and not rising[up] and not falling[down] then
      columns[column] = true
      rising[up] = true
      falling[down] = true
      found = found + place(row + 1, n, columns, rising, falling)
      columns[column] = false
      rising[up] = false
      falling[down] = false
    end
  end
  return found
end

local function queens(n)
  return place(1, n, filled(n), filled(2 * n), filled(2 * n))
end

for n = 4, 13 do
  print(string.format("%d", queens(n)))
end
