"""Several processes, as torchrun and accelerate launch start them, over gloo."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from qkv.ground.errors import UnsupportedError
from qkv.tasks.trainer.processes import Processes
from qkv.tasks.trainer.run import train
from qkv.tasks.trainer.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))
from toy import Uneven, assert_same_run

TOY = str(Path(__file__).parent / "toy.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
# With --cpu accelerate starts several processes through MPI alone.
ACCELERATE = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2",
    "--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no",
    "--main_process_port", "0",
]  # fmt: skip


def launch(launcher, *arguments):
    command = [*launcher, TOY, *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """One process with the global batch of two."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("alone")
    settings = Settings(epochs=3, warmup=2, log_every=1, average=0.5, accumulate=2)
    train(Uneven(), folder, settings, quiet=True)
    return folder


@pytest.mark.parametrize("launcher", [TORCHRUN, ACCELERATE], ids=["torchrun", "accelerate"])
def test_two_processes_are_one_with_the_same_global_batch(tmp_path, alone, launcher):
    done = launch(launcher, "several", tmp_path, 0)
    assert done.returncode == 0, done.stderr
    assert_same_run(tmp_path, alone)
    assert done.stderr.count("epoch 1  step 1  ") == 1  # one of the two reports


def test_a_loss_that_is_no_number_in_one_process_stops_both_and_the_run_can_go_on(tmp_path, alone):
    done = launch(TORCHRUN, "several", tmp_path, 4)  # the fourth batch of each process
    assert done.returncode != 0
    assert "the loss is nan in epoch 2, batch 1 of 5" in done.stderr
    done = launch(TORCHRUN, "resumed", tmp_path, 0)
    assert done.returncode == 0, done.stderr
    assert_same_run(tmp_path, alone)
    with pytest.raises(ValueError, match="processes was 2, is 1"):
        train(Uneven(), tmp_path, Settings(epochs=4, warmup=2, average=0.5, cpu=True), resume=True)


@pytest.mark.parametrize("kind", ["FSDP", "PARALLELISM_CONFIG"])
def test_a_model_that_is_to_be_shared_is_refused(monkeypatch, kind):
    monkeypatch.setenv(f"ACCELERATE_USE_{kind}", "true")
    with pytest.raises(UnsupportedError, match=rf"must hold a copy .*; got {kind}$"):
        Processes(cpu=True)


LEFT = """
import atexit, os, sys, torch
from qkv.tasks.trainer.processes import Processes
left = []
atexit.register(lambda: print(left, torch.distributed.is_initialized()))
if sys.argv[1] == "own":
    torch.distributed.init_process_group("gloo")
os.environ["ACCELERATE_USE_FSDP"] = str(sys.argv[1] == "refused").lower()
Processes(cpu=True)
left.append(torch.distributed.is_initialized())
if sys.argv[1] == "interrupt":
    raise KeyboardInterrupt
if sys.argv[1] == "error":
    raise RuntimeError
"""


WAYS = {
    "end": (0, "[True] False\n"),
    "error": (1, "[True] False\n"),
    "interrupt": (-signal.SIGINT, "[True] False\n"),
    "refused": (1, "[] False\n"),
    "own": (0, "[True] True\n"),
}


def test_the_group_is_left_however_a_program_ends_unless_it_is_its_own():
    """One process, as torchrun starts it, for each way to end."""
    one = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
    with ExitStack() as free:
        ports = [free.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in WAYS]
        places = [
            {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port.getsockname()[1])}
            for port in ports
        ]
    started = {
        way: subprocess.Popen(
            [sys.executable, "-c", LEFT, way],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | one | place,
        )
        for way, place in zip(WAYS, places, strict=True)
    }  # fmt: skip
    for way, process in started.items():
        said, errors = process.communicate(timeout=120)
        assert (process.returncode, said) == WAYS[way], errors
