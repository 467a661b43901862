"""What attention is: its three stages on one sentence, with every number.

    python examples/three_stages.py [--picture PATH]

1. How alike are a query and each key? Their scores.
2. Scores become weights, which are positive and sum to 1.
3. The weights sum the values.

The numbers are computed by hand below and then compared with `qkv.attention`.
"""

from __future__ import annotations

import math

import torch
from _program import command_line, say, show_table
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

import qkv
from qkv.pictures import save_picture

SENTENCE = ["the", "dog", "saw", "the", "cat"]
OTHER = ["it", "ran"]  # other data, for queries that are not of the sentence itself
EMBEDDING, WIDTH = 4, 2
CHOSEN = SENTENCE.index("dog")  # the query that is followed through
WIDTHS = (4, 16, 64, 256, 1024)
QUERIES, KEYS = 256, 64  # random ones, for what the width does


def embed(words: list[str], generator: torch.Generator) -> Tensor:
    """`[words, EMBEDDING]`: a vector per word, random here; the same word, the same vector."""
    vectors = {word: torch.randn(EMBEDDING, generator=generator) for word in dict.fromkeys(words)}
    return torch.stack([vectors[word] for word in words])


def by_hand(query: Tensor, key: Tensor, value: Tensor) -> dict[str, Tensor]:
    """The three stages and what lies between them, written out."""
    scores = query @ key.mT
    scaled = scores / math.sqrt(WIDTH)
    exp = scaled.exp()
    weights = exp / exp.sum(-1, keepdim=True)
    output = weights @ value
    return {"scores": scores, "scaled": scaled, "exp": exp, "weights": weights, "output": output}


def vector(numbers: Tensor) -> str:
    """Numbers of a vector for a table."""
    return " ".join(f"{float(number):5.2f}" for number in numbers)


def show_chosen(stages: dict[str, Tensor], value: Tensor) -> None:
    """The chosen query's row, step by step."""
    row = {name: table[CHOSEN] for name, table in stages.items()}
    steps = ("scores", "scaled", "exp", "weights")
    rows: list[list[object]] = [
        [word, *(float(row[step][i]) for step in steps), vector(row["weights"][i] * value[i])]
        for i, word in enumerate(SENTENCE)
    ]
    sums = [float(row[step].sum()) for step in ("exp", "weights")]
    show_table(
        f'The query "{SENTENCE[CHOSEN]}" looks at every key',
        ["key", "score q·k", f"/ √{WIDTH}", "exp", "weight", "weight × value"],
        [*rows, ["sum", "", "", *sums, vector(row["output"])]],
    )


def check(query: Tensor, key: Tensor, value: Tensor, stages: dict[str, Tensor]) -> None:
    """The engine gives the same numbers; an error where it does not."""
    matrix = qkv.attention(query, key)
    explained = matrix.explain(CHOSEN, value)
    torch.testing.assert_close(matrix @ value, stages["output"])
    torch.testing.assert_close(matrix.dense(), stages["weights"])
    torch.testing.assert_close(explained.scores, stages["scores"][CHOSEN])
    difference = float((matrix @ value - stages["output"]).abs().max())
    say(f"qkv.attention(query, key) @ value agrees; largest difference {difference:.0e}.")
    say(f"Its own account of the same row, A.explain({CHOSEN}, value):\n\n{explained}\n")


def width_effects(generator: torch.Generator) -> dict[str, list[float]]:
    """What dividing by √d does as the width d grows, for queries and keys of variance 1."""
    found: dict[str, list[float]] = {}
    for width in WIDTHS:
        query = torch.randn(QUERIES, width, generator=generator)
        key = torch.randn(KEYS, width, generator=generator)
        for name, scale in (("q·k", 1.0), ("q·k / √d", width**-0.5)):
            matrix = qkv.attention(query, key, score=qkv.Dot(scale))
            weights = matrix.dense()
            jacobian = torch.diag_embed(weights) - weights.unsqueeze(-1) * weights.unsqueeze(-2)
            for what, number in (
                ("variance", matrix.scores().var()),
                ("entropy", matrix.entropy().mean()),
                ("gradient", jacobian.norm(dim=(-2, -1)).mean()),
            ):
                found.setdefault(f"{what} of {name}", []).append(float(number))
    return found


