"""The optimiser for matrices, against the singular value decomposition and torch's own."""

import pytest
import torch
from torch import nn

from qkv.tasks.trainer.learner import Learner
from qkv.tasks.trainer.muon import Muon, orthogonal
from qkv.tasks.trainer.processes import Processes
from qkv.tasks.trainer.settings import Settings


@pytest.mark.parametrize("shape", [(8, 8), (6, 40), (40, 6), (1, 5)])
@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_singular_values_become_about_one_and_directions_stay(shape, size):
    left, _, right = torch.linalg.svd(torch.randn(shape).double(), full_matrices=False)
    values = torch.linspace(1, 0.1, min(shape)).double()
    found = left.mT @ orthogonal(size * (left * values) @ right) @ right.mT
    inside = found.diagonal()
    assert inside.min() > 0.6
    assert inside.max() < 1.3
    torch.testing.assert_close(found, inside.diag(), rtol=0, atol=1e-9)


def test_of_no_gradient_it_makes_no_step():
    assert not orthogonal(torch.zeros(3, 4)).any()


def test_steps_are_those_of_torch_s_own_but_for_its_rounding():
    torch.manual_seed(0)
    start, gradients = torch.randn(16, 48), torch.randn(4, 16, 48)
    ours, theirs = nn.Parameter(start.clone()), nn.Parameter(start.clone())
    # A rate is of updates with a root mean square of 0.8 here, and of 0.2 there.
    optimizers = (
        Muon([ours], lr=0.01, momentum=0.9, weight_decay=0.4),
        torch.optim.Muon(
            [theirs], lr=0.04, momentum=0.9, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
        ),
    )
    for gradient in gradients:
        ours.grad, theirs.grad = gradient.clone(), gradient.clone()
        for optimizer in optimizers:
            optimizer.step()
    moved = (theirs - start).norm()
    assert (ours - theirs).norm() < 0.02 * moved
    assert moved > 0.5


def test_in_bfloat16_it_steps_alike_and_weights_keep_their_type():
    torch.manual_seed(0)
    start, gradient = torch.randn(16, 48), torch.randn(16, 48)
    steps = {}
    for dtype in (None, torch.bfloat16):
        weight = nn.Parameter(start.clone())
        weight.grad = gradient.clone()
        Muon([weight], lr=0.1, dtype=dtype).step()
        assert weight.dtype == torch.float32
        steps[dtype] = weight.detach() - start
    difference = (steps[torch.bfloat16] - steps[None]).norm() / steps[None].norm()
    assert 1e-4 < difference < 0.02


@pytest.mark.parametrize(("precision", "dtype"), [("float32", None), ("bf16", torch.bfloat16)])
def test_its_products_are_in_the_precision_of_the_model_s(precision, dtype):
    settings = Settings(steps=1, optimizer="muon", precision=precision)
    muon, _ = Learner(MixedTask(), settings, Processes(cpu=True)).optimizers
    assert muon.dtype is dtype


def test_a_convolution_steps_as_the_matrix_of_its_outputs():
    torch.manual_seed(0)
    layer = nn.Conv2d(5, 4, 3).to(memory_format=torch.channels_last)
    matrix = nn.Parameter(layer.weight.detach().flatten(1))
    layer.weight.grad = torch.randn_like(layer.weight)
    matrix.grad = layer.weight.grad.flatten(1)
    for parameter in (layer.weight, matrix):
        Muon([parameter], lr=0.1).step()
    torch.testing.assert_close(layer.weight.flatten(1), matrix)


class Mixed(nn.Module):
    """One of each kind of parameter, two of them the same."""

    def __init__(self):
        super().__init__()
        self.rows = nn.Embedding(4, 6)
        self.places = nn.Parameter(torch.zeros(2, 6))
        self.layers = nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6), nn.Conv1d(6, 6, 3))
        self.again = nn.Linear(6, 6, bias=False)
        self.again.weight = self.layers[0].weight
        self.frozen = nn.Linear(6, 6).requires_grad_(False)


class MixedTask:
    def model(self):
        return Mixed()


def test_weights_of_layers_are_muon_s_and_all_else_is_adamw_s():
    settings = Settings(steps=1, optimizer="muon", weight_decay=0.5)
    learner = Learner(MixedTask(), settings, Processes(cpu=True))
    muon, adam = learner.optimizers
    model = learner.model
    [group] = muon.param_groups
    assert [id(p) for p in group["params"]] == [
        id(p) for p in (model.layers[0].weight, model.layers[2].weight)
    ]
    assert group["weight_decay"] == 0.5
    drawn, free = adam.param_groups
    assert {id(p) for p in drawn["params"]} >= {id(model.rows.weight), id(model.places)}
    assert all(p.ndim == 1 for p in free["params"])
    assert (drawn["weight_decay"], free["weight_decay"]) == (0.5, 0.0)
    everything = [
        p for optimizer in learner.optimizers for g in optimizer.param_groups for p in g["params"]
    ]
    assert sorted(map(id, everything)) == sorted(map(id, model.parameters()))
