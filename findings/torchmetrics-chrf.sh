#!/usr/bin/env bash
# torchmetrics 1.9.0: `CHRFScore` gives a perfect translation less than 1 where a text is shorter than the longest n-gram
# or has no spaces: orders of which there is no n-gram count as 0 and are not left out of the mean. With its defaults,
# chrF++, a Chinese corpus that equals its reference has 0.875, and every other score of Chinese is too low as well;
# sentences of one word lose up to three quarters. sacrebleu leaves such orders out.
# Seen: Chinese corpus 0.875 (sacrebleu 100), "Hi" 0.375 (100), two wrong characters in three sentences 0.531 (60.7).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 torchmetrics==1.9.0 sacrebleu==2.6.0
"$folder/venv/bin/python" - <<'PYTHON'
from importlib.metadata import version

import sacrebleu
from torchmetrics.text import CHRFScore

CHINESE = ["我喜欢喝茶。", "图书馆在哪里？", "今天天气很好。"]
WRONG = ["我喜欢喝水。", "图书馆在哪里？", "今天天气很坏。"]
ENGLISH = ["Where is the library?", "The weather is fine today."]


def both(texts, references):
    by_torchmetrics = float(CHRFScore()(texts, [[one] for one in references]))
    by_sacrebleu = sacrebleu.corpus_chrf(texts, [references], word_order=2).score
    return round(by_torchmetrics, 3), round(by_sacrebleu, 1)


seen = {
    "equal, Chinese": both(CHINESE, CHINESE), "two characters wrong": both(WRONG, CHINESE),
    "equal, a word": both(["Hi"], ["Hi"]), "equal, English": both(ENGLISH, ENGLISH),
}
print("torchmetrics", version("torchmetrics"), "sacrebleu", version("sacrebleu"), seen)
assert seen["equal, Chinese"] == (0.875, 100.0)
assert seen["equal, a word"] == (0.375, 100.0)
assert 100 * seen["two characters wrong"][0] < seen["two characters wrong"][1] - 7
assert seen["equal, English"] == (1.0, 100.0)
PYTHON
