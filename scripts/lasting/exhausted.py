"""Requests beyond the memory that the process may have."""

from __future__ import annotations

import json
from typing import Any

from .child import output_of

_CODE = """
import json, resource, sys, torch, qkv
torch.set_num_threads(2)
torch.manual_seed(0)
def used():
    with open("/proc/self/statm") as file: return int(file.read().split()[0]) * 4096
query, key, value = (torch.randn(8, 2000, 32, requires_grad=True) for _ in range(3))
short = [t[:, :40].detach() for t in (query, key, value)]
right = qkv.attention(*short[:2], impl="reference") @ short[2]
long = torch.zeros(1, 1).expand(1 << 22, 32)
vectors = query, key, value
def trained(**options):
    output = qkv.attend(*vectors, **options)
    return torch.autograd.grad(output.sum(), vectors)
CALLS = {
    "a dense matrix": lambda: qkv.attention(query, key).dense(max_bytes=2**60),
    "a dense matrix of millions": lambda: qkv.attention(long, long).dense(max_bytes=2**60),
    "an output": lambda: qkv.attend(long.expand(16, -1, -1), short[1][:1], short[2][:1]),
    "the oracle": lambda: qkv.attention(query, key, impl="reference") @ value,
    "training": trained,
    "training by sparsemax": lambda: trained(normalizer=qkv.Sparsemax()),
    "training in blocks": lambda: trained(impl="tiled"),
    "training of bfloat16": lambda: qkv.attend(*(t.bfloat16() for t in vectors)).sum().backward(),
    "statistics": lambda: qkv.attention(query, key).measure(qkv.Mass(), qkv.Entropy(), qkv.Top(4)),
}
small = qkv.attend(*(t[:, :300] for t in vectors)); small.sum().backward()  # the threads are there
if sys.argv[1] == "names":
    print(json.dumps([*CALLS]))
    raise SystemExit
call, steps, found = CALLS[sys.argv[1]], int(sys.argv[2]), {}
for step in range(steps):
    room = int(2 ** (20 + 10 * step / steps))  # from 1 MiB to 1 GiB
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used() + room, hard))
    try:
        call()
        outcome = "served"
    except (MemoryError, RuntimeError) as error:
        outcome = type(error).__name__
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    found[outcome] = found.get(outcome, 0) + 1
    torch.testing.assert_close(qkv.attend(*short), right)
print(json.dumps(found))
"""
NEVER = ("a dense matrix of millions", "an output")  # that any of the limits lets through


def run(steps: int) -> list[str]:
    """Each kind of call with 1 MiB to 1 GiB of room for it, in so many steps: it is served, or
    raises; the process then answers rightly. What is freed goes back to the system at once, so that
    room is room.

    Raises:
        AssertionError: the process died, answered wrongly, or nothing was ever refused.
    """
    found = {name: _outcomes(name, str(steps)) for name in _outcomes("names")}
    for name in NEVER:
        assert "served" not in found[name], f"{name}: {found[name]}"
    return [
        f"{name}: " + ", ".join(f"{outcome} {times} times" for outcome, times in kinds.items())
        for name, kinds in found.items()
    ]


def _outcomes(*arguments: str) -> Any:
    return json.loads(output_of(_CODE, *arguments, MALLOC_MMAP_THRESHOLD_="65536"))
