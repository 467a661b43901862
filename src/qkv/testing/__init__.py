"""What tests and benchmarks share: the one comparator, requests and examples of every stage.

`qkv.testing.strategies` draws random requests and needs hypothesis.
"""

from .comparator import assert_close
from .examples import Sizes, examples
from .requests import Outcome, Request, assert_honoured, rounded

__all__ = ["Outcome", "Request", "Sizes", "assert_close", "assert_honoured", "examples", "rounded"]
