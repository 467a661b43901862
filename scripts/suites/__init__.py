"""The test suites of others that apply to qkv: a module each, with `NAME`, the `PACKAGES` that it
needs, the first of which gives the answers, who wrote the cases (`ASKED_BY`), and `cases()`. The
page has the docstring.
"""

from . import entmax_tests, entmax_values, flex_mods, keras_layers, onnx_nodes, torch_samples
from .case import FAILED, PASSED, REFUSED, Case, Outcome, RefusedError, outcome

__all__ = ["FAILED", "PASSED", "REFUSED", "SUITES", "Case", "Outcome", "RefusedError", "outcome"]

SUITES = (torch_samples, flex_mods, onnx_nodes, entmax_tests, entmax_values, keras_layers)
