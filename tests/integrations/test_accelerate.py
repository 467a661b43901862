"""`qkv.accelerate()`: models compute what they compute without it, and qkv computes it."""

from __future__ import annotations

import sys
import threading
import types
from collections.abc import Callable
from itertools import permutations, product
from math import inf

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention as by_its_own_name
from torch.utils.checkpoint import checkpoint

import qkv
from qkv.integrations import accelerate as source
from qkv.testing import assert_close

WIDTH, HEADS, LENGTH = 32, 4, 24
ORIGINAL = (F.scaled_dot_product_attention,)  # not by a name that would be replaced too


@pytest.fixture(autouse=True)
def any_size(monkeypatch) -> None:
    """Calls are taken whatever their size."""
    monkeypatch.setattr(source, "_PLAIN", 0)
    monkeypatch.setattr(source, "_ANY", 0)


def vectors(**how) -> list[Tensor]:
    torch.manual_seed(0)
    return [torch.randn(2, HEADS, LENGTH, 8, **how) for _ in range(3)]


def compared(run: Callable[[], list[Tensor]], taken: int) -> source.Acceleration:
    """Runs something with and without, compares all that comes out, and counts the calls."""
    theirs = run()
    with qkv.accelerate() as calls:
        ours = run()
    for mine, wanted in zip(ours, theirs, strict=True):
        assert_close(mine, wanted.double(), rounding=1e-6 + 1e-4 * wanted.abs().amax().item())
    assert calls.taken == taken, calls
    return calls


def trained(model: nn.Module, *args, **options) -> Callable[[], list[Tensor]]:
    """The output and the gradients of a model."""

    def run() -> list[Tensor]:
        model.zero_grad()
        output = model(*args, **options)
        output = output[0] if not isinstance(output, Tensor) else output
        (output.float() * torch.linspace(-1, 1, output.numel()).view_as(output)).sum().backward()
        gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        return [output.detach(), *gradients.values()]

    return run


MASKS = {
    "plain": {},
    "causal": {"is_causal": True},
    "bool": {"attn_mask": torch.rand(LENGTH, LENGTH) > 0.3},
    "floating": {"attn_mask": torch.zeros(1, LENGTH).masked_fill(torch.arange(LENGTH) > 19, -inf)},
    "scale": {"scale": 0.2},
}


@pytest.mark.parametrize("options", MASKS.values(), ids=MASKS)
def test_calls_under_any_name_go_through_qkv(options) -> None:
    def run() -> list[Tensor]:
        return [one(*vectors(), **options) for one in (by_its_own_name, functional)]

    def functional(*args, **options):
        return F.scaled_dot_product_attention(*args, **options)

    compared(run, taken=2)


def encoder(**how) -> nn.TransformerEncoder:
    torch.manual_seed(1)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 48, dropout=0.0, batch_first=True, **how)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=not how.get("norm_first", False))


PADDING = torch.arange(LENGTH) >= torch.tensor([[LENGTH], [17]])
SQUARE = nn.Transformer.generate_square_subsequent_mask(LENGTH)


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_the_encoder_of_torch_learns(norm_first, causal) -> None:
    x = torch.randn(2, LENGTH, WIDTH)
    mask = {"mask": SQUARE, "is_causal": True} if causal else {"src_key_padding_mask": PADDING}
    compared(trained(encoder(norm_first=norm_first).train(), x, **mask), taken=2)


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
@pytest.mark.parametrize("padded", [False, True])
def test_the_encoder_of_torch_leaves_its_fast_path_where_nothing_is_padded(padded) -> None:
    """With padding it goes on with nested tensors, which leave that out."""
    model, x = encoder().eval(), torch.randn(2, LENGTH, WIDTH)
    mask = {"src_key_padding_mask": PADDING} if padded else {}

    def run() -> list[Tensor]:
        with torch.no_grad():
            return [model(x, **mask)]

    compared(run, taken=0 if padded else 2)


def test_the_attention_layer_of_torch() -> None:
    torch.manual_seed(2)
    layer, x = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True), torch.randn(2, 9, WIDTH)
    compared(trained(layer, x, x, x, need_weights=False), taken=1)
    calls = compared(trained(layer.eval(), x, x, x), taken=0)  # weights are asked for
    assert not calls.left


