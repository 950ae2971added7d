-- Evaluating expression trees: tables of six kinds and a recursive function. Values are remainders of a prime.

local prime = 10007

local seed = 42

local function draw(n)
  seed = seed * 16807 % 2147483647
  return seed % n
end

local function build(depth)
  if depth == 0 then
    if draw(2) == 0 then return { kind = "number", value = draw(prime) } end
    return { kind = "variable", index = draw(3) + 1 }
  end
  local kind = draw(7)
  if kind == 0 then return { kind = "negate", inner = build(depth - 1) } end
  local left = build(depth - 1)
  local right = build(depth - 1)
  if kind < 3 then return { kind = "add", left = left, right = right } end
  if kind < 5 then return { kind = "subtract", left = left, right = right } end
  return { kind = "multiply", left = left, right = right }
end

local function evaluate(e, variables)
  local kind = e.kind
  if kind == "number" then
    return e.value
  elseif kind == "variable" then
    return variables[e.index]
  elseif kind == "negate" then
    return (prime - evaluate(e.inner, variables)) % prime
  elseif kind == "add" then
    return (evaluate(e.left, variables) + evaluate(e.right, variables)) % prime
  elseif kind == "subtract" then
    return (evaluate(e.left, variables) + prime - evaluate(e.right, variables)) % prime
  else
    return evaluate(e.left, variables) * evaluate(e.right, variables) % prime
  end
end

local function run(depth, rounds)
  local e = build(depth)
  local total = 0
  for round = 0, rounds - 1 do
    total = total + evaluate(e, { round % prime, round * 7 % prime, 1 })
  end
  print(string.format("%d", total))
end

run(12, 8000)
