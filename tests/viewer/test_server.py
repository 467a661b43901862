"""What the server answers, to whom, and what it refuses."""

from __future__ import annotations

import asyncio
import json
import struct
import sys
from typing import NamedTuple

import pytest
import torch

pytest.importorskip("starlette")

from made import HOSTILE, capture_of

from qkv.viewer import levels
from qkv.viewer.answers import Answers
from qkv.viewer.guard import Guard
from qkv.viewer.kept import Overviews
from qkv.viewer.server import application, page_files
from qkv.viewer.subject import At, Source, Subject

TOKEN, HOST = "secret", "127.0.0.1:1234"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="module")
def subject() -> Subject:
    return Subject([Source("made", capture_of(20)), Source("other", capture_of(8, tokens=HOSTILE))])


@pytest.fixture(scope="module")
def get(subject):
    server = Guard(application(Answers(subject)), TOKEN, {HOST})

    def ask(path: str, query: str = "", method: str = "GET", hosts: tuple[str, ...] = (HOST,)):
        sent = []

        async def receive():
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message):
            sent.append(message)

        scope = {
            "type": "http", "method": method, "path": path, "raw_path": path.encode(),
            "query_string": query.encode(), "headers": [(b"host", one.encode()) for one in hosts],
            "root_path": "", "scheme": "http", "server": ("127.0.0.1", 1234), "http_version": "1.1",
        }  # fmt: skip
        asyncio.run(server(scope, receive, send))
        headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], headers, b"".join(m.get("body", b"") for m in sent[1:]))

    return ask


def numbers(body: bytes) -> tuple[int, torch.Tensor]:
    magic, every, rows, columns = struct.unpack_from("<4sIII", body)
    assert magic == b"QKV1"
    found = torch.frombuffer(bytearray(body[16:]), dtype=torch.float32)
    return every, found.view(rows, columns) if found.numel() == rows * columns else found


def test_the_page_and_its_files(get):
    page = get("/secret/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    for name, content in page_files().items():
        if name != "index.html":
            assert get(f"/secret/{name}").body == content
    assert get("/secret/main.js").headers["content-type"] == "text/javascript; charset=utf-8"


def test_every_answer_keeps_others_out(get):
    for path in ("/secret/", "/secret/about", "/secret/tile", "/wrong/", "/secret/none"):
        headers = get(path).headers
        assert headers["content-security-policy"].startswith(
            "default-src 'none'; script-src 'self'"
        )
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cache-control"] == "no-store"
        assert headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize(
    "hosts", [(), ("evil.example",), ("127.0.0.1",), ("127.0.0.1:80",), (HOST, HOST), ("é",)]
)
def test_other_hosts_are_refused(get, hosts):
    refused = get("/secret/about", hosts=hosts)
    assert (refused.status, refused.body) == (421, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/", "//", "/about", "/secret", "/Secret/about", "/secre/", "/secrets/", "/sécret/",
        "/secret/../about", "/secret//about", "/secret/index.html", "/secret/page.css/..",
        "/secret/../../etc/passwd", "/secret/%2e%2e/server.py", "/secret/answers.py",
        "/secret//etc/passwd",
    ],
)  # fmt: skip
def test_no_other_path_is_answered(get, path):
    assert get(path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
def test_nothing_but_get(get, method):
    assert get("/secret/about", method=method).status == 405


def test_long_queries_are_refused(get):
    assert get("/secret/tile", "level=0&" + "x" * 600).status == 414


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("level=-1", "level must be a whole number"),
        ("level=1e3", "level must be a whole number"),
        ("level=9999999999", "level must be a whole number"),
        ("level=%D9%A1", "level must be a whole number"),
        ("level=", "level must be a whole number"),
        ("how=min", "how must be one of max, mean"),
        ("file=/etc/passwd", "only source, layer"),
        ("level=0&level=1", "a name stands twice"),
    ],
)
def test_a_request_that_says_something_else_is_refused(get, query, said):
    refused = get("/secret/tile", query)
    assert refused.status == 400
    assert refused.body.decode().startswith(said)


@pytest.mark.parametrize(
    "query",
    [
        "source=2", "layer=2", "head=3", "entry=1", "level=99", "row=1", "column=999999999",
        "level=5&row=1",
    ],
)  # fmt: skip
def test_what_is_not_there_is_refused(get, query):
    assert get("/secret/tile", query).status == 404


