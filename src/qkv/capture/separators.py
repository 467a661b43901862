"""Which tokens separate parts of a sequence."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor

# What tokenizers put between sequences and at their ends; commas and full stops are words here.
SEPARATORS = frozenset(
    {
        *("[SEP]", "</s>", "<sep>", "<eos>", "<|endoftext|>", "<|end_of_text|>"),
        *("<|eot_id|>", "<|im_end|>", "<|end|>", "<end_of_turn>"),
    }
)


def tokens_of(labels: Any) -> list[list[str]]:
    """The tokens of each batch entry: of one sequence, or of several.

    Raises:
        TypeError: they are no texts.
    """
    entries = labels if _is_list(labels) and labels and all(map(_is_list, labels)) else [labels]
    for entry in entries:
        if not _is_list(entry) or not all(isinstance(token, str) for token in entry):
            raise TypeError(
                "heads: labels must be a list of tokens, or one for each batch entry; "
                f"got {type(labels).__name__}"
            )
    return [list(entry) for entry in entries]


def separators_in(
    labels: Sequence[Sequence[str]], separators: Collection[str], batch: int, keys: int, name: str
) -> Tensor:
    """bool `[batch or 1, keys]`: which tokens are separators.

    Raises:
        TypeError: the separators are one text.
        ValueError: not as many labels as keys or batch entries.
    """
    if isinstance(separators, str):
        raise TypeError(f"heads: separators must be a collection of tokens; got {separators!r}")
    if len(labels) not in (1, batch):
        raise ValueError(
            f"heads: labels must be of 1 or {batch} batch entries in {name}; got {len(labels)}"
        )
    for entry in labels:
        if len(entry) != keys:
            raise ValueError(
                f"heads: labels must hold a token for each of the {keys} keys of {name}; "
                f"got {len(entry)}"
            )
    return torch.tensor(
        [[token in separators for token in entry] for entry in labels], device="cpu"
    )


def _is_list(thing: Any) -> bool:
    return isinstance(thing, Sequence) and not isinstance(thing, str)
