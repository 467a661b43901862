"""The files of the page, and all of them as one."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from collections.abc import Mapping
from importlib.resources import files

_IMPORT = re.compile(r'^import \{ ([^}]*) \} from "\./([\w-]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(
    r"^export (?:async )?(?:function|class) (\w+)|^export const (.*)", re.MULTILINE
)
_CONSTANT = re.compile(r"(\w+) = [^,;]+[,;]")
_STYLE = re.compile(r'<link rel="stylesheet" href="([\w-]+\.css)">')
_SCRIPT = re.compile(r'<script type="module" src="([\w-]+\.js)"></script>')


def page_files() -> dict[str, bytes]:
    """The files by their names."""
    folder = files("qkv.viewer").joinpath("page")
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}


def whole_page(behind: str = "", **data: str) -> str:
    """The page in one file, which asks for no other. Its policy allows its own scripts and styles
    alone.

    Args:
        behind: what stands behind the scripts, as HTML.
        data: attributes `data-*` of the page.
    """
    texts = {name: content.decode() for name, content in page_files().items()}
    page = texts["index.html"]
    hashes: dict[str, list[str]] = {"script": [], "style": []}

    def put(tag: str, opening: str, text: str) -> str:
        hashes[tag].append(f"'sha256-{_hashed(text)}'")
        return f"<{opening}>{_inside(tag, text)}</{tag}>"

    page = _STYLE.sub(lambda found: put("style", "style", texts[found[1]]), page)
    script = 'script type="module"'
    page = _SCRIPT.sub(lambda found: put("script", script, joined(texts, found[1])), page)
    attributes = "".join(f' data-{name}="{html.escape(value)}"' for name, value in data.items())
    policy = "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(hashes['script'])}",
            f"style-src {' '.join(hashes['style'])}",
            "img-src data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    page = page.replace('<html lang="en">', f'<html lang="en"{attributes}>', 1)
    return page.replace('<meta charset="utf-8">', f'<meta charset="utf-8">\n{meta}', 1) + behind


def joined(texts: Mapping[str, str], first: str) -> str:
    """A module and all that it imports as one script: each in a function of its own, behind those
    that it imports, whose exports it takes by name.

    Raises:
        ValueError: modules import each other in a circle, or one imports or exports in a form that
            is not known here.
    """
    done: dict[str, str] = {}
    under: list[str] = []

    def add(name: str) -> None:
        if name in done:
            return
        if name in under:
            raise ValueError(f"{name} imports itself, through {', '.join(under)}")
        under.append(name)
        for _, other in _IMPORT.findall(texts[name]):
            add(other)
        under.remove(name)
        done[name] = _wrapped(name, texts[name])

    add(first)
    return "const modules = {};\n" + "".join(done.values())


def _wrapped(name: str, text: str) -> str:
    """A module as a function that gives its exports."""
    exports = [
        one
        for function, constants in _EXPORT.findall(text)
        for one in ([function] if function else _CONSTANT.findall(constants))
    ]
    body = _IMPORT.sub(
        lambda found: f'const {{ {found[1].replace(" as ", ": ")} }} = modules["{found[2]}"];\n',
        text,
    )
    body = re.sub(r"^export (?=(?:async )?(?:function|class|const) )", "", body, flags=re.MULTILINE)
    if re.search(r"^\s*(?:import|export)\b", body, re.MULTILINE):
        raise ValueError(f"{name} imports or exports in a form that cannot be joined")
    return f'modules["{name}"] = (() => {{\n{body}return {{ {", ".join(exports)} }};\n}})();\n'


def _inside(tag: str, text: str) -> str:
    if f"</{tag}" in text.lower():
        raise ValueError(f"a {tag} of the page has the end of one in it")
    return text


def _hashed(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
