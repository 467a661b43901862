"""Answering many texts side by side."""

from __future__ import annotations

import threading

import pytest
import torch

from qkv.cli.streaming import streamed


@pytest.fixture
def two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)


def test_parts_grow_and_answers_keep_their_order(two_threads):
    sizes = []

    def work(texts):
        sizes.append(len(texts))
        return [text.upper() for text in texts]

    texts = [f"text {n}" for n in range(300)]
    assert [*streamed(work, [texts], 100)] == [text.upper() for text in texts]
    assert sorted(sizes) == sorted([1, 8, 32, 100, 100, 59])


def test_a_few_texts_are_shared_by_the_threads(two_threads):
    sizes = []
    assert [
        *streamed(lambda texts: sizes.append(len(texts)) or texts, ["abcde"], 100, growing=False)
    ] == [*"abcde"]
    assert sorted(sizes) == [2, 3]


def test_parts_are_worked_on_at_the_same_time_with_one_thread_of_torch_each(two_threads):
    together = threading.Barrier(2, timeout=30)

    def work(texts):
        together.wait()  # fails unless another part is worked on too
        return [torch.get_num_threads()]

    assert [*streamed(work, ["ab", "cd"], 1, growing=False)] == [1, 1, 1, 1]


def test_nothing_is_begun_beside_the_first_part(two_threads):
    begun = []
    found = streamed(lambda texts: begun.append(texts) or texts, ["abcdefghij"], 100)
    assert next(found) == "a"
    assert begun == ["a"]
    assert [*found] == [*"bcdefghij"]


def test_threads_may_be_said(two_threads):
    together = threading.Barrier(3, timeout=30)

    def work(texts):
        together.wait()
        return texts

    assert [*streamed(work, ["abc"], 1, growing=False, threads=3)] == [*"abc"]


def test_a_group_is_answered_before_the_next_is_asked_for(two_threads):
    answered = []

    def groups():
        yield "abc"
        assert answered == [*"abc"]
        yield "d"

    for answer in streamed(list, groups(), 2, growing=False):
        answered.append(answer)
    assert answered == [*"abcd"]


def test_what_fails_is_told_after_what_stands_before_it(two_threads):
    def work(texts):
        if "c" in texts:
            raise ValueError("c")
        return texts

    found = streamed(work, ["abcdef"], 1, growing=False)
    assert [next(found), next(found)] == ["a", "b"]
    with pytest.raises(ValueError, match="c"):
        next(found)
