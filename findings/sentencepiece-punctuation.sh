#!/usr/bin/env bash
# sentencepiece 0.2.3: a model trained with the defaults cannot write Chinese punctuation. Its normaliser
# (nmt_nfkc) turns ，！？（） into , ! ? ( ) before anything is learnt, but leaves 。 as it is, so texts come back half
# in one style and half in the other; ½ becomes three characters. `normalization_rule_name="identity"` keeps them.
# Seen: 你好，世界！（今天）好吗？是的。 -> 你好,世界!(今天)好吗?是的。
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet sentencepiece==0.2.3
"$folder/venv/bin/python" - <<'PYTHON'
import io

import sentencepiece

text = "你好，世界！（今天）好吗？是的。"


def there_and_back(**options):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([text] * 50),
        model_writer=model,
        vocab_size=21,
        hard_vocab_limit=False,
        character_coverage=1.0,
        minloglevel=2,
        **options,
    )
    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    return processor.decode(processor.encode(text))


by_default, kept = there_and_back(), there_and_back(normalization_rule_name="identity")
print(sentencepiece.__version__, by_default, kept)
assert by_default == "你好,世界!(今天)好吗?是的。"
assert kept == text
PYTHON