@pytest.mark.parametrize("kind", ["bert", "llama", "t5"])
def test_models_of_transformers_learn(kind) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(3)
    shared = {"vocab_size": 50, "attn_implementation": "sdpa"}
    sizes = {"hidden_size": WIDTH, "intermediate_size": 48, "num_hidden_layers": 2}
    sizes |= {"num_attention_heads": HEADS} | shared
    tokens = torch.randint(3, 50, (2, LENGTH))
    real = {"attention_mask": (~PADDING).long()}
    if kind == "bert":
        config = transformers.BertConfig(
            **sizes, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
        )
        model, taken = transformers.BertModel(config, add_pooling_layer=False), 2
    elif kind == "llama":
        config = transformers.LlamaConfig(**sizes, num_key_value_heads=2)
        model, taken = transformers.LlamaModel(config), 2
    else:
        config = transformers.T5Config(
            **shared, d_model=WIDTH, d_kv=8, d_ff=48, num_layers=1, num_heads=HEADS, dropout_rate=0
        )
        model, taken = transformers.T5Model(config), 3
        real |= {"decoder_input_ids": tokens}
    compared(trained(model.train(), tokens, **real), taken=taken)


def test_generation_writes_the_same() -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(4)
    config = transformers.LlamaConfig(
        hidden_size=WIDTH,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=HEADS,
        num_key_value_heads=2,
        vocab_size=50,
        attn_implementation="sdpa",
        eos_token_id=None,
        pad_token_id=0,
    )
    model, tokens = transformers.LlamaForCausalLM(config).eval(), torch.randint(3, 50, (2, 7))
    theirs = model.generate(tokens, max_new_tokens=6, do_sample=False)
    with qkv.accelerate() as calls:
        ours = model.generate(tokens, max_new_tokens=6, do_sample=False)
    assert torch.equal(ours, theirs)
    assert calls.taken == 2 * 6


def test_checkpoints_recompute_within() -> None:
    given = vectors(requires_grad=True)

    def run() -> list[Tensor]:
        output = checkpoint(F.scaled_dot_product_attention, *given, use_reentrant=False)
        return [output.detach(), *torch.autograd.grad(output.square().sum(), given)]

    compared(run, taken=1)  # the second call ends once it has what the backward pass asks for


def test_autocast() -> None:
    def run() -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            output = F.scaled_dot_product_attention(*vectors())
        assert output.dtype is torch.bfloat16
        return [output]

    theirs = run()
    with qkv.accelerate() as calls:
        (ours,) = run()
    assert calls.taken == 1
    assert_close(ours, F.scaled_dot_product_attention(*vectors(dtype=torch.float64)), theirs[0])


def test_it_holds_for_one_thread_and_until_its_end() -> None:
    def answers(found: list[str]) -> None:
        with qkv.accelerate() as own:
            F.scaled_dot_product_attention(*vectors())
        found.append(f"{own.taken}")

    def without() -> None:
        F.scaled_dot_product_attention(*vectors())

    found: list[str] = []
    with qkv.accelerate() as calls:
        for target, args in ((without, ()), (answers, (found,))):
            thread = threading.Thread(target=target, args=args)
            thread.start()
            thread.join()
        assert calls.taken == 0
    assert found == ["1"]
    with pytest.raises(ZeroDivisionError), qkv.accelerate() as calls:
        _ = 1 / 0
    F.scaled_dot_product_attention(*vectors())
    assert calls.taken == 0


def test_another_thread_may_end_it() -> None:
    """As where a generator goes on in a pool of threads."""

    def ended_elsewhere(context: source.Acceleration) -> None:
        thread = threading.Thread(target=context.__exit__, args=(None, None, None))
        thread.start()
        thread.join()

    def without() -> None:
        F.scaled_dot_product_attention(*vectors())

    first, second = qkv.accelerate(), qkv.accelerate()
    with first:
        second.__enter__()
        without()
        ended_elsewhere(second)
        without()
    assert (first.taken, second.taken) == (1, 1)
    with first:  # so that the function is replaced, though here nobody is in a context
        ended_elsewhere(first)
        thread = threading.Thread(target=first.__enter__)
        thread.start()
        thread.join()
        without()
    assert first.taken == 1
    assert F.scaled_dot_product_attention is ORIGINAL[0]


def test_what_ends_must_have_begun() -> None:
    with pytest.raises(RuntimeError, match="accelerate: a context must be entered"):
        qkv.accelerate().__exit__(None, None, None)
    with qkv.accelerate() as calls:
        F.scaled_dot_product_attention(*vectors())
    assert calls.taken == 1


REFUSED = {
    "too wide": lambda: [torch.randn(1, 2, 5, 300) for _ in range(3)],
    "mixed types": lambda: [*vectors()[:2], vectors()[2].bfloat16()],
    "fewer values than keys": lambda: [*vectors()[:2], vectors()[2][:, :, :3]],
}


