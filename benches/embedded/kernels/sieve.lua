function run(limit)
  local composite = {}
  for i = 1, limit do
    composite[i] = false
  end
  local sum = 0
  for i = 2, limit do
    if not composite[i] then
      sum = sum + i
      for j = i * i, limit, i do
        composite[j] = true
      end
    end
  end
  return sum
end
