"""Classifiers of pictures as the command knows them."""

from __future__ import annotations

from qkv.models import ImageClassifierConfig
from qkv.tasks.classification.images.options import DEFAULTS, Data, Options
from qkv.tasks.kind import Kind

KIND = Kind(
    name="an image classifier",
    format="qkv image classifier 1",
    command="classify-image",
    about="Train a classifier of pictures.",
    lines="Folder of class/file.png, or .npz file.",
    title="Pictures",
    data=Data,
    options=Options,
    sizes=ImageClassifierConfig,
    defaults=DEFAULTS,
    model_at="qkv.tasks.classification:ImageLabeller",
    training_at="qkv.tasks.classification.images.training:train_image_classifier",
    evaluation_at="qkv.tasks.classification.images.training:evaluate",
    export_at="qkv.tasks.classification.exported:exported_of_images",
)