@pytest.mark.parametrize("kind", REFUSED)
def test_the_random_numbers_of_a_call_that_is_left_are_torchs(kind) -> None:
    given = REFUSED[kind]()

    def drawn() -> list[object]:
        torch.manual_seed(3)
        try:
            found: list[object] = F.scaled_dot_product_attention(*given, dropout_p=0.5).tolist()
        except RuntimeError as error:
            found = [str(error)]
        return [found, torch.rand(()).item()]

    theirs = drawn()
    with qkv.accelerate() as calls:
        assert drawn() == theirs
    assert calls.taken == 0
    assert sum(calls.left.values()) == 1


def test_mistakes_are_told_by_torch() -> None:
    query, key, value = vectors()
    for given in ((query, key[0, 0, 0], value), (query[0, 0, 0, 0], key, value)):
        with qkv.accelerate(), pytest.raises(RuntimeError, match="at least 2 dimensional"):
            F.scaled_dot_product_attention(*given)
    with qkv.accelerate(), pytest.raises(TypeError, match="must be bool, not float"):
        F.scaled_dot_product_attention(query, key, value, None, 0.0, 0.125)  # type: ignore


def test_qkvs_own_calls_of_torchs_kernels_stay_torchs() -> None:
    """A named implementation is honoured."""
    query, key, value = vectors(requires_grad=True)
    theirs = qkv.attend(query, key, value, mask=qkv.Causal(), impl="torch")
    with qkv.accelerate() as calls:
        ours = qkv.attend(query, key, value, mask=qkv.Causal(), impl="torch")
    assert torch.equal(ours, theirs)
    assert (calls.taken, sum(calls.left.values())) == (0, 0)


def test_all_names_are_put_back() -> None:
    def names() -> tuple[object, ...]:
        functions = by_its_own_name, F.scaled_dot_product_attention
        return *functions, torch.backends.mha.get_fastpath_enabled, nn.MultiheadAttention.forward

    before = names()
    with qkv.accelerate():
        within = names()
    assert within[0] is within[1]
    assert all(one is not other for one, other in zip(within, before, strict=True))
    assert names() == before


def names() -> tuple[object, ...]:
    """What stands at all names that either context replaces."""
    functions = by_its_own_name, F.scaled_dot_product_attention, F.softmax, torch.softmax
    layers = nn.MultiheadAttention.forward, nn.TransformerEncoderLayer.forward
    return *functions, *layers, torch.backends.mha.get_fastpath_enabled


KINDS = {
    "accelerate": qkv.accelerate,
    "observe": lambda: qkv.observe(nn.MultiheadAttention(WIDTH, HEADS)),
}


@pytest.mark.parametrize("kinds", list(product(KINDS, repeat=3)), ids="-".join)
@pytest.mark.parametrize("ends", list(permutations(range(3))), ids=str)
def test_contexts_may_end_in_any_order(kinds, ends) -> None:
    before = names()
    contexts = [KINDS[kind]() for kind in kinds]
    for context in contexts:
        context.__enter__()
    for end in ends:
        contexts[end].__exit__(None, None, None)
    assert names() == before
    assert all(one is other for one, other in zip(names(), before, strict=True))


@pytest.mark.parametrize("first", KINDS)
def test_what_goes_on_is_as_if_the_other_had_never_been(first) -> None:
    model, x = encoder().train(), torch.randn(2, LENGTH, WIDTH)
    before, acceleration, watch = names(), qkv.accelerate(), qkv.observe(model)
    one, other = (acceleration, watch) if first == "accelerate" else (watch, acceleration)
    one.__enter__()
    alone = unwrapped(names()[1])
    other.__enter__()
    assert unwrapped(names()[1]) == unwrapped(before[1]) + 2
    one.__exit__(None, None, None)
    assert names()[0] is names()[1]
    assert unwrapped(names()[1]) == alone
    model(x)
    assert acceleration.taken == (2 if other is acceleration else 0)
    other.__exit__(None, None, None)
    assert names() == before


def unwrapped(function) -> int:
    """How many wrappers are around a function."""
    count = 0
    while hasattr(function, "__wrapped__"):
        function, count = function.__wrapped__, count + 1
    return count


def test_a_module_that_is_loaded_in_between_is_put_back_too(monkeypatch) -> None:
    within = types.ModuleType("loaded_within")
    acceleration, watch = qkv.accelerate(), qkv.observe(nn.MultiheadAttention(WIDTH, HEADS))
    acceleration.__enter__()
    within.first = F.scaled_dot_product_attention  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "loaded_within", within)
    watch.__enter__()
    within.second = F.scaled_dot_product_attention  # type: ignore[attr-defined]
    assert within.first is within.second
    acceleration.__exit__(None, None, None)
    assert within.first is within.second is F.scaled_dot_product_attention
    watch.__exit__(None, None, None)
    assert within.first is within.second is ORIGINAL[0]


