-- An interpreter: a stack machine that sums i * i % 7 in a loop of its own.

-- The instructions; the first five have an operand. Addresses and variables count from 1.
local PUSH, GET, PUT, JUMP_IF_ZERO, JUMP = 0, 1, 2, 3, 4
local ADD, MULTIPLY, REMAINDER, LESS, HALT = 5, 6, 7, 8, 9

local function program(n)
  return {
    PUSH, 0, PUT, 1,
    PUSH, 0, PUT, 2,
    GET, 1, PUSH, n, LESS, JUMP_IF_ZERO, 38,
    GET, 2, GET, 1, GET, 1, MULTIPLY, PUSH, 7, REMAINDER, ADD, PUT, 2,
    GET, 1, PUSH, 1, ADD,
    PUT, 1, JUMP, 9,
    HALT,
  }
end

local function execute(code)
  local stack = { 0, 0, 0, 0, 0, 0, 0, 0 }
  local variables = { 0, 0 }
  local top = 0
  local at = 1
  while true do
    local op = code[at]
    if op == PUSH then
      top = top + 1
      stack[top] = code[at + 1]
      at = at + 2
    elseif op == GET then
      top = top + 1
      stack[top] = variables[code[at + 1]]
      at = at + 2
    elseif op == PUT then
      variables[code[at + 1]] = stack[top]
      top = top - 1
      at = at + 2
    elseif op == JUMP_IF_ZERO then
      if stack[top] == 0 then
        at = code[at + 1]
      else
        at = at + 2
      end
      top = top - 1
    elseif op == JUMP then
      at = code[at + 1]
    elseif op == ADD then
      top = top - 1
      stack[top] = stack[top] + stack[top + 1]
      at = at + 1
    elseif op == MULTIPLY then
      top = top - 1
      stack[top] = stack[top] * stack[top + 1]
      at = at + 1
    elseif op == REMAINDER then
      top = top - 1
      stack[top] = stack[top] % stack[top + 1]
      at = at + 1
    elseif op == LESS then
      top = top - 1
      if stack[top] < stack[top + 1] then
        stack[top] = 1
      else
        stack[top] = 0
      end
      at = at + 1
    else
      return variables[2]
    end
  end
end

print(string.format("%d", execute(program(8000000))))
