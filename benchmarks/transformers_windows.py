"""A model of Hugging Face transformers with a sliding window, and one with packed sequences: time
and memory with attention by "qkv" and by "sdpa"."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from typing import Any

import torch
from common import machine, peak
from torch import Tensor

WINDOW, PACKED = 64, 512
KINDS = ("window", "packed")
IMPLEMENTATIONS = ("sdpa", "qkv")


def model_of(kind: str, implementation: str, width: int, length: int):
    """A small Mistral with random weights."""
    from transformers import MistralConfig, MistralModel
    from transformers.utils import logging

    from qkv.integrations.transformers import register

    logging.set_verbosity_error()
    register()
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=512,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=width // 4,
        sliding_window=WINDOW if kind == "window" else None,
        max_position_embeddings=length,
    )
    return MistralModel._from_config(config, attn_implementation=implementation).eval()


@torch.no_grad()
def measure(kind: str, implementation: str, width: int, length: int) -> dict[str, Any]:
    """Seconds, MiB beyond those before the call, and some of the output; in the child process."""
    model = model_of(kind, implementation, width, length)
    tokens = torch.randint(3, 500, (1, length))
    positions = torch.arange(length)[None] % (PACKED if kind == "packed" else length)

    def run(count: int) -> Tensor:
        told = {"position_ids": positions[:, :count], "use_cache": False}
        return model(tokens[:, :count], **told).last_hidden_state

    run(PACKED + 8)  # loads what first calls load
    before, start = peak(), time.perf_counter()
    output = run(length)
    seconds = time.perf_counter() - start
    told = output[0, :: length // 64].flatten().tolist()
    return {"seconds": seconds, "memory": (peak() - before) / 2**20, "output": told}


def in_a_process(*case: str) -> dict:
    """A measurement in a fresh process."""
    command = [sys.executable, __file__, "--child", *case]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(case)}: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    """Measures and prints the table, or is the child that does one measurement."""
    if sys.argv[1:2] == ["--child"]:
        kind, implementation, width, length = sys.argv[2:]
        print(json.dumps(measure(kind, implementation, int(width), int(length))))
        return
    parser = argparse.ArgumentParser(description=" ".join((__doc__ or "").split()))
    parser.add_argument("--length", type=int, default=12288)
    parser.add_argument("--width", type=int, default=64, help="of the model")
    options = parser.parse_args()
    print(", ".join(f"{name} {said}" for name, said in machine().items()))
    print(f"\n{options.length:,} tokens, 4 layers, 4 heads, width {options.width}\n")
    print("| | sdpa, s | qkv, s | times as fast | sdpa, MiB | qkv, MiB | times less | apart |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for kind in KINDS:
        sizes = str(options.width), str(options.length)
        sdpa, own = (in_a_process(kind, name, *sizes) for name in IMPLEMENTATIONS)
        pairs = zip(sdpa["output"], own["output"], strict=True)
        print(
            f"| {kind} | {sdpa['seconds']:.2f} | {own['seconds']:.2f} "
            f"| {sdpa['seconds'] / own['seconds']:.0f} | {sdpa['memory']:,.0f} "
            f"| {own['memory']:,.0f} | {sdpa['memory'] / own['memory']:.0f} "
            f"| {max(abs(a - b) for a, b in pairs):.0e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
