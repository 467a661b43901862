"""The native module itself: what it refuses, which threads and instructions it uses."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files

import pytest
import torch
from dense import assert_as_dense, by_kernels, case, forward

import qkv
from qkv import native
from qkv.native import compiled
from qkv.native.request import MOST_BIASES, TYPES, Stages, Wanted

absent = native.unavailable_reason()
present = pytest.mark.skipif(absent is not None, reason=str(absent))
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def in_a_new_process(code: str, **environment: str) -> str:
    """What the code prints. A process of its own has its own threads and loads the module anew."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.strip()


@present
@pytest.mark.parametrize("name", ["query", "key", "value"])
def test_inputs_that_do_not_fit(name: str) -> None:
    given = {"query": torch.randn(2, 3, 2, 5, 8)}
    given |= {other: torch.randn(2, 3, 1, 7, 8) for other in ("key", "value")}

    def call(tensor: torch.Tensor) -> None:
        native.forward(**{**given, name: tensor}, scale=1.0)

    with pytest.raises(TypeError, match=f"forward: {name if name != 'query' else 'key'} must be"):
        call(given[name].double())
    with pytest.raises(TypeError, match=r"got torch\.int64"):
        call(given[name].long())
    with pytest.raises(qkv.UnsupportedError, match=f"forward: {name} must be on the CPU"):
        call(given[name].to("meta"))
    with pytest.raises(ValueError, match=rf"forward: {name} must be \[batch, Hk, G, L, D\]"):
        call(given[name][0])
    with pytest.raises(ValueError, match="forward: leading dimensions must be equal or 1"):
        call(given[name].repeat(2, 1, 1, 1, 1))


@present
def test_shapes_that_do_not_fit_each_other() -> None:
    query, key = torch.randn(1, 1, 2, 5, 8), torch.randn(1, 1, 1, 7, 8)
    with pytest.raises(ValueError, match="forward: key width must equal query width"):
        native.forward(query, key[..., :4], key, 1.0)
    with pytest.raises(ValueError, match="forward: key and value must have the same length"):
        native.forward(query, key, key[..., :4, :], 1.0)
    with pytest.raises(ValueError, match="forward: key and value must have G = 1"):
        native.forward(query, key.repeat(1, 1, 2, 1, 1), key, 1.0)


@present
def test_intervals_that_do_not_fit() -> None:
    query, key = torch.randn(1, 1, 2, 5, 8), torch.randn(1, 1, 1, 7, 8)
    with pytest.raises(TypeError, match="forward: intervals must be integers"):
        native.forward(query, key, key, 1.0, Stages(torch.zeros(1, 1, 1, 5, 1, 2)))
    short = Stages(torch.zeros(1, 1, 1, 4, 1, 2, dtype=torch.int64))
    with pytest.raises(ValueError, match=r"forward: intervals must be \[1, 1, 2, 5, 'n', 2\]"):
        native.forward(query, key, key, 1.0, short)


@present
@pytest.mark.parametrize("name", ["output", "logsumexp", "output_gradient"])
def test_what_the_backward_pass_is_given(name: str) -> None:
    given = case((1, 2, 1), 5, 7)
    inputs = (given.query, given.key, given.value, given.scale, Stages())
    results = forward(given, Stages())
    saved = {
        "output": results.output,
        "logsumexp": results.logsumexp,
        "output_gradient": given.output_gradient,
    }
    wrong = {ValueError: saved[name][:, :, :, :3], TypeError: saved[name].half()}
    for error, tensor in wrong.items():
        with pytest.raises(error, match=f"backward: {name} must be"):
            native.backward(*inputs, **{**saved, name: tensor})
    with pytest.raises(ValueError, match="backward: logsumexp must be given; got None"):
        native.backward(*inputs, **{**saved, "logsumexp": None})


@present
def test_what_may_be_wanted() -> None:
    given = case((1, 2, 1), 5, 7)
    wrong = {
        r"top must be at most 7, the keys; got 8": Wanted(top=8),
        r'pool must be a "max" or a "sum"; got \'mean\'': Wanted(pool=(2, 2, "mean")),
        r"collected must be \[1, 2, 1, 5, 16\]": Wanted(collected=given.key),
    }
    for message, wanted in wrong.items():
        with pytest.raises(ValueError, match=f"forward: {message}"):
            native.forward(given.query, given.key, None, 1.0, wanted=wanted)
    double = Wanted(collected=given.query.double())
    with pytest.raises(TypeError, match=r"forward: collected must be torch\.float32"):
        native.forward(given.query, given.key, None, 1.0, wanted=double)


@present
def test_what_python_and_the_kernels_both_say_is_the_same() -> None:
    """Requests name types by their place in the list."""
    module = compiled.kernels()
    assert [f"torch.{name}" for name in module.types()] == [str(dtype) for dtype in TYPES]
    assert module.most_biases == MOST_BIASES


@present
def test_unknown_instruction_sets() -> None:
    with pytest.raises(ValueError, match=r'use: name must be one of .*baseline; got "mmx"'):
        native.use("mmx")
    code = "from qkv import native; print(native.unavailable_reason())"
    assert "QKV_ISA must be one of" in in_a_new_process(code, QKV_ISA="mmx")


@present
@pytest.mark.parametrize("name", [] if absent else native.instruction_sets())
def test_an_instruction_set_by_environment(name: str) -> None:
    code = "from qkv import native; print(native.instruction_set())"
    assert in_a_new_process(code, QKV_ISA=name) == name


NOT_BUILT = "the native kernels were not built for this Python"
BROKEN = "the native kernels cannot be loaded (undefined symbol: nobody)"


