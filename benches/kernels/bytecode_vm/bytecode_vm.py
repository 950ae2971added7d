# An interpreter: a stack machine that sums i * i % 7 in a loop of its own.

# The instructions; the first five have an operand.
PUSH, GET, PUT, JUMP_IF_ZERO, JUMP, ADD, MULTIPLY, REMAINDER, LESS, HALT = range(10)


def program(n):
    return [
        *[PUSH, 0, PUT, 0],
        *[PUSH, 0, PUT, 1],
        *[GET, 0, PUSH, n, LESS, JUMP_IF_ZERO, 37],
        *[GET, 1, GET, 0, GET, 0, MULTIPLY, PUSH, 7, REMAINDER, ADD, PUT, 1],
        *[GET, 0, PUSH, 1, ADD],
        *[PUT, 0, JUMP, 8],
        *[HALT],
    ]


def execute(code):
    stack = [0] * 8
    variables = [0, 0]
    top = -1
    at = 0
    while True:
        op = code[at]
        if op == PUSH:
            top += 1
            stack[top] = code[at + 1]
            at += 2
        elif op == GET:
            top += 1
            stack[top] = variables[code[at + 1]]
            at += 2
        elif op == PUT:
            variables[code[at + 1]] = stack[top]
            top -= 1
            at += 2
        elif op == JUMP_IF_ZERO:
            at = code[at + 1] if stack[top] == 0 else at + 2
            top -= 1
        elif op == JUMP:
            at = code[at + 1]
        elif op == ADD:
            top -= 1
            stack[top] += stack[top + 1]
            at += 1
        elif op == MULTIPLY:
            top -= 1
            stack[top] *= stack[top + 1]
            at += 1
        elif op == REMAINDER:
            top -= 1
            stack[top] %= stack[top + 1]
            at += 1
        elif op == LESS:
            top -= 1
            stack[top] = 1 if stack[top] < stack[top + 1] else 0
            at += 1
        else:
            return variables[1]


print(execute(program(8000000)))
