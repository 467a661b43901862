"""Twenty sentence pairs, and a small translator that has learnt them by heart."""

import pytest
import torch

from qkv.tasks.trainer.run import train
from qkv.tasks.trainer.settings import Settings
from qkv.tasks.translation import Translator
from qkv.tasks.translation.options import Options
from qkv.tasks.translation.pairs import Pair
from qkv.tasks.translation.task import TranslationTask

WHO = {"I": "我", "We": "我们", "They": "他们", "My old friends": "我的老朋友"}
WHAT = {
    "drink tea": "喝茶",
    "read a book": "读一本书",
    "sleep": "睡觉",
    "live in Beijing now": "现在住在北京",
    "see the dog": "看见那只狗",
}
PAIRS = [Pair(f"{a} {b}.", f"{c}{d}。") for a, c in WHO.items() for b, d in WHAT.items()]
SIZES = {
    "encoder": "gru", "decoder": "gru", "width": 32, "encoder_layers": 1, "decoder_layers": 1,
    "feeding": "upper", "dropout": 0.0,
}  # fmt: skip


def make_task(**changes):
    options = Options(batch_tokens=20, label_smoothing=0.0, source_pieces=400)
    return TranslationTask(PAIRS, PAIRS, options, SIZES | changes)


@pytest.fixture(scope="session")
def learnt(tmp_path_factory):
    """The folder of a translator that overfits the twenty pairs."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("learnt")
    settings = Settings(epochs=20, learning_rate=0.02, warmup=10)
    train(make_task(), folder, settings, quiet=True)
    return folder


@pytest.fixture
def translator(learnt):
    return Translator.load(learnt)
