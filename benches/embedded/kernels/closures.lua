local function adder(n)
  return function(x) return x + n end
end

local function compose(f, g)
  return function(x) return g(f(x)) end
end

local function counter(step)
  local count = 0
  return function()
    count = count + step
    return count
  end
end

local function mapped(xs, f)
  local out = {}
  for i = 1, #xs do out[i] = f(xs[i]) end
  return out
end

local function kept(xs, f)
  local out = {}
  local n = 0
  for i = 1, #xs do
    local x = xs[i]
    if f(x) then
      n = n + 1
      out[n] = x
    end
  end
  return out
end

local function folded(xs, start, f)
  local acc = start
  for i = 1, #xs do acc = f(acc, xs[i]) end
  return acc
end

function run(rounds)
  local size = 1000
  local xs = {}
  for i = 1, size do xs[i] = i - 1 end
  local next_count = counter(3)
  local total = 0
  for round = 0, rounds - 1 do
    local shift = compose(adder(round), adder(7))
    local ys = kept(mapped(xs, shift), function(x) return x % 3 ~= round % 3 end)
    total = (total + folded(ys, next_count(), function(a, b) return a + b end)) % 1000000007
    for _ = 1, size do
      total = total + next_count() % 7
    end
  end
  return total
end
