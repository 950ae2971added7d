-- A priority queue: a binary heap in a table, whose entries are pushed and popped in turn.

local function push(heap, item)
  local items = heap.items
  heap.size = heap.size + 1
  local at = heap.size
  while at > 1 do
    local parent = (at - at % 2) / 2
    if items[parent] <= item then break end
    items[at] = items[parent]
    at = parent
  end
  items[at] = item
end

local function pop(heap)
  local items = heap.items
  local least = items[1]
  local size = heap.size
  local item = items[size]
  items[size] = nil
  size = size - 1
  heap.size = size
  if size == 0 then return least end
  local at = 1
  local child = 2
  while child <= size do
    if child < size and items[child + 1] < items[child] then child = child + 1 end
    if item <= items[child] then break end
    items[at] = items[child]
    at = child
    child = 2 * at
  end
  items[at] = item
  return least
end

local function run(n, turns)
  local heap = { items = {}, size = 0 }
  local seed = 42
  for _ = 1, n do
    seed = seed * 16807 % 2147483647
    push(heap, seed)
  end
  local sum = 0
  for _ = 1, turns do
    local least = pop(heap)
    sum = (sum * 31 + least) % 1000000007
    seed = seed * 16807 % 2147483647
    push(heap, least + seed % 100000000)
  end
  while heap.size > 0 do
    sum = (sum * 31 + pop(heap)) % 1000000007
  end
  print(string.format("%d", sum))
end

run(100000, 1500000)