def test_what_a_user_puts_in_between_stays(monkeypatch) -> None:
    acceleration, watch = qkv.accelerate(), qkv.observe(nn.MultiheadAttention(WIDTH, HEADS))
    monkeypatch.setattr(F, "scaled_dot_product_attention", ORIGINAL[0])  # put back at the end
    acceleration.__enter__()
    accelerated = F.scaled_dot_product_attention

    def users(*args, **options):
        return accelerated(*args, **options)

    F.scaled_dot_product_attention = users
    watch.__enter__()
    acceleration.__exit__(None, None, None)
    watch.__exit__(None, None, None)
    assert F.scaled_dot_product_attention is users
    assert by_its_own_name is ORIGINAL[0]
    F.scaled_dot_product_attention(*vectors())
    assert acceleration.taken == 0


def test_threads_that_cross_leave_nothing_behind() -> None:
    before, together = names(), threading.Barrier(4)

    def work(kind: str) -> None:
        together.wait()
        for _ in range(20):
            with KINDS[kind]():
                F.scaled_dot_product_attention(*vectors())

    threads = [threading.Thread(target=work, args=(kind,)) for kind in [*KINDS] * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert names() == before


def test_contexts_of_one_kind_that_end_in_their_order_count_their_own() -> None:
    one, other = qkv.accelerate(), qkv.accelerate()
    one.__enter__()
    other.__enter__()
    one.__exit__(None, None, None)
    F.scaled_dot_product_attention(*vectors())
    other.__exit__(None, None, None)
    assert (one.taken, other.taken) == (0, 1)


def test_nested_contexts() -> None:
    with qkv.accelerate() as outer:
        with qkv.accelerate() as inner:
            F.scaled_dot_product_attention(*vectors())
        F.scaled_dot_product_attention(*vectors())
    assert (outer.taken, inner.taken) == (1, 1)
    assert not outer.left + inner.left


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors")
def test_what_qkv_does_not_take_is_left_to_torch_with_the_reason(monkeypatch) -> None:
    query, key, value = vectors()
    nested = torch.nested.nested_tensor([torch.randn(HEADS, n, 8) for n in (3, 5)])
    with qkv.accelerate() as calls:
        output = F.scaled_dot_product_attention(nested, nested, nested)
        assert output.is_nested
        batched = torch.func.vmap(F.scaled_dot_product_attention)(query, key, value)
        assert_close(batched, F.scaled_dot_product_attention(query, key, value).double())
        with pytest.raises(RuntimeError, match="same dtype"):
            F.scaled_dot_product_attention(query, key.double(), value)
        monkeypatch.setattr(source, "_PLAIN", 2**20)
        F.scaled_dot_product_attention(query, key, value)
    assert calls.taken == 1  # that to compare with
    text = str(calls)
    for reason in ("a nested tensor", "transforms may ask", "share dtype", "too small to gain"):
        assert reason in text


def test_with_observe_each_call_is_recorded_once() -> None:
    model, x = encoder().train(), torch.randn(2, LENGTH, WIDTH)
    with qkv.accelerate() as calls, qkv.observe(model) as capture:
        model(x)
    assert calls.taken == 2
    assert len(capture.calls) == 2
    assert not capture.missed


@pytest.mark.parametrize("masked", [False, True])
def test_compiled_models(masked) -> None:
    """Compiled anew within and without; plain calls are qkv's operator, others torch's."""
    torch._dynamo.reset()
    graphs: list[str] = []

    def backend(graph, inputs):
        graphs.append(graph.code)
        return graph

    mask = MASKS["bool"]["attn_mask"] if masked else None
    program = torch.compile(
        lambda *given: F.scaled_dot_product_attention(*given, attn_mask=mask) + 1.0,
        fullgraph=True,
        backend=backend,
    )
    theirs = program(*vectors())
    with qkv.accelerate():
        ours = program(*vectors())
    assert torch.equal(program(*vectors()), theirs)
    assert_close(ours, theirs.double())
    assert ["qkv.attend" in graph for graph in graphs] == [False, not masked]


def test_a_compiled_model_learns() -> None:
    torch._dynamo.reset()
    model, x = encoder(norm_first=True).train(), torch.randn(2, LENGTH, WIDTH)
    theirs = trained(model, x)()
    program = torch.compile(model, backend="aot_eager")
    with qkv.accelerate():
        ours = trained(program, x)()
    for mine, wanted in zip(ours, theirs, strict=True):
        assert_close(mine, wanted.double(), rounding=1e-4 * wanted.abs().amax().item())
