"""Questions about tensors that every layer asks."""

from __future__ import annotations

import math
import operator
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch._C import (
    _get_dispatch_mode,
    _is_tracing,
    _len_torch_dispatch_stack,
    _len_torch_function_stack,
    _TorchDispatchModeKey,
)
from torch._C._autograd import _saved_tensors_hooks_is_enabled  # pyright: ignore
from torch._C._functorch import is_functorch_wrapped_tensor, peek_interpreter_stack
from torch._ops import _get_dispatch_mode_pre_dispatch
from torch._subclasses.fake_tensor import is_fake
from torch.autograd import forward_ad

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_HALVES = (torch.float16, torch.bfloat16)
INTEGERS = (
    torch.bool,
    torch.uint8,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
)

_MOST_BITS = 24  # of a number of keys whose scores are all in memory

_FAKE, _PROXY = _TorchDispatchModeKey.FAKE, _TorchDispatchModeKey.PROXY
_OF_ITS_OWN = Tensor.__torch_dispatch__  # pyright: ignore[reportAttributeAccessIssue]
_ORDINARY = (Tensor, torch.nn.Parameter)


def is_hollow(tensor: Tensor) -> bool:
    """Whether this has a shape and no numbers, as meta and fake tensors."""
    return tensor.is_meta or is_fake(tensor)


def is_jit_traced() -> bool:
    """Whether `torch.jit.trace` is at work."""
    return not torch.compiler.is_compiling() and _is_tracing()


def is_traced() -> bool:
    """Whether a program is being made of torch's operations, to be run with other numbers: by the
    compiler, `torch.jit.trace` or `make_fx`; or whether numbers are left out altogether, as where
    tensors are fake."""
    if torch.compiler.is_compiling() or _is_tracing():
        return True
    if _len_torch_dispatch_stack() and (_get_dispatch_mode(_PROXY) or _get_dispatch_mode(_FAKE)):
        return True
    # In its early stage make_fx works by a function mode.
    return _len_torch_function_stack() > 0 and _get_dispatch_mode_pre_dispatch(_PROXY) is not None


def is_exported_to_onnx() -> bool:
    """Whether `torch.onnx.export` makes a model of torch's operations."""
    return torch.compiler.is_exporting() and torch.onnx.is_in_onnx_export()


def is_recorded() -> bool:
    """Whether a tracer or another dispatch mode is told of every operation of torch: it does not
    see what kernels of our own write. Function modes, as a default device is one, are told of calls
    and make no programs of them."""
    return is_traced() or _len_torch_dispatch_stack() > 0


def is_concrete(*tensors: Tensor) -> bool:
    """Whether values may be read: not where a program is traced, not under a `torch.func`
    transform, not on the meta device, not of what stands for tensors elsewhere (fake and
    distributed ones)."""
    return not is_traced() and _hold_values(*tensors)


def _hold_values(*tensors: Tensor) -> bool:
    """The same where it is known that no program is traced."""
    for tensor in tensors:
        if tensor.is_meta or is_functorch_wrapped_tensor(tensor):
            return False
        if type(tensor) not in _ORDINARY and type(tensor).__torch_dispatch__ is not _OF_ITS_OWN:  # pyright: ignore
            return False
    return True


def are_ordinary(*things: object) -> bool:
    """Whether these are tensors that lie in the CPU's memory by strides, and nothing that stands
    for others. Asks as little as it can."""
    for thing in things:
        if type(thing) not in _ORDINARY:
            return False
        tensor: Any = thing
        if not tensor.is_cpu or tensor.is_nested or is_functorch_wrapped_tensor(tensor):
            return False
        if tensor.layout is not torch.strided or tensor.is_neg():
            return False
    return True


def inside_transform() -> bool:
    """Whether a `torch.func` transform is at work, also while the compiler traces one."""
    return peek_interpreter_stack() is not None


# What `torch.compiler.assume_constant_result` does, which takes a second to import the compiler.
inside_transform._dynamo_marked_constant = True  # pyright: ignore[reportFunctionMemberAccess]


def kernel_obstacle(*tensors: Tensor) -> str | None:
    """Why kernels that torch does not know cannot be given the memory of these, or None."""
    if is_recorded():
        return "operations of torch are being traced or recorded, and its kernels are none"
    if peek_interpreter_stack() is not None or not _hold_values(*tensors) or is_dual(*tensors):
        return "its kernels have first derivatives alone, and transforms may ask for others"
    if any(tensor.is_neg() for tensor in tensors):
        return "its kernels read memory, and a minus sign of torch's stands beside it (`is_neg`)"
    return None


