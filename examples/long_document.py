"""Which words of a long document received most attention, in linear memory.

    python examples/long_document.py [--tokens N] [--picture PATH]

The document is the reference of the Python language as it comes with Python. Words are compared by
vectors made from their neighbours in it, and every word looks back at words that are used alike.
One sweep over the matrix takes everything that is shown; the matrix itself is never built.
"""

from __future__ import annotations

import resource
import sys
import time

import torch
import torch.nn.functional as F
from _document import RUN, Document, embed, read
from _program import command_line, say, show_table, whole_number
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from torch import Tensor

import qkv
from qkv.pictures import save_picture

SCALE = 16.0  # of the cosine of two words
MAP = 128  # cells along a side of the pooled map
FAR = 4  # cells of the map: nearer ones belong to the same passage
TOP = 8


def look_back(vectors: Tensor) -> qkv.AttentionMatrix:
    """Causal self-attention of words by the cosine of their vectors; computes nothing yet."""
    return qkv.attention(vectors, vectors, score=qkv.Cosine(SCALE), mask=qkv.Causal())


def peak() -> float:
    """The largest resident size of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (
        2**20 if sys.platform == "darwin" else 2**10
    )


def show_keys(title: str, document: Document, mass: Tensor, even: Tensor, rank: Tensor) -> None:
    """The keys that rank first."""
    show_table(
        title,
        ["key among its neighbours", "topic", "place", "mass", "/ even"],
        [
            [
                document.around(place),
                document.topic(place),
                f"{place:,}",
                f"{float(mass[place]):.2f}",
                f"{float(mass[place] / even[place]):.1f}",
            ]
            for place in rank.topk(TOP).indices.tolist()
        ],
    )


def show_passages(document: Document, ratio: Tensor) -> None:
    """Cells of the map far from the diagonal that stand out, and how much of them is repetition."""
    far = ratio.nan_to_num(0.0).tril(-FAR).flatten()
    cell = len(document.words) / MAP
    rows = []
    for index in far.topk(TOP).indices.tolist():
        query, key = (round(place * cell) for place in divmod(index, MAP))
        repeated = document.repeated(
            range(query, query + round(cell)), range(key - round(cell), key + 2 * round(cell))
        )
        topics = document.topic(query), document.topic(key)
        ratio_there = f"{float(far[index]):.1f}"
        rows.append([*topics, f"{query:,}", f"{key:,}", ratio_there, f"{repeated:.0%}"])
    show_table(
        "Passages that look at passages far before them",
        ["query's topic", "key's topic", "query at", "key at", "/ even", "repeated"],
        rows,
    )
    say(f"repeated: the share of the query's runs of {RUN} words that occur around the key.")


def draw(document: Document, found: qkv.Measured, even: qkv.Measured) -> Figure:
    """The pooled map against even attention; mass, keys in use and distance along the document."""
    length = len(document.words)
    figure = Figure(figsize=(12, 6.6))
    figure.set_layout_engine("constrained", w_pad=0.08, h_pad=0.08)
    figure.suptitle(f"{length:,} words of the Python reference look back", fontsize=14)
    axes = figure.subplot_mosaic("MMA;MMB;MMC")
    ratio = torch.where(even.pool > 0, found.pool / even.pool, torch.nan)
    image = axes["M"].imshow(
        ratio.numpy(), norm=LogNorm(0.1, 10), cmap="RdBu_r", extent=(0, length, length, 0)
    )
    bar = figure.colorbar(image, ax=axes["M"], label="weight / weight if spread evenly")
    bar.set_ticks([0.1, 0.3, 1, 3, 10], labels=["0.1", "0.3", "1", "3", "10"])
    axes["M"].set(
        title="Who looks where (streaks: passages that repeat others)",
        xlabel="key (word of the document)",
        ylabel="query",
    )
    label_topics(axes["M"], document)
    place = [(cell + 0.5) * length / MAP for cell in range(MAP)]
    panels = {
        "A": ("Attention that a key received", found.mass, even.mass),
        "B": ("Keys in use: exp(entropy) of a query", found.entropy.exp(), even.entropy.exp()),
        "C": ("Distance that a query looks back", found.distance, even.distance),
    }
    for name, (title, *curves) in panels.items():
        for label, numbers in zip(("found", "spread evenly"), curves, strict=True):
            means = F.adaptive_avg_pool1d(numbers[None], MAP)[0].numpy()
            axes[name].plot(place, means, label=label)
        axes[name].set(title=title, xlim=(0, length))
        axes[name].set_xticks(range(0, length + 1, max(1, length // 4)))
        axes[name].grid(alpha=0.3)
    axes["A"].legend(frameon=False)
    axes["B"].set_yscale("log")
    axes["C"].set_xlabel("word of the document")
    return figure


def label_topics(axes: Axes, document: Document) -> None:
    """Names of the longest topics along the queries."""
    length = len(document.words)
    bounds = [*document.topics.values(), length]
    long = {
        name: (start + stop) / 2
        for name, start, stop in zip(document.topics, bounds, bounds[1:], strict=False)
        if stop - start > length / 20
    }
    axes.set_yticks(list(long.values()), list(long), fontsize=9)


def main() -> None:
    """Measure, print and draw."""
    parser = command_line("long_document", __doc__)
    parser.add_argument(
        "--tokens",
        type=whole_number(2 * MAP, 32768),
        default=32768,
        metavar="N",
        help="how many words to take (default: %(default)s)",
    )
    options = parser.parse_args()
    torch.manual_seed(0)
    document = read(options.tokens)
    vectors = embed(document)[document.ids]
    say(f"{len(document.words):,} words, {len(document.vocabulary):,} different ones.")
    before, begun = peak(), time.perf_counter()
    measures = qkv.Mass(), qkv.Entropy(), qkv.Distance(), qkv.Pool(MAP, MAP, "mean")
    found = look_back(vectors).measure(*measures)
    taken = time.perf_counter() - begun
    say(
        f"Mass, entropy, distance and a pooled map in one sweep: {taken:.1f} s. Peak memory of the "
        f"process {peak():,.0f} MiB, {peak() - before:,.0f} MiB of it since the sweep began; the "
        f"matrix alone would take {4 * len(document.words) ** 2 / 2**20:,.0f} MiB."
    )
    even = look_back(torch.ones(len(document.words), 1)).measure(*measures)
    show_keys("Keys that received most attention", document, found.mass, even.mass, found.mass)
    say(
        "The beginning is seen by all queries and by early ones almost alone: it wins even where "
        "every query spreads its attention evenly over all that it sees. So divide by that, in the "
        "first half of the document, whose words enough queries see:"
    )
    fair = (found.mass / even.mass)[: len(document.words) // 2]
    show_keys("Received most against even attention", document, found.mass, even.mass, fair)
    show_passages(document, found.pool / even.pool)
    say(
        f"A query has {float(found.entropy.exp().mean()):,.0f} keys in use (the exponential of its "
        f"entropy) and looks back over {float(found.distance.mean()):,.0f} words on average; even "
        f"attention: {float(even.entropy.exp().mean()):,.0f} and "
        f"{float(even.distance.mean()):,.0f}."
    )
    save_picture(draw(document, found, even), options.picture)
    say(f"Drawn: {options.picture}")


if __name__ == "__main__":
    main()
