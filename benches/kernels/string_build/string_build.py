# Strings built piece by piece: words, separators and numbers, collected in a list as one does here.

WORDS = ["alpha", "be", "gamma-ray", "d", "epsilon", "zeta", "eta", "th"]


def build(pieces):
    parts = []
    for i in range(pieces):
        parts.append(WORDS[i % 8])
        parts.append(",")
        if i % 16 == 0:
            parts.append(str(i))
    return "".join(parts)


total = 0
for round_ in range(150):
    text = build(80000 + round_)
    total += len(text)
    if text[-6:-1] == "gamma":
        total += 1
print(total)
