#!/usr/bin/env bash
# nltk 3.10.4: after training, IBMModel1 and IBMModel2 give a pair of words that never stood in one pair of sentences
# the probability that all pairs started with, one over the number of words. Only pairs that were counted are set
# anew. So what a source word may become adds up to more than 1, a pair without any evidence is likelier than one that
# was seen and lost, and in a new sentence `align` links words to such strangers.
# Seen: "ein" was never beside "is" and has 0.111 = 1/9; "haus" was, twice, and has 0.003; the words for "is" add up
# to 1.11; in a new sentence "ein" is linked to "big", which it was never beside.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet nltk==3.10.4
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

from nltk.translate import AlignedSent, IBMModel1, IBMModel2

TEXTS = [
    ("das haus ist klein", "the house is small"), ("das haus ist gross", "the house is big"),
    ("das buch ist klein", "the book is small"), ("das buch", "the book"),
    ("das auto ist rot", "the car is red"), ("ein buch", "a book"), ("ein haus", "a house"),
]
german = sorted({word for text, _ in TEXTS for word in text.split()})
for model in (IBMModel1, IBMModel2):
    texts = [AlignedSent(one.split(), other.split()) for one, other in TEXTS]
    table = model(texts, 10).translation_table
    of_is = {word: table[word]["is"] for word in german}
    print(version("nltk"), model.__name__, {word: round(p, 3) for word, p in of_is.items()},
          "sum", round(sum(of_is.values()), 3))
    assert of_is["ein"] == 1 / len(german) > 10 * of_is["haus"]  # never beside it; beside it twice
    assert sum(of_is.values()) > 1.1

trained = IBMModel1([AlignedSent(one.split(), other.split()) for one, other in TEXTS], 10)
new = AlignedSent(["ein"], ["the", "big"])
trained.align(new)
print("ein beside the, big:", new.alignment, trained.translation_table["ein"]["big"])
assert str(new.alignment) in ("0-0", "0-1")  # linked to a word it was never seen beside
assert not any("ein" in one.split() and {"the", "big"} & set(other.split()) for one, other in TEXTS)
PYTHON
