"""Attention over a set that is no sequence: is there a face among these pictures?

    python examples/set_attention.py [--splits N] [--picture PATH]

A set holds up to 12 small pictures. One learnt query looks at all of them and the weighted sum says
yes or no (multiple-instance learning with attention: Ilse et al. 2018). Training tells only whether
there is a face in a set, never which member it is. The weights find it.

The pictures are scikit-image's part of Labeled Faces in the Wild: 100 faces and 100 pieces of
background. Of each, 25 are kept for the test.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from _faces import FACES, LARGEST, Sets, draw_sets, load_pictures
from _program import command_line, say, show_table, whole_number
from matplotlib.figure import Figure
from torch import Tensor, nn

import qkv
from qkv.pictures import save_picture

FOR_TRAINING = 75  # of either kind
STEPS, BATCH, TEST_SETS = 300, 32, 1000
WIDTH = 32
SHOWN = 4, 2  # sets in the picture: judged rightly, wrongly


class SetClassifier(nn.Module):
    """Members become vectors, a query pools them, the sum is judged.

    Without attention the query stays zero: all scores are equal, and the sum is the mean.
    """

    def __init__(self, attentive: bool) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            nn.AvgPool2d(2), nn.Flatten(-2), nn.Dropout(0.3), nn.Linear(144, WIDTH), nn.Tanh()
        )
        self.key = nn.Linear(WIDTH, WIDTH)
        self.query = nn.Parameter(torch.zeros(1, WIDTH), requires_grad=attentive)
        self.judge = nn.Linear(WIDTH, 1)

    def forward(self, pictures: Tensor, lengths: Tensor) -> tuple[Tensor, qkv.AttentionMatrix]:
        """`[sets, members, 25, 25]` -> a logit per set, and the matrix `[sets, 1, members]`."""
        value = self.embed(pictures)
        query = self.query.expand(len(pictures), 1, WIDTH)
        matrix = qkv.attention(query, self.key(value), mask=qkv.Padding(lengths))
        return self.judge(matrix @ value)[:, 0, 0], matrix


def train(pictures: Tensor, faces: Tensor, others: Tensor, attentive: bool) -> SetClassifier:
    """A classifier of sets of these faces and others."""
    model = SetClassifier(attentive)
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=3e-3)
    for _ in range(STEPS):
        sets = draw_sets(faces, others, BATCH)
        batch = pictures[sets.members]
        mirrored = torch.rand(sets.members.shape)[..., None, None] < 0.5
        batch = torch.where(mirrored, batch.flip(-1), batch) + 0.3 * torch.randn_like(batch)
        logits, _ = model(batch, sets.lengths)
        optimiser.zero_grad()
        F.binary_cross_entropy_with_logits(logits, sets.has_face.float()).backward()
        optimiser.step()
    return model.eval().requires_grad_(False)


@dataclass(frozen=True)
class Trial:
    """One split: a model, held-out sets, and what it makes of them."""

    model: SetClassifier
    sets: Sets
    found: Tensor  # [sets]: the model says that there is a face
    weights: Tensor  # [sets, LARGEST]

    @property
    def correct(self) -> Tensor:
        return self.found == self.sets.has_face

    @property
    def strongest(self) -> Tensor:
        """The member of each set with the largest weight."""
        return self.weights.argmax(1, keepdim=True)


def trial(pictures: Tensor, split: int, attentive: bool) -> Trial:
    """Train on one part of the pictures and test on sets of the others."""
    torch.manual_seed(split)
    faces = torch.randperm(FACES)
    others = FACES + torch.randperm(len(pictures) - FACES)
    model = train(pictures, faces[:FOR_TRAINING], others[:FOR_TRAINING], attentive)
    sets = draw_sets(faces[FOR_TRAINING:], others[FOR_TRAINING:], TEST_SETS)
    logits, matrix = model(pictures[sets.members], sets.lengths)
    return Trial(model, sets, logits > 0, matrix.dense()[:, 0])


def line(split: int, attentive: Trial, averaging: Trial) -> list[object]:
    """A line of the table; about the weights in held-out sets that hold a face."""
    sets, some_face = attentive.sets, attentive.sets.has_face
    shares = (
        attentive.correct.float().mean(),
        averaging.correct.float().mean(),
        (attentive.weights * sets.is_face).sum(1)[some_face].mean(),
        (sets.is_face.sum(1) / sets.lengths)[some_face].mean(),
        sets.is_face.gather(1, attentive.strongest)[some_face].float().mean(),
    )
    return [split, *(f"{float(share):.1%}" for share in shares)]


def explain_mistakes(split: int, trial: Trial) -> None:
    """Which picture the model looked at when it saw a face where there is none."""
    false_alarms = trial.found & ~trial.sets.has_face
    if not bool(false_alarms.any()):
        say(f"Split {split}: no set without a face is taken for one with a face.")
        return
    blamed = trial.sets.members.gather(1, trial.strongest)[false_alarms, 0].bincount()
    say(
        f"Split {split}: {int((~trial.correct).sum())} mistakes. {int(false_alarms.sum())} see a "
        f"face where there is none, {int(blamed.max())} of them look most at the same background, "
        f"picture {int(blamed.argmax())}."
    )


def permutation_difference(model: SetClassifier, members: Tensor) -> tuple[float, float]:
    """What shuffling a set changes, in float64: the logit, and the weight of each member."""
    model = model.double()
    order, whole = torch.randperm(len(members)), torch.tensor([len(members)])
    logit, matrix = model(members[None].double(), whole)
    shuffled, shuffled_matrix = model(members[None, order].double(), whole)
    moved = matrix[..., order] - shuffled_matrix.dense()
    return float((logit - shuffled).abs()), float(moved.abs().max())


def draw(pictures: Tensor, trial: Trial) -> Figure:
    """Held-out sets, a row each, with the weight of every member below it."""
    right, wrong = SHOWN
    rows = trial.correct.nonzero()[:right, 0].tolist()
    rows += (~trial.correct).nonzero()[:wrong, 0].tolist()
    figure = Figure(figsize=(12, 1.32 * len(rows) + 0.4), layout="constrained")
    figure.suptitle("Is there a face? Weights of one learnt query in held-out sets (framed: faces)")
    for row, axes in zip(rows, figure.subplots(len(rows), LARGEST), strict=True):
        answer = "face" if trial.found[row] else "no face"
        verdict = "right" if trial.correct[row] else "WRONG"
        axes[0].set_ylabel(f"{answer}:\n{verdict}", rotation=0, ha="right", va="center")
        for place, panel in enumerate(axes):
            panel.set(xticks=[], yticks=[])
            panel.spines[:].set_visible(False)
            if place >= trial.sets.lengths[row]:
                continue
            weight = float(trial.weights[row, place])
            panel.imshow(pictures[trial.sets.members[row, place]].numpy(), cmap="gray")
            panel.set_xlabel(f"{weight:.0%}", fontweight="bold" if weight > 0.1 else "normal")
            if trial.sets.is_face[row, place]:
                panel.spines[:].set(visible=True, color="tab:orange", linewidth=3)
    return figure


def main() -> None:
    """Train, test, print and draw."""
    parser = command_line("set_attention", __doc__)
    parser.add_argument(
        "--splits",
        type=whole_number(1, 100),
        default=3,
        metavar="N",
        help="how often to divide the pictures anew and train (default: %(default)s)",
    )
    options = parser.parse_args()
    pictures = load_pictures()
    pairs = [
        (trial(pictures, split, True), trial(pictures, split, False))
        for split in range(options.splits)
    ]
    show_table(
        f"{TEST_SETS:,} sets of pictures never seen in training",
        ["split", "accuracy", "of the mean", "on faces", "if even", "strongest"],
        [line(split, *pair) for split, pair in enumerate(pairs)],
    )
    say(
        "of the mean: accuracy of a classifier that takes the mean of a set instead. On faces: the "
        "share of the weights on the faces, in sets that hold any; if even: the share of faces "
        "among their members; strongest: how often the largest weight is on a face."
    )
    for split, (attentive, _) in enumerate(pairs):
        explain_mistakes(split, attentive)
    first = pairs[0][0]
    save_picture(draw(pictures, first), options.picture)
    members = pictures[first.sets.members[0, : int(first.sets.lengths[0])]]
    logit, weight = permutation_difference(first.model, members)
    say(
        "A set has no order. Shuffling one changes the answer by "
        f"{logit:.0e} and the weight of a member by {weight:.0e}: the rounding of float64."
    )
    say(f"Drawn: {options.picture}")


if __name__ == "__main__":
    main()
