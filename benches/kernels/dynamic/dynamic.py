# Values whose type is known only at run time: mixed numbers and strings.


def mixed(n):
    out = []
    for i in range(n):
        if i % 5 == 0:
            out.append("item")
        elif i % 3 == 0:
            out.append(i / 4.0)
        else:
            out.append(i)
    return out


def smaller(a, b):
    if b < a:
        return b
    return a


def blend(a, b):
    return a * 3 + b * 2 - 1


def run(n, rounds):
    xs = mixed(n)
    total = 0
    items = 0
    for round_ in range(rounds):
        last = round_
        for x in xs:
            if x == "item":
                items += 1
            else:
                total += smaller(blend(x, last), 5000)
                last = x
    print(items)
    print(int(total))


run(1000, 60000)
