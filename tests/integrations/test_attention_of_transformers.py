"""transformers with attention by qkv: what `eager` computes, lazily."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor

import qkv

transformers = pytest.importorskip("transformers")
from qkv.integrations.transformers import LazyMask, register  # noqa: E402
from qkv.integrations.transformers.function import attend  # noqa: E402

register()

SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
DECODER = {
    **SPECIAL,
    "vocab_size": 99,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
}
OF_DECODERS = ("head_dim", "num_key_value_heads", *SPECIAL)
ENCODER = {name: size for name, size in DECODER.items() if name not in OF_DECODERS}
SLIDING = {"sliding_window": 8}
T5 = {"vocab_size": 99, "d_model": 64, "d_kv": 16, "d_ff": 96, "num_layers": 2, "num_heads": 4}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "Llama": ("LlamaForCausalLM", DECODER),
    "Mistral": ("MistralForCausalLM", {**DECODER, **SLIDING}),
    "Gemma2": ("Gemma2ForCausalLM", {**DECODER, **SLIDING}),
    "GptOss": ("GptOssForCausalLM", {**DECODER, **SLIDING, "num_local_experts": 4}),
    "Bert": ("BertModel", ENCODER),
    "ModernBert": (
        "ModernBertModel",
        {**ENCODER, "local_attention": 8, "global_attn_every_n_layers": 2, **SPECIAL},
    ),
    "T5": ("T5ForConditionalGeneration", {**T5, **SPECIAL, "decoder_start_token_id": 0}),
}
GENERATE = ("Llama", "Mistral", "Gemma2", "GptOss", "T5")
IDS = torch.randint(5, 90, (2, 16), generator=torch.Generator().manual_seed(0))
LEFT, RIGHT = torch.ones(2, 16).long(), torch.ones(2, 16).long()
LEFT[1, :5] = 0
RIGHT[1, -5:] = 0


def model(name: str, implementation: str, **changed: Any) -> Any:
    """A tiny model; the same weights whatever computes attention."""
    kind, sizes = MODELS[name]
    config = getattr(transformers, f"{name}Config")(**{**sizes, **changed})
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = getattr(transformers, kind)._from_config(config, attn_implementation=implementation)
        for parameter in made.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=parameter.shape[-1] ** -0.5)
    return made.eval()


def called(name: str, mask: Tensor | None = None) -> dict[str, Tensor]:
    """What a model is called with."""
    given = {"input_ids": IDS} if mask is None else {"input_ids": IDS, "attention_mask": mask}
    return {**given, "decoder_input_ids": IDS[:, :7]} if name == "T5" else given


def real(mask: Tensor | None, output: Tensor) -> Tensor:
    """The places of the output that are not padding."""
    return output if mask is None or output.shape[1] != 16 else output[mask.bool()]


@pytest.mark.parametrize("mask", [None, LEFT, RIGHT], ids=["unpadded", "left", "right"])
@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_logits_and_weights_are_those_of_eager(name, mask) -> None:
    given = called(name, mask)
    wanted = model(name, "eager")(**given, output_attentions=True)
    found = model(name, "qkv")(**given, output_attentions=True)
    torch.testing.assert_close(real(mask, found[0]), real(mask, wanted[0]), rtol=1e-5, atol=1e-5)
    for kind in ("attentions", "encoder_attentions", "decoder_attentions", "cross_attentions"):
        assert len(found.get(kind) or ()) == len(wanted.get(kind) or ())
        for lazy, weights in zip(found.get(kind) or (), wanted.get(kind) or (), strict=True):
            assert isinstance(lazy, qkv.AttentionMatrix)
            dense = lazy.dense()
            seen = dense.sum(-1) > 0  # a place of padding that sees nothing is a mean in eager
            if mask is None:
                assert seen.all()
            torch.testing.assert_close(dense[seen], weights[seen], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_masks_arrive_as_descriptions(name, monkeypatch) -> None:
    arrived = []

    def watched(module, query, key, value, attention_mask, **said):
        arrived.append(attention_mask)
        return attend(module, query, key, value, attention_mask, **said)

    monkeypatch.setitem(transformers.AttentionInterface._global_mapping, "qkv", watched)
    model(name, "qkv")(**called(name, LEFT))
    assert len(arrived) == (6 if name == "T5" else 2)
    assert all(isinstance(mask, LazyMask) for mask in arrived)


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("name", GENERATE)
def test_generation_writes_what_eager_writes_and_shows_where_it_looked(name, cache) -> None:
    told = {
        "input_ids": IDS,
        "attention_mask": LEFT,
        "max_new_tokens": 12,
        "do_sample": False,
        "output_attentions": True,
        "return_dict_in_generate": True,
        "cache_implementation": cache,
    }
    wanted, found = (model(name, kind).generate(**told) for kind in ("eager", "qkv"))
    assert torch.equal(found.sequences, wanted.sequences)
    kinds = ("decoder_attentions", "cross_attentions") if name == "T5" else ("attentions",)
    for kind in kinds:
        for lazy, weights in zip(found[kind], wanted[kind], strict=True):
            for one, own in zip(lazy, weights, strict=True):
                dense = one.dense()
                seen = dense.sum(-1) > 0
                torch.testing.assert_close(dense[seen], own[seen], rtol=1e-5, atol=1e-5)


def test_weights_of_a_static_cache_where_the_model_keeps_the_wish_to_itself() -> None:
    config = transformers.GPT2Config(vocab_size=99, n_embd=64, n_layer=2, n_head=4)
    gpt2: Any = transformers.GPT2LMHeadModel(config).eval()
    told = {"max_new_tokens": 3, "do_sample": False, "pad_token_id": 0, "output_attentions": True}
    told |= {"return_dict_in_generate": True, "cache_implementation": "static"}
    found = []
    for kind in ("eager", "qkv"):
        gpt2.set_attn_implementation(kind)
        found.append(gpt2.generate(IDS, **told).attentions)
    for wanted, lazy in zip(*found, strict=True):
        for own, one in zip(wanted, lazy, strict=True):
            torch.testing.assert_close(one.dense(), own, rtol=1e-5, atol=1e-5)


def test_beams_write_what_eager_writes() -> None:
    told = {"max_new_tokens": 8, "num_beams": 3, "attention_mask": LEFT, "do_sample": False}
    wanted, found = (model("Mistral", kind).generate(IDS, **told) for kind in ("eager", "qkv"))
    assert torch.equal(found, wanted)


def gradients(trained: Any, mask: Tensor) -> dict[str, Tensor]:
    """Of all parameters, after a step in training."""
    labels = IDS.masked_fill(mask == 0, -100)
    trained.train()(input_ids=IDS, attention_mask=mask, labels=labels, use_cache=False)[
        "loss"
    ].backward()
    return {n: p.grad for n, p in trained.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", ["Mistral", "Gemma2", "GptOss", "T5"])
def test_training_gives_the_gradients_of_eager(name) -> None:
    quiet = {"dropout_rate": 0.0} if name == "T5" else {}
    wanted, found = (gradients(model(name, kind, **quiet), RIGHT) for kind in ("eager", "qkv"))
    assert found.keys() == wanted.keys()
    for parameter, gradient in wanted.items():
        torch.testing.assert_close(found[parameter], gradient, rtol=1e-4, atol=1e-6)


def test_dropout_follows_the_seed_and_checkpoints_drop_the_same() -> None:
    found = []
    for seed, checkpoints in ((1, False), (1, False), (2, False), (1, True)):
        trained = model("Llama", "qkv", attention_dropout=0.5)
        if checkpoints:
            trained.activation_checkpointing_enable()
        torch.manual_seed(seed)
        found.append(gradients(trained, RIGHT)["model.layers.0.self_attn.q_proj.weight"])
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[3])
    assert not torch.allclose(found[0], found[2])


def test_dropout_is_seen_in_the_weights() -> None:
    trained = model("Llama", "qkv", attention_dropout=0.5).train()
    weights = trained(IDS, output_attentions=True).attentions[0]
    assert weights.dropped is not None
    share = (weights.dense() == 0).float().tril().sum() / (16 * 17 / 2 * 8)
    assert 0.4 < share < 0.6


def test_packed_sequences_do_not_see_each_other() -> None:
    packed = model("Mistral", "qkv")
    positions = torch.cat([torch.arange(10), torch.arange(6)])[None]
    with torch.no_grad():
        together = packed(IDS[:1], position_ids=positions, use_cache=False).logits[0]
        apart = [packed(part, use_cache=False).logits[0] for part in IDS[:1].split([10, 6], 1)]
    torch.testing.assert_close(together, torch.cat(apart), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", [torch.bool, torch.float32])
@torch.no_grad()
def test_a_mask_of_the_users_own_is_honoured(kind) -> None:
    """Cells of their own, four dimensions: transformers hands them on as they are."""
    allowed = torch.rand(2, 1, 16, 16, generator=torch.Generator().manual_seed(1)) < 0.5
    allowed = allowed | torch.eye(16, dtype=torch.bool)
    added = torch.where(allowed, 0.0, torch.finfo(torch.float32).min)
    wanted = model("Llama", "eager")(IDS, attention_mask=added).logits
    mask = allowed if kind is torch.bool else added
    found = model("Llama", "qkv")(IDS, attention_mask=mask).logits
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_a_name_is_set_and_taken_back() -> None:
    switched = model("Bert", "eager")
    wanted = switched(IDS)[0]
    switched.set_attn_implementation("qkv")
    assert switched.config._attn_implementation == "qkv"
    torch.testing.assert_close(switched(IDS)[0], wanted, rtol=1e-5, atol=1e-5)
    switched.set_attn_implementation("eager")
    assert torch.equal(switched(IDS)[0], wanted)


@torch.no_grad()
def test_half_types_are_as_near_as_eager() -> None:
    whole = model("Llama", "eager")(IDS).logits
    errors = {}
    for kind in ("eager", "qkv"):
        logits = model(name="Llama", implementation=kind).to(torch.bfloat16)(IDS).logits
        assert logits.dtype == torch.bfloat16
        errors[kind] = (logits.float() - whole).abs().mean()
    assert errors["qkv"] < 1.1 * errors["eager"]


CAUSAL = torch.ones(5, 5, dtype=torch.bool).tril()


@pytest.mark.parametrize(
    ("attribute", "keyword", "causal"),
    [
        (True, None, True),
        (False, None, False),
        (None, None, False),
        (True, False, False),
        (False, True, True),
        (None, True, True),
    ],
)
def test_without_a_mask_keyword_and_attribute_say_whether_it_is_causal(
    attribute, keyword, causal
) -> None:
    module = torch.nn.Module()
    if attribute is not None:
        module.is_causal = attribute
    query, key = torch.randn(1, 4, 5, 8), torch.randn(1, 2, 9, 8)
    said = {} if keyword is None else {"is_causal": keyword}
    output, weights = attend(module, query, key, key, None, **said)
    scores = query @ key.repeat_interleave(2, 1).mT * 8**-0.5
    if causal:
        scores = scores[..., :5].masked_fill(~CAUSAL, -torch.inf)
    torch.testing.assert_close(weights.dense(), scores.softmax(-1))
    shown = key.repeat_interleave(2, 1)[..., : weights.shape[-1], :]
    torch.testing.assert_close(output, (scores.softmax(-1) @ shown).transpose(1, 2))
    one, _ = attend(module, query[..., :1, :], key, key, None, **said)
    everything = (query[..., :1, :] @ key.repeat_interleave(2, 1).mT * 8**-0.5).softmax(-1)
    torch.testing.assert_close(one, (everything @ key.repeat_interleave(2, 1)).transpose(1, 2))


@pytest.mark.parametrize("keyword", ["indices", "block_indices", "sinks"])
def test_keywords_that_cannot_be_honoured_are_refused(keyword) -> None:
    query = torch.randn(1, 4, 5, 8)
    attend(torch.nn.Module(), query, query, query, None, **{keyword: None})
    with pytest.raises(qkv.UnsupportedError, match=f"Module says .* by the keyword '{keyword}'"):
        attend(torch.nn.Module(), query, query, query, None, **{keyword: torch.zeros(1)})


ALONE = {
    "Bloom": ("BloomForCausalLM", {"hidden_size": 64, "n_layer": 1, "n_head": 4}),
    "XGLM": ("XGLMForCausalLM", {"d_model": 64, "ffn_dim": 96, "num_layers": 1}),
    "LED": ("LEDForConditionalGeneration", {"d_model": 64, "encoder_layers": 1}),
    "XLNet": ("XLNetModel", {"d_model": 64, "n_layer": 1, "n_head": 4}),
    "Falcon": ("FalconForCausalLM", {"hidden_size": 64, "num_hidden_layers": 1}),
}


@pytest.mark.parametrize("name", ALONE)
def test_models_that_never_call_the_function_are_refused_when_they_are_made(name) -> None:
    kind, sizes = ALONE[name]
    config = getattr(transformers, f"{name}Config")(vocab_size=99, **sizes)
    with pytest.raises(
        qkv.UnsupportedError, match=f"{name}.* computes its attention by itself and never calls"
    ):
        getattr(transformers, kind)._from_config(config, attn_implementation="qkv")


def test_they_are_refused_when_the_name_is_set_and_stay_as_they_were() -> None:
    kind, sizes = ALONE["Bloom"]
    config = transformers.BloomConfig(vocab_size=99, **sizes)
    alone = getattr(transformers, kind)(config)
    before = config._attn_implementation
    with pytest.raises(qkv.UnsupportedError, match="BloomForCausalLM computes its attention by"):
        alone.set_attn_implementation("qkv")
    assert config._attn_implementation == before

    class Derived(transformers.BloomForCausalLM):
        """Of a user, in a module without a word of attention."""

    with pytest.raises(qkv.UnsupportedError, match="computes its attention by itself"):
        Derived(config).set_attn_implementation("qkv")


def test_a_module_with_a_table_of_classes_is_refused_when_it_is_made() -> None:
    small = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32}
    config = transformers.SamVisionConfig(**small, patch_size=8, output_channels=16)
    with pytest.raises(qkv.UnsupportedError, match="SamVisionModel is in a module that chooses"):
        transformers.SamVisionModel._from_config(config, attn_implementation="qkv")


def test_registering_twice_changes_nothing() -> None:
    kind = transformers.PreTrainedModel
    before = kind.get_correct_attn_implementation, kind.set_attn_implementation
    register()
    assert (kind.get_correct_attn_implementation, kind.set_attn_implementation) == before


@torch.no_grad()
def test_nothing_of_a_call_is_kept() -> None:
    called_model = model("Llama", "qkv")
    output = called_model(IDS, attention_mask=LEFT, output_attentions=True)
    query = weakref.ref(output.attentions[0].query)
    assert query() is not None
    del output
    gc.collect()
    assert query() is None


OWN = torch.where(torch.ones(16, 16).tril().bool(), 0.0, -torch.inf).expand(2, 1, -1, -1)


@pytest.mark.parametrize(
    "mask", [None, LEFT, OWN, OWN == 0], ids=["unpadded", "padded", "floats", "bools"]
)
@torch.no_grad()
def test_it_compiles_in_one_graph(mask) -> None:
    small = model("Mistral", "qkv", num_hidden_layers=1)
    wanted = small(IDS, attention_mask=mask, use_cache=False).logits
    torch.compiler.reset()
    compiled = torch.compile(small, fullgraph=True, backend="eager")
    found = compiled(IDS, attention_mask=mask, use_cache=False).logits
    shown = mask if mask is LEFT else None
    torch.testing.assert_close(real(shown, found), real(shown, wanted), rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_a_compiled_step_with_a_static_cache_stands_where_it_stood_when_the_mask_was_built() -> (
    None
):
    """The cache goes on counting in the same tensor before the mask is read."""
    small = model("Llama", "qkv", num_hidden_layers=1)
    torch.compiler.reset()
    compiled = torch.compile(small, fullgraph=True, backend="eager")
    steps = []
    for step in (small, compiled):
        cache = transformers.StaticCache(config=small.config, max_cache_len=32)
        small(IDS, cache=cache)
        steps.append(step(IDS[:, :1], cache=cache).logits)
    torch.testing.assert_close(steps[1], steps[0], rtol=1e-5, atol=1e-5)
