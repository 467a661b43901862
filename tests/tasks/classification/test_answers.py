"""What both classifiers say alike."""

import pytest
import torch

import qkv

ASKED = {
    "reviews": lambda labeller: labeller.classify(["a good film"]),
    "images": lambda labeller: labeller.classify(torch.full((1, 3, *labeller.size), 50), ["x"]),
}


@pytest.mark.parametrize("name", ASKED)
def test_probabilities_that_are_not_finite_are_an_error(name: str) -> None:
    labeller = qkv.load(name)
    assert ASKED[name](labeller)[0].label in labeller.labels
    with torch.no_grad():
        for parameter in labeller.model.parameters():
            parameter.mul_(1e30)
    with pytest.raises(ValueError, match="classify: the model's probabilities are not finite"):
        ASKED[name](labeller)
