"""Several processes that share the sequences of each batch, over gloo."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from qkv.tasks.trainer.run import train
from qkv.tasks.trainer.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))
from rows import SETTINGS, Rows
from toy import assert_same_run

ROWS = str(Path(__file__).parent / "rows.py")


def launch(count, *arguments):
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    command = [sys.executable, *launcher, ROWS, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("alone")
    train(Rows(), folder, Settings(**SETTINGS), quiet=True)
    return folder


@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_are_one(tmp_path, alone, count):
    done = launch(count, "several", tmp_path, 0)
    assert done.returncode == 0, done.stderr
    assert_same_run(tmp_path, alone)
    assert done.stderr.count("epoch 1  step 1  ") == 1  # one of them reports


def test_one_process_may_be_told_so_too(tmp_path, alone):
    train(Rows(), tmp_path, Settings(**SETTINGS, share="sequences"), quiet=True)
    assert_same_run(tmp_path, alone)


def test_a_loss_that_is_no_number_in_one_process_stops_both_and_the_run_can_go_on(tmp_path, alone):
    done = launch(2, "several", tmp_path, 7)
    assert done.returncode != 0
    assert "the loss is nan in epoch 2, batch 2 of 5" in done.stderr
    done = launch(2, "resumed", tmp_path, 0)
    assert done.returncode == 0, done.stderr
    assert_same_run(tmp_path, alone)
    with pytest.raises(ValueError, match="processes was 2, is 1; share was sequences, is batches"):
        train(Rows(), tmp_path, Settings(**SETTINGS), resume=True)


def test_a_model_that_shares_sequences_is_refused_where_batches_are_shared(tmp_path):
    done = launch(2, "unsaid", tmp_path, 0)
    assert done.returncode != 0
    assert "share must be sequences for a model whose layers have a group" in done.stderr
