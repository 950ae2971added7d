-- Short-lived and long-lived binary trees: allocation and collection.

local function make(depth)
  if depth == 0 then
    return { left = nil, right = nil }
  end
  return { left = make(depth - 1), right = make(depth - 1) }
end

local function count(tree)
  if tree == nil then return 0 end
  return 1 + count(tree.left) + count(tree.right)
end

local function power_of_two(n)
  local p = 1
  for _ = 1, n do p = p * 2 end
  return p
end

local function run(max_depth)
  print(string.format("%d", count(make(max_depth + 1))))
  local long_lived = make(max_depth)
  local depth = 4
  while depth <= max_depth do
    local trees = power_of_two(max_depth - depth + 4)
    local nodes = 0
    for _ = 1, trees do
      nodes = nodes + count(make(depth))
    end
    print(string.format("%d", trees))
    print(string.format("%d", nodes))
    depth = depth + 2
  end
  print(string.format("%d", count(long_lived)))
end

run(16)
