-- Values whose type is known only at run time: mixed numbers and strings.

local function mixed(n)
  local out = {}
  for i = 0, n - 1 do
    if i % 5 == 0 then
      out[i + 1] = "item"
    elseif i % 3 == 0 then
      out[i + 1] = i / 4.0
    else
      out[i + 1] = i
    end
  end
  return out
end

local function smaller(a, b)
  if b < a then return b end
  return a
end

local function blend(a, b)
  return a * 3 + b * 2 - 1
end

local function run(n, rounds)
  local xs = mixed(n)
  local total = 0
  local items = 0
  for round = 0, rounds - 1 do
    local last = round
    for i = 1, #xs do
      local x = xs[i]
      if x == "item" then
        items = items + 1
      else
        total = total + smaller(blend(x, last), 5000)
        last = x
      end
    end
  end
  print(string.format("%d", items))
  print(string.format("%d", math.floor(total)))
end

run(1000, 60000)