def may_hook_what_is_saved() -> bool:
    """Whether `saved_tensors_hooks` may be used: they are not where somebody disabled them."""
    return _saved_tensors_hooks_is_enabled()


def is_dual(*tensors: Tensor) -> bool:
    """Whether forward-mode AD follows one of them. Its level is one for all threads, so where
    there is one the tensors themselves are asked."""
    if forward_ad._current_level < 0:
        return False
    return any(torch._VF._unpack_dual(tensor, level=0)[1] is not None for tensor in tensors)  # pyright: ignore


def is_tracked(*tensors: Tensor) -> bool:
    """Whether autograd records what is done with them."""
    return torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)


def all_finite(*tensors: Tensor) -> bool:
    """Whether every value is known to be finite; False where values may not be read."""
    return is_concrete(*tensors) and sums_are_finite(*tensors)


def sums_are_finite(*tensors: Tensor) -> bool:
    """Whether every floating value is finite, in one pass each. A sum that overflows is not finite
    either: the answer may be a wrong False, never a wrong True."""
    for tensor in tensors:
        if tensor.is_floating_point():
            wide = torch.promote_types(tensor.dtype, torch.float32)
            if not math.isfinite(tensor.detach().sum(dtype=wide).item()):
                return False
    return True


def is_strided(tensor: Tensor) -> bool:
    """Whether its numbers lie in memory by strides, as not those of sparse and nested tensors."""
    return tensor.layout is torch.strided and not tensor.is_nested


def check_floats(what: str, thing: object) -> None:
    """Raises TypeError where something is a tensor, but none that is computed with: of another
    layout, or not of one of `FLOATS`."""
    _check_kind(what, thing, FLOATS, "float16, bfloat16, float32 or float64")


def check_integers(what: str, thing: object) -> None:
    """The same for tensors that count or choose: integers and bool."""
    _check_kind(what, thing, INTEGERS, "integers or bool")


def _check_kind(what: str, thing: object, dtypes: tuple[torch.dtype, ...], named: str) -> None:
    if not isinstance(thing, Tensor) or (thing.dtype in dtypes and is_strided(thing)):
        return
    if thing.is_nested:
        got = "a nested tensor"
    else:
        got = f"dtype {thing.dtype}" if is_strided(thing) else f"layout {thing.layout}"
    raise TypeError(f"{what} must be a strided tensor of {named}; got {got}")


def is_tensor(thing: object) -> TypeGuard[Tensor]:
    return isinstance(thing, Tensor)


def integer(asked: Any) -> int | None:
    """A single number of any integer type (what `operator.index` takes), or None where it is none,
    as a bool is none."""
    if isinstance(asked, int):
        return None if isinstance(asked, bool) else asked
    if is_tensor(asked) and not holds_integers(asked):
        return None
    try:
        return operator.index(asked)
    except TypeError:
        return None


def hold_as_int(stage: object, name: str) -> None:
    """Turns an attribute of a frozen object that is an integer of another type into an int."""
    asked = getattr(stage, name)
    if not isinstance(asked, int):
        object.__setattr__(stage, name, integer(asked))


def hold_int(stage: object, name: str, otherwise: str = "") -> int:
    """The same, for one that nothing has been checked of: raises TypeError where it is none."""
    asked = getattr(stage, name)
    if integer(asked) is None:
        got = type(asked).__name__
        raise TypeError(f"{type(stage).__name__}: {name} must be an int{otherwise}; got {got}")
    hold_as_int(stage, name)
    return getattr(stage, name)


def holds_integers(tensor: Tensor) -> bool:
    """Whether it holds integers that all are int64 numbers as well: any but uint64 and bool."""
    return tensor.dtype in INTEGERS and tensor.dtype not in (torch.bool, torch.uint64)


def shape_of(tensor: Tensor) -> str:
    """A shape as error messages write it."""
    return str(list(tensor.shape))


def of_rank(tensor: Tensor, rank: int) -> Tensor:
    """The same tensor with dimensions of size one in front, if it has fewer."""
    missing = rank - tensor.ndim
    return tensor.reshape(*(1,) * missing, *tensor.shape) if missing > 0 else tensor


def bits_of_size(size: int) -> int:
    """How many bits a number of keys has: as many as any has where only the program that is made
    will know it."""
    return int(size).bit_length() if isinstance(size, int) else _MOST_BITS


def is_half(dtype: torch.dtype) -> bool:
    """Whether this is one of the half-width types."""
    return dtype in _HALVES


def accumulation_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32 for the half-width types, the type itself for all others."""
    return torch.float32 if dtype in _HALVES else dtype
