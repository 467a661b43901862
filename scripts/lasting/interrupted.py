"""Ctrl-C during long calls."""

from __future__ import annotations

import json
from collections.abc import Iterable

from .child import output_of

SECONDS = 2.0  # within which the interrupt must have been raised

# Each would take many seconds: a head is one task of the kernels, and has 65,536 keys (16,384
# backward).
CALLS = {
    "product": "qkv.attend(*long)",
    "product, masked, of bfloat16": "qkv.attend(*(t.bfloat16() for t in long), mask=qkv.Causal())",
    "sparsemax": "qkv.attend(*long, normalizer=qkv.Sparsemax())",
    "statistics": "qkv.attention(*long[:2]).measure(qkv.Mass(), qkv.Entropy())",
    "in blocks": "qkv.attention(*long[:2], impl='tiled') @ long[2]",
    "backward": "torch.autograd.grad(output, long, gradient)",
    "a callable": "qkv.attend(*long, bias=lambda scores, cells: scores.tanh())",
}
_BEFORE_BACKWARD = """
    output = qkv.attend(*(tensor.requires_grad_() for tensor in long))
    gradient = torch.ones_like(output)
"""
_CODE = """
import json, os, signal, threading, time, torch, qkv
torch.set_num_threads(2)
signal.signal(signal.SIGINT, signal.default_int_handler)
torch.manual_seed(0)
def vectors(*shape):
    return [torch.randn(*shape) for _ in range(3)]
def prepared(long):
    {before}
    return lambda: {call}
short = vectors(2, 50, 16)
prepared(vectors(2, 50, 16))()  # what is imported late is there now
right = qkv.attention(*short[:2], impl="reference") @ short[2]
torch.testing.assert_close(qkv.attend(*short), right)
work = prepared(vectors(4, {length}, 64))
sent = []
def interrupt():
    sent.append(time.monotonic())
    os.kill(os.getpid(), signal.SIGINT)
timer = threading.Timer(0.5, interrupt)
found = "it was not interrupted"
timer.start()
try:
    work()
except KeyboardInterrupt:
    found = time.monotonic() - sent[0]
timer.cancel()
torch.testing.assert_close(qkv.attend(*short), right)
print(json.dumps(found))
"""


def run(times: int, names: Iterable[str] = CALLS) -> list[str]:
    """Interrupts each kind of call, or those of these names, so many times, each time in a process
    of its own, which must then answer rightly.

    Memory starts with other numbers than 0, so what was not done must not be taken for done.

    Raises:
        AssertionError: one took more than two seconds to end, or answered wrongly afterwards.
    """
    lines = []
    for name in names:
        call = CALLS[name]
        is_backward = name == "backward"
        before = _BEFORE_BACKWARD if is_backward else "pass"
        length = 16_384 if is_backward else 65_536
        code = _CODE.format(before=before, call=call, length=length)
        took = [json.loads(output_of(code, MALLOC_PERTURB_="165")) for _ in range(times)]
        assert all(isinstance(one, float) for one in took), f"{name}: {took}"
        assert max(took) <= SECONDS, f"{name}: KeyboardInterrupt came after {max(took):.1f} s"
        lines.append(f"{name}: KeyboardInterrupt after at most {max(took):.2f} s, {times} times")
    return lines
