"""Classifiers of texts as the command knows them."""

from __future__ import annotations

from qkv.models import TextClassifierConfig
from qkv.tasks.classification.text.options import DEFAULTS, Data, Options
from qkv.tasks.kind import Kind

KIND = Kind(
    name="a text classifier",
    format="qkv text classifier 1",
    command="classify",
    about="Train a classifier of texts.",
    lines="Files of label<TAB>text or label<TAB>id<TAB>text lines, UTF-8, also gzipped.",
    title="Texts",
    data=Data,
    options=Options,
    sizes=TextClassifierConfig,
    defaults=DEFAULTS,
    model_at="qkv.tasks.classification:TextLabeller",
    training_at="qkv.tasks.classification.text.training:train_text_classifier",
    evaluation_at="qkv.tasks.classification.text.training:evaluate",
    export_at="qkv.tasks.classification.exported:exported_of_texts",
)
