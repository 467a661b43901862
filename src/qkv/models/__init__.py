"""Models built on the engine's front door. Each is a `torch.nn.Module` with a config.

They are loaded when first named: the command reads the configs without waiting for torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from qkv._later import named_later

if TYPE_CHECKING:
    from qkv.models.image_classifier import ImageClassifier as ImageClassifier
    from qkv.models.image_classifier_config import ImageClassifierConfig as ImageClassifierConfig
    from qkv.models.sequence_to_sequence import SequenceToSequence as SequenceToSequence
    from qkv.models.sequence_to_sequence_config import (
        SequenceToSequenceConfig as SequenceToSequenceConfig,
    )
    from qkv.models.text_classifier import TextClassifier as TextClassifier
    from qkv.models.text_classifier_config import TextClassifierConfig as TextClassifierConfig
    from qkv.models.translation import TranslationModel as TranslationModel

_HOMES = {
    "ImageClassifier": "image_classifier",
    "ImageClassifierConfig": "image_classifier_config",
    "SequenceToSequence": "sequence_to_sequence",
    "SequenceToSequenceConfig": "sequence_to_sequence_config",
    "TextClassifier": "text_classifier",
    "TextClassifierConfig": "text_classifier_config",
    "TranslationModel": "translation",
}
__all__ = [
    "ImageClassifier",
    "ImageClassifierConfig",
    "SequenceToSequence",
    "SequenceToSequenceConfig",
    "TextClassifier",
    "TextClassifierConfig",
    "TranslationModel",
]

__getattr__, __dir__ = named_later(__name__, _HOMES)
