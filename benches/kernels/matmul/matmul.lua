-- Naive product of two square matrices: tables of tables of floats.

local function matrix(n, seed)
  local scale = seed / n / n
  local rows = {}
  for i = 0, n - 1 do
    local row = {}
    for j = 0, n - 1 do
      row[j + 1] = scale * (i - j) * (i + j)
    end
    rows[i + 1] = row
  end
  return rows
end

local function multiply(a, b)
  local n = #a
  local rows = {}
  for i = 1, n do
    local ai = a[i]
    local row = {}
    for j = 1, n do
      local sum = 0.0
      for k = 1, n do
        sum = sum + ai[k] * b[k][j]
      end
      row[j] = sum
    end
    rows[i] = row
  end
  return rows
end

local function run(n)
  local c = multiply(matrix(n, 1.0), matrix(n, 2.0))
  local trace = 0.0
  for i = 1, n do
    trace = trace + c[i][i] * i
  end
  print(string.format("%d", math.floor(trace * -1000000.0)))
end

run(540)
