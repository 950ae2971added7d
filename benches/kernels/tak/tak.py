# Takeuchi's function: calls whose arguments are calls.


def tak(x, y, z):
    if y >= x:
        return z
    return tak(tak(x - 1, y, z), tak(y - 1, z, x), tak(z - 1, x, y))


total = 0
for round_ in range(12):
    total += tak(24 + round_ % 3, 16, 8 - round_ % 2)
print(total)
