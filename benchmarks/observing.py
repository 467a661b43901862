"""What `qkv.observe` costs: time and memory of a capture of many tokens, and time of following two
heads while a model generates, beside the same model by itself and by its eager path.

    python benchmarks/observing.py capture
    python benchmarks/observing.py live
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from common import interleaved, machine
from torch import Tensor, nn

import qkv


class Attention(nn.Module):
    """Heads of width 64 by torch's fused function."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.vectors = nn.Linear(64 * heads, 3 * 64 * heads)

    def forward(self, states: Tensor) -> Tensor:
        """`[B, L, 64 H]` to the same."""
        cut = self.vectors(states).unflatten(-1, (3, self.heads, 64)).permute(2, 0, 3, 1, 4)
        return states + F.scaled_dot_product_attention(*cut).transpose(1, 2).flatten(-2)


def resident() -> int:
    """Bytes of this process in memory now."""
    gc.collect()
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@torch.no_grad()
def capture(tokens: int, layers: int, heads: int) -> None:
    """One run with and one without, in turn, twice; the lesser of each."""
    torch.manual_seed(0)
    model = nn.Sequential(*(Attention(heads) for _ in range(layers))).eval()
    states = torch.randn(1, tokens, 64 * heads)
    expected = model(states[:, :128])
    bare, watched, seen, grown = [], [], qkv.Capture(), 0
    for _ in range(2):
        del seen  # what the round before has kept is not of this one
        bare.append(timed(lambda: model(states)))
        before = resident()
        with qkv.observe(model) as seen:
            watched.append(timed(lambda: model(states)))
        grown = resident() - before
    with qkv.observe(model):
        assert torch.equal(model(states[:, :128]), expected)
    kept = sum(t.numel() * t.itemsize for c in seen.calls for t in (c.matrix.query, c.matrix.key))
    print(f"{len(seen.calls)} calls, {tokens:,} tokens, {heads} heads of 64")
    print(
        f"seconds: {min(bare):.1f} without, {min(watched):.1f} with: {min(watched) / min(bare):.3f}"
    )
    print(f"query and key {kept / 2**20:.0f} MiB, grown by {grown / 2**20:.0f}: {grown / kept:.3f}")


@torch.no_grad()
def live(tokens: int, written: int, hidden: int, rounds: int) -> None:
    """A small Llama with random weights, greedy."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=8000,
        hidden_size=hidden,
        intermediate_size=hidden * 11 // 4,
        num_hidden_layers=8,
        num_attention_heads=8,
        max_position_embeddings=tokens + written,
    )
    model: Any = LlamaForCausalLM(config).eval()
    prompt = torch.randint(3, 8000, (1, tokens))

    def generate(**options: bool) -> Tensor:
        told = {"max_new_tokens": written, "min_new_tokens": written, "do_sample": False}
        return model.generate(prompt, **told, **options)

    def followed() -> None:
        with qkv.observe(model, where="model.layers.5", heads=[3, 7], each=qkv.observe.argmax):
            generate()

    def eager() -> None:
        model.set_attn_implementation("eager")
        generate(output_attentions=True, return_dict_in_generate=True)
        model.set_attn_implementation("sdpa")

    contenders = {"alone": generate, "two heads followed": followed, "eager, all weights": eager}
    seconds = interleaved(contenders, rounds)
    print(f"{written} tokens after {tokens:,}, 8 layers of {hidden}, 8 heads")
    for name, median in seconds.items():
        print(f"{name:20} {median:7.2f} s  {median / seconds['alone']:.3f}")


def main() -> None:
    """Runs one of the two and prints its figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("capture", "live"))
    parser.add_argument("--tokens", type=int, help="default: 32,768 and 2,000")
    parser.add_argument("--written", type=int, default=64, help="1 for the prompt alone")
    parser.add_argument("--hidden", type=int, default=512, help="of the model of `live`")
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    print(machine())
    if asked.what == "capture":
        capture(asked.tokens or 32768, 4, 8)
    else:
        live(asked.tokens or 2000, asked.written, asked.hidden, asked.rounds)


if __name__ == "__main__":
    main()