@pytest.mark.parametrize(
    ("error", "says"),
    [("ModuleNotFoundError()", NOT_BUILT), ("ImportError('undefined symbol: nobody')", BROKEN)],
)
def test_absence_says_why(error: str, says: str) -> None:
    code = f"""
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name == "qkv.native._kernels":
            raise {error}
sys.meta_path.insert(0, Absent())
import torch, qkv
from qkv import native
print(native.unavailable_reason())
try:
    native.forward(*[torch.zeros(1, 1, 1, 2, 8)] * 3, 1.0)
except qkv.UnsupportedError as error:
    print(error)
"""
    reason, error = in_a_new_process(code).splitlines()
    assert reason.startswith(says)
    assert error == f"native: {reason}"


@present
def test_import_does_not_load_it() -> None:
    code = "import sys, qkv; qkv.attention; print('qkv.native._kernels' in sys.modules)"
    assert in_a_new_process(code) == "False"


@present
@on_linux
@pytest.mark.parametrize("threads", [1, 2])
def test_the_threads_are_torchs(threads: int) -> None:
    """One OpenMP runtime, and not one thread more than torch was told to use."""
    code = f"""
import os, torch
from qkv import native
from qkv.native.request import Stages, Wanted
torch.set_num_threads({threads})
tensors = [torch.randn(1, 8, 1, 300, 16) for _ in range(3)]
native.unavailable_reason()
before = len(os.listdir("/proc/self/task"))
stages, wanted = Stages(), Wanted(logsumexp=True)
results = native.forward(*tensors, 0.25, stages, wanted)
saved = results.output, results.logsumexp
native.backward(*tensors, 0.25, stages, *saved, results.output)
libraries = {{line.split()[-1] for line in open("/proc/self/maps") if "libgomp" in line}}
print(len(os.listdir("/proc/self/task")) - before, len(libraries))
"""
    assert in_a_new_process(code) == f"{threads - 1} 1"


@present
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_forked_process_computes_too() -> None:
    code = """
import os, signal, torch
from qkv import native
torch.set_num_threads(2)
tensors = [torch.randn(1, 8, 1, 300, 16) for _ in range(3)]
expected = native.forward(*tensors, 0.25).output
child = os.fork()
if child == 0:
    signal.alarm(60)  # rather dead than hanging on without its parent
    found = native.forward(*tensors, 0.25).output
    torch.set_num_threads(1)  # torch's own operations would wait for the lost threads
    same = torch.equal(found, expected)
    os._exit(0 if same else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert in_a_new_process(code) == "0"


@present
def test_many_threads_at_once() -> None:
    """Several Python threads in the kernels at the same time, which release the interpreter."""
    given = case((1, 2, 1), 100, 200)
    expected = by_kernels(given)
    assert_as_dense(given, expected)
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: by_kernels(given), range(12)):
            assert torch.equal(found.output, expected.output)
            assert torch.equal(found.key_gradient, expected.key_gradient)


_LONG_CALL = """
import os, signal, threading, torch
from qkv import native
from qkv.native.request import Stages, Wanted
torch.set_num_threads(2)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
query, key = torch.zeros(1, {heads}, {group}, 8192, 64), torch.zeros(1, {heads}, 1, 8192, 64)
wanted = Wanted(logsumexp=True, mass={mass})
threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    native.forward(query, key, key, 1.0, Stages(), wanted)
except KeyboardInterrupt:
    print("interrupted")
output = native.forward(query[:, :, :1, :64], key, key + 1, 1.0).output
print(round(float(output.min()), 3), round(float(output.max()), 3))
"""


@present
@pytest.mark.parametrize(("heads", "group", "mass"), [(1, 64, False), (33, 1, True)])
def test_ctrl_c_ends_a_long_call(heads: int, group: int, mass: bool) -> None:
    """Memory starts with other numbers than 0: what has not begun must not be taken for done."""
    code = _LONG_CALL.format(heads=heads, group=group, mass=mass)
    found = in_a_new_process(code, MALLOC_PERTURB_="165")
    assert found.split() == ["interrupted", "1.0", "1.0"]


@present
def test_the_stub_of_the_module_is_true() -> None:
    """Of another signature: `python -m nanobind.stubgen -m qkv.native._kernels -o
    src/qkv/native/_kernels.pyi`."""
    stubgen = pytest.importorskip("nanobind.stubgen", reason="nanobind is not installed")
    stub = stubgen.StubGen(compiled.kernels())
    stub.put(compiled.kernels())
    assert stub.get() == files("qkv.native").joinpath("_kernels.pyi").read_text()


@present
@pytest.mark.parametrize("how", ["exchange", "attributes"])
def test_memory_is_found_with_and_without_the_exchange_interface(how: str) -> None:
    """`torch.Tensor` has it from 2.10 on."""
    code = f"""
import torch
if {how!r} == "attributes" and hasattr(torch.Tensor, "__dlpack_c_exchange_api__"):
    del torch.Tensor.__dlpack_c_exchange_api__
import qkv
torch.manual_seed(0)
query, key, value = (torch.randn(3, 9, 4, 16, dtype=torch.float64).transpose(1, 2)[:, :, 1:]
                     for _ in range(3))
key = key[:, :2].requires_grad_()
value = value[:, :1].expand(3, 2, 8, 16).requires_grad_()
for mask in None, qkv.Window(2, 0), qkv.Dense(torch.rand(3, 1, 8, 8) > 0.2):
    found = [
        (output, *torch.autograd.grad(output.sum(), (key, value)))
        for output in (
            qkv.attend(query, key, value, impl=impl, mask=mask) for impl in ("native", "reference")
        )
    ]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
A = qkv.attention(query, key, impl="native")
torch.testing.assert_close(A.entropy(), qkv.attention(query, key, impl="reference").entropy())
print("the same")
"""
    assert in_a_new_process(code) == "the same"
