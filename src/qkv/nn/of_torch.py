"""What torch's own layer of several heads says in words of ours: sizes and weights."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def check_torchs_layer(module: Any) -> None:
    """Raises where a layer of ours would not say what `module` says."""
    if not isinstance(module, nn.MultiheadAttention):
        got = type(module).__name__
        raise TypeError(f"from_torch: module must be a torch.nn.MultiheadAttention; got {got}")
    output: Any = module.out_proj
    if getattr(type(output), "forward", None) is not nn.Linear.forward:
        got = type(output).__name__
        raise TypeError(
            f"from_torch: out_proj must be a linear map and nothing more; got {got} (merge an "
            "adapter into the weights first)"
        )
    if module.bias_k is not None or module.add_zero_attn:
        what = "add_zero_attn" if module.bias_k is None else "add_bias_kv"
        raise ValueError(f"from_torch: the module must be made without {what}; got one with it")


def arguments_of(module: nn.MultiheadAttention) -> dict[str, Any]:
    """The arguments that make a layer of the same sizes."""
    return {
        "width": module.embed_dim,
        "heads": module.num_heads,
        "context_width": module.kdim,
        "values_width": module.vdim,
        "dropout": module.dropout,
        "linear_bias": module.in_proj_bias is not None,
    }


def copy_weights(module: nn.MultiheadAttention, made: nn.Module) -> None:
    """Gives `made` the weights of `module`, its device, type and mode; what is frozen stays so."""
    with torch.enable_grad():  # or what is computed of weights would say that it is frozen
        state = _weights_of(module)
    made.to(state["output.weight"]).load_state_dict(state)
    for name, parameter in made.named_parameters():
        parameter.requires_grad_(state[name].requires_grad)
    made.train(module.training)


def _weights_of(module: nn.MultiheadAttention) -> dict[str, Tensor]:
    """The weights of torch's layer, by the names of ours."""
    output, packed = module.out_proj, module.in_proj_weight
    separate = (module.q_proj_weight, module.k_proj_weight, module.v_proj_weight)
    weights = {"output.weight": output.weight}
    if output.bias is not None:
        weights["output.bias"] = output.bias
    for kind, tensors in (
        ("weight", separate if packed is None else packed.chunk(3)),
        ("bias", () if module.in_proj_bias is None else module.in_proj_bias.chunk(3)),
    ):
        names = (f"{part}.{kind}" for part in ("query", "key", "value"))
        weights.update(zip(names, tensors, strict=False))
    return weights
