// An interpreter: a stack machine that sums i * i % 7 in a loop of its own.

#include <inttypes.h>
#include <stdio.h>

// The first five have an operand.
enum { PUSH, GET, PUT, JUMP_IF_ZERO, JUMP, ADD, MULTIPLY, REMAINDER, LESS, HALT };

static int64_t execute(const int64_t *code) {
  int64_t stack[8];
  int64_t variables[2];
  int64_t top = -1;
  int64_t at = 0;
  while (1) {
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
        at = stack[top--] == 0 ? code[at + 1] : at + 2;
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
        stack[top] = stack[top] < stack[top + 1];
        at++;
        break;
      default:
        return variables[1];
    }
  }
}

int main(void) {
  const int64_t code[] = {
    PUSH, 0, PUT, 0,
    PUSH, 0, PUT, 1,
    GET, 0, PUSH, 8000000, LESS, JUMP_IF_ZERO, 37,
    GET, 1, GET, 0, GET, 0, MULTIPLY, PUSH, 7, REMAINDER, ADD, PUT, 1,
    GET, 0, PUSH, 1, ADD,
    PUT, 0, JUMP, 8,
    HALT,
  };
  printf("%" PRId64 "\n", execute(code));
}
