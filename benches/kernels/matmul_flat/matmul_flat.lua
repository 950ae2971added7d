-- Naive product of two square matrices, each in one table, row after row.

local function matrix(n, seed)
  local scale = seed / n / n
  local cells = {}
  for i = 0, n - 1 do
    for j = 0, n - 1 do
      cells[#cells + 1] = scale * (i - j) * (i + j)
    end
  end
  return cells
end

local function multiply(a, b, n)
  local cells = {}
  for i = 0, n - 1 do
    for j = 1, n do
      local sum = 0.0
      for k = 0, n - 1 do
        sum = sum + a[i * n + k + 1] * b[k * n + j]
      end
      cells[#cells + 1] = sum
    end
  end
  return cells
end

local function run(n)
  local c = multiply(matrix(n, 1.0), matrix(n, 2.0), n)
  local trace = 0.0
  for i = 0, n - 1 do
    trace = trace + c[i * n + i + 1] * (i + 1)
  end
  print(string.format("%d", math.floor(trace * -1000000.0)))
end

run(640)
