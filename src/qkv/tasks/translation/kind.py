"""Translators as the command knows them."""

from __future__ import annotations

from qkv.models import SequenceToSequenceConfig
from qkv.tasks.kind import Kind
from qkv.tasks.translation.options import DEFAULTS, Data, Options

KIND = Kind(
    name="a translator",
    format="qkv translator 1",
    command="translate",
    about="Train a translator on sentence pairs of any two languages.",
    lines="Files of source<TAB>target lines, UTF-8.",
    title="Translation",
    data=Data,
    options=Options,
    sizes=SequenceToSequenceConfig,
    defaults=DEFAULTS,
    model_at="qkv.tasks.translation:Translator",
    training_at="qkv.tasks.translation.training:train_translator",
    evaluation_at="qkv.tasks.translation.training:evaluate",
    export_at="qkv.tasks.translation.exported:exported",
)
