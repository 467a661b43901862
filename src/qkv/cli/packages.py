"""The packages that the command and the models need and the engine does not."""

from __future__ import annotations

# What each is for.
OPTIONAL_PACKAGES = {
    "accelerate": "training, on one device or several",
    "matplotlib": "pictures",
    "numpy": "pictures",
    "pillow": "reading picture files",
    "rich": "maps in the terminal, progress bars",
    "sacrebleu": "BLEU",
    "safetensors": "reading and writing models",
    "tensorboard": "training logs",
    "tokenizers": "cutting text into pieces",
    "typer": "this command",
}
