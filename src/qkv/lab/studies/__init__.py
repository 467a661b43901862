"""The studies, each in a file of its own."""

from __future__ import annotations

from qkv.lab.studies.cost import COST
from qkv.lab.studies.distance import DISTANCE
from qkv.lab.studies.governing import GOVERNING
from qkv.lab.studies.past import PAST
from qkv.lab.studies.quality import QUALITY
from qkv.lab.studies.scores import STUDY_OF_SCORES
from qkv.lab.studies.stages import STUDY_OF_STAGES
from qkv.lab.studies.translation import TRANSLATION
from qkv.lab.studies.vectors import VECTORS
from qkv.lab.study import Study

STUDIES: tuple[Study, ...] = (
    COST, QUALITY, DISTANCE, PAST, TRANSLATION, STUDY_OF_STAGES, STUDY_OF_SCORES, VECTORS,
    GOVERNING,
)  # fmt: skip
