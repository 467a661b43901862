#!/usr/bin/env bash
# nltk 3.10.4: `grow_diag_final_and` gives the union of the two alignments, whatever they are. It keeps what is aligned
# under the keys "e" and "f" of a dict and then asks whether a place is among these keys, which it never is: nothing
# is held back as already aligned, and the last step adds all that is left. The last step of the rule itself adds
# only links both of whose words have no link yet.
# Seen: the union for 500 of 500 random pairs of alignments; the rule as written, in a few lines, gives it for 132.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nltk==3.10.4
"$folder/venv/bin/python" - <<'PYTHON'
import random
from importlib.metadata import version

from nltk.translate import grow_diag_final_and


def rule(one, other):
    """Koehn et al. (2005): grow to neighbours with a free word, then add free pairs."""
    links, union = one & other, one | other

    def free(link):
        return link[0] not in {i for i, _ in links}, link[1] not in {j for _, j in links}

    def near(link):
        return any(max(abs(link[0] - i), abs(link[1] - j)) == 1 for i, j in links)

    while grown := [link for link in sorted(union - links) if near(link) and any(free(link))]:
        links.add(grown[0])
    for direction in (one, other):
        for link in sorted(direction):
            if all(free(link)):
                links.add(link)
    return links


def text(links):
    return " ".join(f"{i}-{j}" for i, j in links)


random.seed(0)
unions = by_rule = 0
for _ in range(500):
    source, target = random.randint(1, 6), random.randint(1, 6)
    pairs = [(i, j) for i in range(source) for j in range(target)]
    one, other = ({pair for pair in pairs if random.random() < 0.25} for _ in range(2))
    found = set(grow_diag_final_and(source, target, text(one), text(other)))
    unions += found == one | other
    by_rule += rule(one, other) == one | other

[single] = [grow_diag_final_and(1, 5, "0-2", "0-0 0-2")]
print(version("nltk"), unions, by_rule, single)
assert unions == 500 > by_rule + 100
assert single == [(0, 0), (0, 2)]  # 0 has its link 0-2: there is no free pair
PYTHON