WHOLE = "top=0&bottom=20&left=0&right=20"


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ("", 404, "queries must lie in 0 to 20; got 0 to 0"),
        ("top=0&bottom=21&left=0&right=1", 404, "queries must lie in 0 to 20; got 0 to 21"),
        ("top=0&bottom=1&left=5&right=5", 404, "keys must lie in 0 to 20; got 5 to 5"),
        (f"{WHOLE}&layer=9", 404, "layer must be one of 0 to 1; got 9"),
        (f"{WHOLE}&scale=0.0.9.0", 404, "layers.0 has 3 heads; got 9"),
        (f"{WHOLE}&scale=0.0.9", 400, "scale must be 4 whole numbers with points between them"),
        (f"{WHOLE}&scale=0.0.9.x", 400, "scale must be 4 whole numbers"),
        (f"{WHOLE}&kind=exe", 400, "kind must be one of svg, png, pdf"),
        (f"{WHOLE}&path=/etc/passwd", 400, "only source, layer, head"),
    ],
)
def test_no_figure_of_what_is_not_there(get, query, status, said):
    refused = get("/secret/figure", query)
    assert refused.status == status
    assert refused.body.decode().startswith(said)


@pytest.mark.parametrize(
    ("kind", "named", "begins"),
    [
        ("svg", "image/svg+xml", b"<?xml"),
        ("png", "image/png", b"\x89PNG"),
        ("pdf", "application/pdf", b"%PDF"),
    ],
)
def test_a_figure_is_named_as_what_it_is(get, kind, named, begins):
    answer = get("/secret/figure", f"{WHOLE}&kind={kind}")
    assert answer.status == 200
    assert answer.headers["content-type"].partition(";")[0] == named
    assert answer.body.startswith(begins)


def test_what_is_not_installed_is_told(get, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in [*sys.modules]:
        if name.startswith("qkv.pictures."):
            monkeypatch.delitem(sys.modules, name)
    answer = get("/secret/figure", WHOLE)
    assert answer.status == 501
    assert "matplotlib" in answer.body.decode()


def test_numbers_are_those_of_the_matrix(get, subject):
    matrix = subject.matrix(At(0, 1, 2, 0))
    of = "layer=1&head=2"
    torch.testing.assert_close(numbers(get("/secret/tile", of).body), (1, matrix.dense()))
    pooled = matrix.pool(16, 16, "mean")
    torch.testing.assert_close(
        numbers(get("/secret/tile", f"{of}&level=1&how=mean").body), (1, pooled)
    )
    edges = torch.cat((matrix.entropy(), matrix.mass()))
    torch.testing.assert_close(numbers(get("/secret/edges", of).body), (1, edges))
    _, small = numbers(get("/secret/small", "layer=1").body)
    torch.testing.assert_close(small.view(3, 20, 20)[2], matrix.dense())


def test_about_and_labels(get):
    about = json.loads(get("/secret/about").body)
    assert [source["title"] for source in about["sources"]] == ["made", "other"]
    assert about["sources"][0]["layers"][1]["name"] == "layers.1"
    labels = json.loads(get("/secret/labels", "source=1").body)
    assert (labels["queries"], labels["keys"]) == (HOSTILE, HOSTILE)


def test_an_exact_overview_takes_the_place_of_a_sampled_one(monkeypatch):
    monkeypatch.setattr(levels, "LARGEST", 8)
    subject = Subject([Source("made", capture_of(64))])
    kept, at = Overviews(subject), At(0, 0, 1, 0)
    assert kept.any(at).every == 8
    exact = kept.exact(at)
    assert not exact.is_sampled
    assert kept.any(at) is kept.exact(at) is exact
    torch.testing.assert_close(exact.mass, subject.matrix(at).mass())


def test_the_overviews_used_last_are_kept(subject):
    kept = Overviews(subject, most_bytes=2 * Overviews(subject).any(At(0, 0, 0, 0)).bytes)
    first, second, third = (At(0, 0, head, 0) for head in range(3))
    found = {at: kept.any(at) for at in (first, second)}
    assert kept.any(first) is found[first]
    kept.any(third)
    assert kept.any(first) is found[first]
    assert kept.any(second) is not found[second]
