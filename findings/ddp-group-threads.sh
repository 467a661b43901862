#!/usr/bin/env bash
# torch 2.13.0: `destroy_process_group` ends the threads of a gloo group, but not of one on which a
# DistributedDataParallel was made: these stay for the rest of the process, even after the model is
# deleted and collected, so they are still at work, and may drop a tensor, while Python ends.
# Seen: 1 thread at first, 4 with a group, 1 after its end; with DistributedDataParallel 4, and 4 after
# the end of its group, its deletion and a second of waiting.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0
OMP_NUM_THREADS=1 FOLDER="$folder" "$folder/venv/bin/python" - <<'PYTHON'
import gc
import os
import time

import torch
import torch.distributed as dist


def threads():
    gc.collect()
    time.sleep(1)
    return len(os.listdir("/proc/self/task"))


def begin(name):
    dist.init_process_group(
        "gloo", init_method=f"file://{os.environ['FOLDER']}/{name}", rank=0, world_size=1
    )


at_first = threads()
begin("plain")
dist.all_reduce(torch.ones(4))
plain = threads()
dist.destroy_process_group()
after_plain = threads()

begin("ddp")
model = torch.nn.parallel.DistributedDataParallel(torch.nn.Linear(2, 2))
with_model = threads()
dist.destroy_process_group()
del model
after_model = threads()

print(torch.__version__, [at_first, plain, after_plain], [with_model, after_model])
assert plain > at_first == after_plain
assert with_model == after_model > at_first
PYTHON
