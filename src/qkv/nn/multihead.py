"""Attention in several heads, between learnt projections."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

import qkv

from ..matrix.matrix import AttentionMatrix
from ..matrix.prepare import PreparedKey
from ..stage.base import type_given
from .cache import KeyValueCache, PreparedContext
from .held import Held, all_of, held, stage_of
from .linear import Linear
from .of_torch import arguments_of, check_torchs_layer, copy_weights
from .padding import check_lengths, check_sequences
from .positions import Rotary, check_offset
from .sharing import Sharing
from .sizes import check_dropout, check_sizes

_OF_ONE_CALL = ("mask", "bias", "query_offset")


class MultiHeadAttention(nn.Module):
    """Attention in several heads between learnt projections of queries, keys, values and output.

    With one input it is self-attention, `layer(x)`; with two, cross-attention, `layer(x, context)`.
    It takes every stage of `qkv.attention`. An `nn.Parameter` in a stage becomes a parameter of the
    layer: `score=qkv.Additive(nn.Parameter(torch.randn(32)))`.

    Args:
        width: width of the input and of the output, divisible by `heads`.
        heads: the number of heads; each has `width / heads` dimensions.
        kv_heads: the number of heads of key and value, which divides `heads`; default: `heads`.
        context_width: width of the context; default: `width`.
        values_width: width of a separate input for the values; default: `context_width`.
        score, bias, mask, normalizer: as for `qkv.attention`.
        rotary: rotary positions, for self-attention alone: True, or a `Rotary`.
        dropout: the probability with which weights are dropped in training.
        linear_bias: whether the projections have biases.
        group, shards: as for `qkv.attention`: the inputs are then this rank's share of sequences,
            `lengths` those of the whole ones, and parameters get the gradients of what this rank
            computes. Sum those over the group.

    Raises:
        ValueError, TypeError: an argument breaks a rule; the text names both.

    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.2.2; grouped heads:
    Ainslie et al., "GQA" (2023), section 2.2.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        *,
        kv_heads: int | None = None,
        context_width: int | None = None,
        values_width: int | None = None,
        score: Any = None,
        bias: Any = None,
        mask: Any = None,
        normalizer: Any = None,
        rotary: bool | Rotary = False,
        dropout: float = 0.0,
        linear_bias: bool = True,
        group: Any = None,
        shards: str = "in order",
    ) -> None:
        super().__init__()
        self.width, self.heads, self.kv_heads = (
            width,
            heads,
            heads if kv_heads is None else kv_heads,
        )
        self.context_width = width if context_width is None else context_width
        self.values_width = self.context_width if values_width is None else values_width
        self.dropout = dropout
        self.sharing = Sharing("MultiHeadAttention", group, shards)
        self._check_sizes(bool(rotary))
        head = width // heads
        self.query = Linear(width, width, linear_bias)
        self.key = Linear(self.context_width, self.kv_heads * head, linear_bias)
        self.value = Linear(self.values_width, self.kv_heads * head, linear_bias)
        self.output = Linear(width, width, linear_bias)
        if not isinstance(rotary, (bool, Rotary)):
            raise TypeError(
                f"MultiHeadAttention: rotary must be a bool or a Rotary; got {type_given(rotary)}"
            )
        self.rotary = Rotary() if rotary is True else rotary or None
        self.score, self.mask, self.normalizer = held(score), held(mask), held(normalizer)
        entries = () if bias is None else bias if isinstance(bias, (list, tuple)) else (bias,)
        self.bias = nn.ModuleList(Held(entry) for entry in entries)
        for projection in (self.query, self.key, self.value, self.output):
            nn.init.xavier_uniform_(projection.weight)
            if projection.bias is not None:
                nn.init.zeros_(projection.bias)
        # Costs nothing, for a matrix is lazy, and tells of a wrong stage here and not in training.
        qkv.attention(torch.zeros(heads, 1, head), torch.zeros(heads, 1, head), **self._stages())

    def forward(
        self,
        x: Tensor,
        context: Tensor | PreparedContext | None = None,
        values: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
        cache: KeyValueCache | None = None,
        **stages: Any,
    ) -> Tensor:
        """The output, `[B..., Lq, width]`.

        Args:
            x: `[B..., Lq, width]`, the input of the queries.
            context: `[B..., Lk, context_width]`, the input of keys and values, or what `prepare`
                made of it; default: `x` itself.
            values: `[B..., Lk, values_width]`, the input of the values, a row for each row of the
                context; default: the context.
            lengths: `[B]` integers over the first batch dimension: how many rows of the context (in
                self-attention of `x`), and so of the values, are real; default: all. The others may
                hold anything and are never seen; in self-attention their outputs are zeros.
            cache: the keys and values of the positions before `x`; those of `x` are appended, but
                not where the call is refused. For self-attention without `lengths` and
                `query_offset`.
            stages: for this call alone: `mask` and `bias` beside those of the layer, and
                `query_offset` as for `qkv.attention`; rotary positions of the queries begin there
                too.

        Raises:
            ValueError, TypeError: an argument breaks a rule; the text names both.
        """
        matrix, key, value = self._ask(x, context, values, lengths, cache, stages)
        if self.training and self.dropout:
            matrix = matrix.dropout(self.dropout)
        summed = self.output((matrix @ value).transpose(-3, -2).flatten(-2))
        if cache is not None and isinstance(key, Tensor):
            cache.key, cache.value = key, value
        return self.sharing.without_padding(summed, lengths) if context is None else summed

    def matrix(
        self,
        x: Tensor,
        context: Tensor | PreparedContext | None = None,
        values: Tensor | None = None,
        *,
        lengths: Tensor | None = None,
        cache: KeyValueCache | None = None,
        **stages: Any,
    ) -> AttentionMatrix:
        """The weights of the same call before dropout, `[B..., heads, Lq, Lk]`. Takes the arguments
        of a call. A cache is read, but nothing is appended to it."""
        return self._ask(x, context, values, lengths, cache, stages)[0]

    def prepare(
        self, context: Tensor, values: Tensor | None = None, lengths: Tensor | None = None
    ) -> PreparedContext:
        """Projects a context once for many calls: `layer(x, layer.prepare(context))`.

        Args:
            context: `[B..., Lk, context_width]`.
            values: `[B..., Lk, values_width]`; default: the context.
            lengths: `[B]` integers: how many rows are real; default: all.

        Raises:
            ValueError, TypeError: an argument breaks a rule; the text names both.
        """
        key, value = self._project_context(context, values, lengths)
        return PreparedContext(qkv.prepare(key, stage_of(self.score)), value, lengths)

    @property
    def reads_anywhere(self) -> bool:
        """Whether sequences that stand one after the other, each a document, are read as each by
        itself: no stage knows of a sequence, or of places but by how far they are apart. Rotary
        positions do, but lose digits far from the start."""
        stages = [self.score, self.mask, self.normalizer, *self.bias]
        return self.rotary is None and all(
            stage is None or stage.says_the_same_anywhere for stage in stages
        )

    @staticmethod
    def from_torch(module: nn.MultiheadAttention) -> MultiHeadAttention:
        """A layer with the weights of torch's own and the same outputs. It takes the batch first,
        even if the module did not, and `lengths` or a mask in place of `key_padding_mask`. Weights
        that are frozen stay so.

        Raises:
            TypeError: this is no `torch.nn.MultiheadAttention`, or its output projection is more
                than a linear map, as with an adapter.
            ValueError: the module was made with `add_bias_kv` or `add_zero_attn`.
        """
        check_torchs_layer(module)
        made = MultiHeadAttention(**arguments_of(module))
        copy_weights(module, made)
        return made

    def extra_repr(self) -> str:
        return f"width={self.width}, heads={self.heads}, kv_heads={self.kv_heads}"

    def _ask(
        self,
        x: Tensor,
        context: Tensor | PreparedContext | None,
        values: Tensor | None,
        lengths: Tensor | None,
        cache: KeyValueCache | None,
        stages: dict[str, Any],
    ) -> tuple[AttentionMatrix, Tensor | PreparedKey, Tensor]:
        """The matrix, and keys and values in heads, with those of the cache."""
        with self.sharing.telling():
            unknown = next((name for name in stages if name not in _OF_ONE_CALL), None)
            if unknown is not None:
                raise TypeError(
                    "MultiHeadAttention: stages for one call must be among mask, bias and "
                    f"query_offset; got {unknown}"
                )
            mask, bias, query_offset = (stages.get(name) for name in _OF_ONE_CALL)
            self._check_call(x, context, values, lengths, cache, query_offset)
            if context is None:
                x = self.sharing.without_padding(x, lengths)
            query = self._heads(self.query(x), self.heads)
            if isinstance(context, PreparedContext):
                key, value, lengths = context.key, context.value, context.lengths
            elif context is None:
                key, value = self._project(x, values, lengths, "x")
            else:
                key, value = self._project_context(context, values, lengths)
            if self.rotary is not None and isinstance(key, Tensor):
                query, key = self._turned(self.rotary, query, key, cache, query_offset)
            if cache is not None and isinstance(key, Tensor):
                key, value = cache.with_more(key, value)
                query_offset = "end"
            options = self._stages(mask, bias, lengths)
            if cache is not None and x.shape[-2] == 1 and isinstance(options["mask"], qkv.Causal):
                # The newest position sees all of them, and more kernels serve.
                options["mask"] = None
            if isinstance(key, PreparedKey):
                options["score"] = None
            options |= self.sharing.options()
            matrix = qkv.attention(query, key, query_offset=query_offset, **options)
            if matrix.shards is not None:
                matrix = replace(matrix, shards=replace(matrix.shards, own_gradients=True))
            return matrix, key, value

    def _turned(
        self,
        rotary: Rotary,
        query: Tensor,
        key: Tensor,
        cache: KeyValueCache | None,
        query_offset: Any,
    ) -> tuple[Tensor, ...]:
        """Queries and keys of self-attention with their positions."""
        if cache is not None:
            return rotary(query, cache.length), rotary(key, cache.length)
        # There are as many queries as keys, so both names of an offset mean none.
        first = 0 if query_offset is None or isinstance(query_offset, str) else query_offset

        def moved(x: Tensor, start: int = 0) -> Tensor:
            return rotary(x, first + start)

        return self.sharing.with_positions((moved, query), (rotary, key))

    def _project_context(
        self, context: Tensor, values: Tensor | None, lengths: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Keys and values of a context in heads, without what stands in padding."""
        where = "MultiHeadAttention"
        check_sequences(where, "context", context, self.context_width)
        check_lengths(where, lengths, context)
        context = self.sharing.without_padding(context, lengths)
        return self._project(context, values, lengths, "context")

    def _project(
        self, context: Tensor, values: Tensor | None, lengths: Tensor | None, what: str
    ) -> tuple[Tensor, Tensor]:
        """Keys and values in heads. Where the context is padding it holds zeros already."""
        where = "MultiHeadAttention"
        check_sequences(where, what, context, self.context_width)
        if values is None:
            source = context
            check_sequences(where, f"{what} (where no values are given)", source, self.values_width)
        else:
            source = self._real_values(values, context, lengths)
        key = self._heads(self.key(context), self.kv_heads)
        return key, self._heads(self.value(source), self.kv_heads)

    def _real_values(self, values: Tensor, context: Tensor, lengths: Tensor | None) -> Tensor:
        """The input of the values, without what stands in padding."""
        where = "MultiHeadAttention"
        check_sequences(where, "values", values, self.values_width)
        own, its = values.shape[:-2], context.shape[:-2]
        pairs = zip(reversed(own), reversed(its), strict=False)
        fits = all(one == other or 1 in (one, other) for one, other in pairs)
        if lengths is not None and lengths.numel() > 1:
            fits = fits and len(own) <= len(its)  # they are of the first batch dimension
        if values.shape[-2] != context.shape[-2] or not fits:
            raise ValueError(
                f"{where}: values must have the batch and rows of the input of the keys "
                f"({list(context.shape[:-1])}); got {list(values.shape)}"
            )
        if lengths is not None:  # of the whole batch, also where it shares its values
            values = values.expand(*torch.broadcast_shapes(own, its), *values.shape[-2:])
        return self.sharing.without_padding(values, lengths)

    def _stages(self, mask: Any = None, bias: Any = None, lengths: Any = None) -> dict[str, Any]:
        """The stages of the layer, with those of one call."""
        masks = [stage_of(self.mask), mask, None if lengths is None else qkv.Padding(lengths)]
        biases = [entry() for entry in self.bias]
        biases += [] if bias is None else bias if isinstance(bias, (list, tuple)) else [bias]
        return {
            "score": stage_of(self.score),
            "bias": biases,
            "mask": all_of(*masks),
            "normalizer": stage_of(self.normalizer),
        }

    @staticmethod
    def _heads(x: Tensor, heads: int) -> Tensor:
        """`[B..., L, heads * D]` as `[B..., heads, L, D]`."""
        return x.unflatten(-1, (heads, -1)).transpose(-3, -2)

    def _check_sizes(self, rotary: bool) -> None:
        where = "MultiHeadAttention"
        names = ("width", "heads", "kv_heads", "context_width", "values_width")
        check_sizes(where, **{name: getattr(self, name) for name in names})
        if self.width % self.heads:
            raise ValueError(
                f"{where}: width must be divisible by heads; got {self.width} and {self.heads}"
            )
        if self.heads % self.kv_heads:
            raise ValueError(
                f"{where}: heads must be divisible by kv_heads; "
                f"got {self.heads} and {self.kv_heads}"
            )
        if rotary and (self.width // self.heads) % 2:
            raise ValueError(
                f"{where}: rotary needs heads of even width; got {self.width // self.heads}"
            )
        check_dropout(where, below_one=True, dropout=self.dropout)

    def _check_call(
        self, x: Any, context: Any, values: Any, lengths: Any, cache: Any, query_offset: Any
    ) -> None:
        where = "MultiHeadAttention"
        check_sequences(where, "x", x, self.width)
        if isinstance(context, PreparedContext):
            if lengths is not None or values is not None:
                what = "values" if lengths is None else "lengths"
                raise ValueError(f"{where}: a prepared context has its own {what}; got others")
        elif isinstance(context, Tensor):
            check_sequences(where, "context", context, self.context_width)
        elif context is not None:
            got = type(context).__name__
            raise TypeError(f"{where}: context must be a tensor or what prepare made; got {got}")
        if context is None:
            check_lengths(where, lengths, x)
        if context is not None and self.rotary is not None:
            raise ValueError(f"{where}: rotary is for self-attention; got a context")
        counted = query_offset is not None and not isinstance(query_offset, (str, Tensor))
        if self.rotary is not None and counted:
            check_offset(where, query_offset, "query_offset")
        if cache is None:
            return
        if not isinstance(cache, KeyValueCache):
            got = type(cache).__name__
            raise TypeError(f"{where}: cache must be a KeyValueCache; got {got}")
        if not self.sharing.alone:
            raise ValueError(f"{where}: group takes sequences as a whole; got a cache")
        others = {"a context (prepare it instead)": context, "lengths": lengths}
        for what, given in (others | {"query_offset": query_offset}).items():
            if given is not None:
                raise ValueError(f"{where}: a cache goes with x alone; got {what}")
        self._check_cache(cache, x)

    def _check_cache(self, cache: KeyValueCache, x: Tensor) -> None:
        """Checks that keys and values of `x` go on with those of a cache."""
        if cache.key is None or cache.value is None:
            return
        batch, head = x.shape[:-2], self.width // self.heads
        for name, tensor in {"keys": cache.key, "values": cache.value}.items():
            got = tensor.shape
            if tensor.ndim < 3 or (got[:-3], got[-3], got[-1]) != (batch, self.kv_heads, head):
                raise ValueError(
                    f"MultiHeadAttention: cache must hold {name} of this layer for the batch of x, "
                    f"{[*batch, self.kv_heads, 'L', head]}; got {list(got)}"
                )
