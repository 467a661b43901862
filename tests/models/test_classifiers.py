"""The classifiers' networks: padding, sizes, where they look."""

import pytest
import torch

from qkv.models import (
    ImageClassifier,
    ImageClassifierConfig,
    TextClassifier,
    TextClassifierConfig,
)
from qkv.models.image_classifier_config import ARCHITECTURES
from qkv.models.residual import ResidualCNN
from qkv.models.text_classifier_config import ENCODERS

SMALL = {"embedding": 6, "width": 8, "dropout": 0.0, "token_dropout": 0.0}


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_batch_of_texts_equals_its_texts_one_by_one_whatever_stands_in_padding(encoder):
    model = TextClassifier(TextClassifierConfig(20, 3, encoder=encoder, **SMALL)).double()
    tokens, lengths = torch.randint(3, 20, (3, 9)), torch.tensor([9, 1, 4])
    together = model(tokens, lengths)
    weights = model.attention(tokens, lengths).dense()
    assert weights.shape == (3, 1, 1, 9)
    assert (weights[1, 0, 0, 1:] == 0).all()
    for row, length in enumerate(lengths.tolist()):
        alone = model(tokens[row : row + 1, :length], lengths[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone, rtol=1e-9, atol=1e-12)


def test_self_attention_over_a_document_sees_its_window_alone():
    config = TextClassifierConfig(20, 2, encoder="attention", layers=1, window=3, **SMALL)
    model = TextClassifier(config).double()
    tokens = torch.randint(3, 20, (1, 40))
    before = model.read(tokens, torch.tensor([40]))
    tokens[0, 20] = 3 + (tokens[0, 20] - 2) % 17
    changed = (model.read(tokens, torch.tensor([40])) != before).any(-1)[0].nonzero().flatten()
    assert changed.tolist() == list(range(17, 24))


def test_token_dropout_blanks_whole_tokens_in_training_alone():
    model = TextClassifier(TextClassifierConfig(20, 2, **SMALL | {"token_dropout": 0.5}))
    seen = []
    model.encoder.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for training in (True, False):
        model.train(training)(torch.full((1, 200), 5), torch.tensor([200]))
    blank = (seen[0] == 0).all(-1)
    assert 60 < int(blank.sum()) < 140
    assert (seen[0][~blank] != 0).all()
    assert (seen[1] != 0).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_default_sizes_are_at_most_a_million_and_a_half_parameters(architecture):
    model = ImageClassifier(ImageClassifierConfig(10, 32, 32, architecture=architecture))
    assert 500_000 < sum(p.numel() for p in model.parameters()) <= 1_500_000


@pytest.mark.parametrize("channels", [8, 24, 48])
def test_the_cnn_without_attention_has_as_many_parameters(channels):
    counts = [
        sum(
            p.numel()
            for p in ImageClassifier(
                ImageClassifierConfig(10, 32, 32, architecture=kind, channels=channels)
            ).parameters()
        )
        for kind in ("attention-cnn", "cnn")
    ]
    assert abs(counts[0] - counts[1]) <= 4 * channels + 1  # half of what a hidden unit has


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("channels", [4, 8])
def test_a_step_in_channels_last_has_the_gradients_of_the_plain_layout(architecture, channels):
    config = ImageClassifierConfig(3, 16, 20, architecture=architecture, channels=channels)
    model = ImageClassifier(config)
    images = torch.randint(0, 256, (4, 3, 16, 20), dtype=torch.uint8)
    grads = []
    for kind in (torch.channels_last, torch.contiguous_format):
        model.to(memory_format=kind).zero_grad()
        model(images).square().sum().backward()
        grads.append([p.grad.clone() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(grads[0], grads[1], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("architecture", "places"), [("attention-cnn", 4), ("vit", 20)])
def test_where_it_looks_is_a_distribution_over_the_map(architecture, places):
    config = ImageClassifierConfig(3, 16, 20, architecture=architecture, channels=8)
    model = ImageClassifier(config).eval()
    images = torch.randint(0, 256, (2, 3, 16, 20), dtype=torch.uint8)
    weights = model.attention(images).dense()
    assert weights.shape == (2, 1, 1, places)
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, 1, 1))
    features = model.read(images)
    expected = model.output(model.pooling(features.flatten(2).transpose(1, 2)).squeeze(1))
    torch.testing.assert_close(model(images), expected)


@pytest.mark.parametrize("heads", [2, None])
def test_a_cnn_hands_on_what_it_reads_until_it_has_learnt(heads):
    body = ResidualCNN(24, blocks=1, heads=heads).eval()
    whitening, _, first, _, _, last = body
    x = torch.rand(2, 24, 8, 8)
    torch.testing.assert_close(first[0](x), x)
    torch.testing.assert_close(first[4].convolution(x), x)
    states = torch.rand(2, body.width, 3, 3)
    torch.testing.assert_close(last(states), states)
    assert not whitening.weight.requires_grad


def test_pictures_are_brought_to_mean_zero_and_deviation_one():
    model = ImageClassifier(ImageClassifierConfig(3, 8, 8, architecture="cnn", channels=4)).eval()
    images = torch.randint(0, 256, (2, 3, 8, 8), dtype=torch.uint8)
    before = model(images)
    model.mean.add_(10).mul_(0.5)
    model.deviation.mul_(0.5)
    torch.testing.assert_close(model((images.float() + 10) * 0.5), before, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(model(images), before)


def test_whitened_patches_have_variance_one_and_no_correlation():
    # Neighbours in a row, and channels, agree.
    images = (150 * torch.rand(40, 1, 16, 1) + 100 * torch.rand(40, 3, 16, 16)).to(torch.uint8)
    model = ImageClassifier(ImageClassifierConfig(3, 16, 16, channels=4))
    before = model.body.whitening.weight.clone()
    model.fit(images)
    layer = model.body.whitening
    layer.bias.data.zero_()
    normalized = (images - model.mean.view(3, 1, 1)) / model.deviation.view(3, 1, 1)
    flat = layer(normalized)[..., :-1, :-1].transpose(0, 1).flatten(1)  # beyond is padding
    assert torch.equal(flat[:12], -flat[12:])
    covariance = (flat[:12] @ flat[:12].T) / flat.shape[1]
    torch.testing.assert_close(covariance, torch.eye(12), rtol=0, atol=0.01)
    assert not torch.equal(layer.weight, before)
    model(images).sum().backward()
    assert layer.weight.grad is None
    assert layer.bias.grad is not None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TextClassifierConfig(9, 1), "labels must be an int >= 2; got 1"),
        (lambda: TextClassifierConfig(9, 2, encoder="cnn"), "one of rnn, lstm, gru, attention"),
        (lambda: TextClassifierConfig(9, 2, window=4), "window has no meaning with the encoder ls"),
        (lambda: TextClassifierConfig(9, 2, encoder="conv", heads=2), "heads has no meaning"),
        (lambda: ImageClassifierConfig(2, 7, 8), "height must be an int >= 8; got 7"),
        (lambda: ImageClassifierConfig(2, 8, 8, patch=2), "patch has no meaning with attention-"),
        (
            lambda: ImageClassifierConfig(2, 8, 8, architecture="cnn", heads=2),
            "heads has no meaning with cnn",
        ),
        (
            lambda: ImageClassifier(ImageClassifierConfig(2, 8, 9, architecture="vit")),
            "patch must divide height and width; got 4, 8, 9",
        ),
    ],
)
def test_sizes_that_cannot_be_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