def draw(stages: dict[str, Tensor], effects: dict[str, list[float]]) -> Figure:
    """Above the stages of the sentence, below what the width does."""
    figure = Figure(figsize=(12, 7.8))
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    figure.suptitle("The three stages of attention, and why scores are divided by √d", fontsize=14)
    above, below = figure.subplots(2, 3)
    components = [str(number + 1) for number in range(WIDTH)]
    draw_stage(above[0], stages["scaled"], SENTENCE, "1. Score: query · key / √d", "RdBu_r")
    draw_stage(above[1], stages["weights"], SENTENCE, "2. Normalize: softmax of each row", "Blues")
    draw_stage(above[2], stages["output"], components, "3. Sum: weights × values", "RdBu_r")
    kinds = {
        "variance": ("Variance of the scores", "variance"),
        "entropy": (f"Entropy of the weights of {KEYS} keys", "nats"),
        "gradient": ("Size of the softmax's gradient", "Frobenius norm of the Jacobian"),
    }
    for axes, (kind, (title, unit)) in zip(below, kinds.items(), strict=True):
        for name, marker in (("q·k", "o"), ("q·k / √d", "s")):
            axes.plot(WIDTHS, effects[f"{kind} of {name}"], marker=marker, label=name)
        axes.set(title=title, xlabel="width d of query and key", ylabel=unit, xscale="log")
        axes.set_xticks(WIDTHS, [str(width) for width in WIDTHS])
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    below[0].set_yscale("log")
    below[1].axhline(math.log(KEYS), color="grey", linestyle=":")
    below[1].annotate(f"the most: ln {KEYS}", (WIDTHS[0], math.log(KEYS) + 0.06), color="grey")
    below[1].set_ylim(0, 4.6)
    below[2].set_ylim(0, None)
    return figure


def draw_stage(axes: Axes, table: Tensor, columns: list[str], title: str, colours: str) -> None:
    """One matrix with its numbers; a row is a query."""
    largest = float(table.abs().max())
    lowest = 0 if colours == "Blues" else -largest
    image = axes.imshow(table.numpy(), cmap=colours, vmin=lowest, vmax=largest, aspect="auto")
    for row, col in torch.cartesian_prod(*map(torch.arange, table.shape)).tolist():
        strong = abs(float(table[row, col])) > 0.6 * largest
        text = f"{float(table[row, col]):.2f}"
        axes.text(col, row, text, ha="center", va="center", color="white" if strong else "black")
    axes.set_xticks(range(len(columns)), columns)
    axes.set_yticks(range(len(SENTENCE)), SENTENCE)
    axes.set(
        title=title, ylabel="query", xlabel="key" if columns is SENTENCE else "output component"
    )
    axes.figure.colorbar(image, ax=axes)


def main() -> None:
    """Print the walk and draw it."""
    options = command_line("three_stages", __doc__).parse_args()
    generator = torch.Generator().manual_seed(0)
    embedded = embed([*SENTENCE, *OTHER], generator)
    sentence, other = embedded.split([len(SENTENCE), len(OTHER)])
    maps = torch.randn(3, EMBEDDING, WIDTH, generator=generator) * EMBEDDING**-0.5
    query, key, value = (sentence @ each for each in maps)
    say(
        "Every word becomes a vector, its embedding. Three matrices, W_Q, W_K and W_V, make three "
        "views of it: a query (what it asks), a key (by which it is found) and a value (what it "
        "gives). Here embeddings and matrices are random: training would choose them, and the walk "
        "would be the same."
    )
    show_table(
        "Where query, key and value come from: views of the same words",
        ["word", "embedding x", "query x W_Q", "key x W_K", "value x W_V"],
        [
            [word, *(vector(tensor[i]) for tensor in (sentence, query, key, value))]
            for i, word in enumerate(SENTENCE)
        ],
    )
    stages = by_hand(query, key, value)
    show_chosen(stages, value)
    check(query, key, value, stages)
    say('Both "the" have the same weights and output: attention by itself knows no order.')
    cross = qkv.attention(other @ maps[0], key)
    show_table(
        "Queries of other words look at the same keys (cross-attention)",
        ["query", *SENTENCE],
        [[word, *map(float, cross[i])] for i, word in enumerate(OTHER)],
    )
    say(
        "Why divide by √d? A dot product of d pairs of random numbers of variance 1 has variance "
        "d. Without the division the softmax of such scores puts all weight on one key as d grows, "
        "and its gradient falls towards zero (Vaswani et al. 2017, section 3.2.1)."
    )
    effects = width_effects(generator)
    show_table(
        f"{QUERIES} random queries over {KEYS} random keys",
        ["width d", *map(str, WIDTHS)],
        [[name, *numbers] for name, numbers in effects.items()],
    )
    save_picture(draw(stages, effects), options.picture)
    say(f"Drawn: {options.picture}")


if __name__ == "__main__":
    main()
