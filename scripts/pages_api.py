"""The pages of the API: every public name with its signature and its docstring.

What stands there is taken from the source by mkdocstrings as the site is built; here is only which
name is on which page. A public name that no other page has is on the first.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import guide

import qkv
import qkv.models
import qkv.nn
import qkv.pictures
from qkv.capture.call import Answer, Call, Missed
from qkv.capture.capture import Capture
from qkv.capture.groups import GroupedMap
from qkv.capture.heads import Head, Heads, Link
from qkv.integrations.transformers import register
from qkv.tasks.classification.images.classifier import ClassifiedImage, ImageLabeller
from qkv.tasks.classification.text.classifier import ClassifiedText, TextLabeller
from qkv.tasks.translation.translation import Translation

FIRST = "attention"
ABOUT = {
    FIRST: ("Attention", "The front door, and what belongs to no other page."),
    "matrix": ("The matrix", "What `qkv.attention` makes, and what it answers with."),
    "layers": ("Layers", "`qkv.nn`, told of at more length on [its page](../layers.md)."),
    "captures": ("Captures", "[Where the models of others look](../capture.md)."),
    "models": (
        "Models",
        "[Translators](../translator.md), [classifiers](../classifiers.md) and what they answer.",
    ),
    "pictures": ("Pictures", "`qkv.pictures`: weights with their labels, as files and as HTML."),
    "transformers": (
        "transformers",
        "`qkv.integrations.transformers`; see [its page](../transformers.md).",
    ),
}


def names_of(module: Any) -> dict[str, Any]:
    """The public names of a module that are classes or functions, with what they are."""
    found = {name: getattr(module, name) for name in sorted(module.__all__, key=str.lower)}
    return {f"{module.__name__}.{name}": thing for name, thing in found.items() if callable(thing)}


def contents() -> dict[str, dict[str, Any]]:
    """What is on each page: names as users write them, and what they are."""
    public = names_of(qkv)
    stages = {f"qkv.{spec.title}" for spec in guide.specs()}

    def taken(*names: str) -> dict[str, Any]:
        return {f"qkv.{name}": public.pop(f"qkv.{name}") for name in names}

    def others(*classes: type) -> dict[str, Any]:
        return {one.__name__: one for one in classes}

    pages = {
        "matrix": taken("AttentionMatrix", "Explanation", "Links", "Plan", "PreparedKey"),
        "layers": names_of(qkv.nn),
        "captures": taken("observe", "load_capture", "heads", "show")
        | others(Capture, Call, Missed, Answer, GroupedMap, Heads, Head, Link),
        "models": taken("load", "Translator")
        | others(Translation, TextLabeller, ClassifiedText, ImageLabeller, ClassifiedImage)
        | names_of(qkv.models),
        "pictures": names_of(qkv.pictures),
        "transformers": {
            f"qkv.integrations.transformers.{one.__name__}": one for one in (register,)
        },
    }
    return {FIRST: {name: thing for name, thing in public.items() if name not in stages}} | pages


def pages_of_api() -> dict[str, str | Path]:
    """The pages by their place, and the index in front of them."""
    listed = [f"* [{title}]({page}.md): {about}" for page, (title, about) in ABOUT.items()]
    stages = [
        f"* {kind.folder.capitalize()}: "
        + ", ".join(f"[{s.title}](../guide/{s.page})" for s in guide.specs() if s.kind is kind)
        for kind in guide.KINDS
    ]
    index = [
        "# The API",
        "Every public name, from the source.",
        "\n".join(listed),
        "Stages and measures have pages of their own in [the guide](../guide/index.md):",
        "\n".join(stages),
    ]
    pages: dict[str, str | Path] = {"api/index.md": "\n\n".join(index) + "\n"}
    for page, names in contents().items():
        title, about = ABOUT[page]
        entries = [_entry(*entry) for entry in names.items()]
        pages[f"api/{page}.md"] = "\n\n".join([f"# {title}", about, *entries]) + "\n"
    return pages


def _entry(name: str, thing: Any) -> str:
    where = inspect.unwrap(thing)
    lines = [f"::: {where.__module__}.{where.__qualname__}"]
    lines += ["    options:", f"      heading: {name}", f"      toc_label: {name}"]
    return "\n".join(lines)
