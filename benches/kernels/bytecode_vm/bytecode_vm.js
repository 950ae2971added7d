// An interpreter: a stack machine that sums i * i % 7 in a loop of its own.

// The instructions; the first five have an operand.
const PUSH = 0;
const GET = 1;
const PUT = 2;
const JUMP_IF_ZERO = 3;
const JUMP = 4;
const ADD = 5;
const MULTIPLY = 6;
const REMAINDER = 7;
const LESS = 8;
const HALT = 9;

function program(n) {
  return [
    PUSH, 0, PUT, 0,
    PUSH, 0, PUT, 1,
    GET, 0, PUSH, n, LESS, JUMP_IF_ZERO, 37,
    GET, 1, GET, 0, GET, 0, MULTIPLY, PUSH, 7, REMAINDER, ADD, PUT, 1,
    GET, 0, PUSH, 1, ADD,
    PUT, 0, JUMP, 8,
    HALT,
  ];
}

function execute(code) {
  const stack = [0, 0, 0, 0, 0, 0, 0, 0];
  const variables = [0, 0];
  let top = -1;
  let at = 0;
  while (true) {
    switch (code[at]) {
      case PUSH:
        stack[++top] = code[at + 1];
        at += 2;
        break;
      case GET:
        stack[++top] = variables[code[at + 1]];
        at += 2;
        break;
      case PUT:
        variables[code[at + 1]] = stack[top--];
        at += 2;
        break;
      case JUMP_IF_ZERO:
        at = stack[top--] === 0 ? code[at + 1] : at + 2;
        break;
      case JUMP:
        at = code[at + 1];
        break;
      case ADD:
        top--;
        stack[top] += stack[top + 1];
        at++;
        break;
      case MULTIPLY:
        top--;
        stack[top] *= stack[top + 1];
        at++;
        break;
      case REMAINDER:
        top--;
        stack[top] %= stack[top + 1];
        at++;
        break;
      case LESS:
        top--;
        stack[top] = stack[top] < stack[top + 1] ? 1 : 0;
        at++;
        break;
      default:
        return variables[1];
    }
  }
}

console.log(execute(program(8000000)));
