"""The encoder as a torch network: BERT's arithmetic, with one matrix for query, key and value and no unused parts.

Imported only by code that trains: torch comes with the extra "train".
"""

from __future__ import annotations

import math
import os
import platform
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from stepdown.core.errors import InputError
from stepdown.students.encoders.pretrained import WEIGHTS, Pretrained

_BERT_LAYER = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "mixed": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "output_norm": "output.LayerNorm",
}
_DISTIL_LAYER = {
    "query": "attention.q_lin",
    "key": "attention.k_lin",
    "value": "attention.v_lin",
    "mixed": "attention.out_lin",
    "attention_norm": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "output_norm": "output_layer_norm",
}
_WITH_BFLOAT16 = ("ALL", "DEFAULT", "AVX512_CORE_BF16", "AVX512_CORE_FP16", "AVX512_CORE_AMX", "AVX512_CORE_AMX_FP16")
"""What oneDNN may be held to (ONEDNN_MAX_CPU_ISA) and still computes in bfloat16."""
_POSITION_OFFSET = {"bert": 0, "distilbert": 0, "roberta": 2}


@dataclass(frozen=True)
class Shape:
    """All sizes of a network. pooling: "mean" over tokens, or the "first" one.

    labels: outputs for a text. tags: outputs for each of its tokens, 0 for a network without a token head.
    """

    vocabulary: int
    positions: int
    hidden: int
    heads: int
    intermediate: int
    epsilon: float
    pooling: str
    layers: int
    labels: int
    tags: int = 0


class EncoderOutput(NamedTuple):
    """What a network says of a batch, float32: logits (batch, labels), embeddings (batch, hidden), and tag logits
    (batch, tokens, tags) from a network with a token head."""

    logits: Tensor
    embedded: Tensor
    tags: Tensor | None


class Dropout:
    """Dropout whose masks are windows of one random buffer: drawing a mask costs nothing, and a seed fixes all.

    Drawing afresh takes a third of a training step on a CPU; a window at a random place in four million draws, which
    are renewed every epoch, regularises as well.
    """

    SIZE = 1 << 22

    def __init__(self, probability: float, seed: int) -> None:
        self.probability = probability
        self._generator = torch.Generator().manual_seed(seed)
        self._buffer = torch.empty(0)

    def renew(self) -> None:
        """New draws."""
        if self.probability > 0:
            kept = torch.rand(self.SIZE, generator=self._generator) > self.probability
            self._buffer = kept.to(torch.bfloat16) / (1.0 - self.probability)

    @property
    def state(self) -> Tensor:
        """Which draws come next; a bytes tensor, which can be set again after the same renewals."""
        return self._generator.get_state()

    @state.setter
    def state(self, state: Tensor) -> None:
        self._generator.set_state(state)

    def __call__(self, x: Tensor) -> Tensor:
        if not len(self._buffer):
            return x
        size = x.numel()
        if size > self.SIZE:
            # Drawn from the same generator: torch's own is the process's, and others draw from it.
            kept = torch.rand(x.shape, generator=self._generator) > self.probability
            return x * (kept.to(x.dtype) / (1.0 - self.probability))
        start = int(torch.randint(0, self.SIZE - size + 1, (1,), generator=self._generator))
        return x * self._buffer[start : start + size].view(x.shape)


class Layer(nn.Module):
    """One transformer layer, normalised after each half."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.query_key_value = nn.Linear(shape.hidden, 3 * shape.hidden)
        self.mixed = nn.Linear(shape.hidden, shape.hidden)
        self.attention_norm = nn.LayerNorm(shape.hidden, eps=shape.epsilon)
        self.up = nn.Linear(shape.hidden, shape.intermediate)
        self.down = nn.Linear(shape.intermediate, shape.hidden)
        self.output_norm = nn.LayerNorm(shape.hidden, eps=shape.epsilon)

    def forward(self, x: Tensor, mask: Tensor, dropout: Dropout | None) -> Tensor:
        """x: (batch, tokens, hidden). mask: (batch, 1, 1, tokens), 0 where there is a token, else very negative."""
        batch, tokens, hidden = x.shape
        size = hidden // self.heads
        projected = self.query_key_value(x).view(batch, tokens, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        query, key, value = (part.reshape(batch * self.heads, tokens, size) for part in projected)
        # Written out: for sentences this short, the fused kernel's backward pass takes twice as long on a CPU.
        scores = (query @ key.transpose(1, 2)).view(batch, self.heads, tokens, tokens)
        attention = torch.softmax(scores * (1.0 / math.sqrt(size)) + mask, dim=-1).view(-1, tokens, tokens)
        context = (attention.to(value.dtype) @ value).view(batch, self.heads, tokens, size)
        mixed = self.mixed(context.transpose(1, 2).reshape(batch, tokens, hidden))
        x = self.attention_norm(x + (dropout(mixed) if dropout else mixed))
        fed = self.down(F.gelu(self.up(x)))
        normed: Tensor = self.output_norm(x + (dropout(fed) if dropout else fed))
        return normed


class Encoder(nn.Module):
    """Token ids in; one vector per text, and logits over labels, out."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.tokens = nn.Embedding(shape.vocabulary, shape.hidden)
        self.positions = nn.Parameter(torch.zeros(shape.positions, shape.hidden))
        self.embedding_norm = nn.LayerNorm(shape.hidden, eps=shape.epsilon)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.layers))
        self.head = nn.Linear(shape.hidden, shape.labels)
        self.tagger = nn.Linear(shape.hidden, shape.tags) if shape.tags else None

    def read(
        self,
        ids: Tensor,
        lengths: Tensor,
        dropout: Dropout | None = None,
        lower: tuple[int, Tensor] | None = None,
        upto: int | None = None,
    ) -> Tensor:
        """ids: int64 (batch, tokens), padded; lengths: int64 (batch,). Returns float32 (batch, tokens, hidden).

        lower: how many layers have read the texts already, and what they say. upto: stop after so many layers.
        """
        tokens = ids.shape[1]
        present = _present(tokens, lengths)
        mask = torch.zeros(present.shape).masked_fill(~present, -1e4)[:, None, None]
        if lower is None:
            x = self.embedding_norm(self.tokens(ids) + self.positions[:tokens])
            x = dropout(x) if dropout else x
        else:
            x = lower[1]
        for layer in self.layers[lower[0] if lower else 0 : upto]:
            x = layer(x, mask, dropout)
        vectors: Tensor = x.float()
        return vectors

    def pool(self, vectors: Tensor, lengths: Tensor) -> Tensor:
        """One vector per text, (batch, hidden), of the vectors of its tokens, (batch, tokens, hidden)."""
        if self.shape.pooling == "first":
            return vectors[:, 0]
        counted = _present(vectors.shape[1], lengths)[..., None].float()
        return (vectors * counted).sum(1) / counted.sum(1)

    def embed(self, ids: Tensor, lengths: Tensor, dropout: Dropout | None = None) -> Tensor:
        """What `read` reads, pooled: float32 (batch, hidden)."""
        return self.pool(self.read(ids, lengths, dropout), lengths)

    def forward(
        self,
        ids: Tensor,
        lengths: Tensor,
        dropout: Dropout | None = None,
        lower: tuple[int, Tensor] | None = None,
    ) -> EncoderOutput:
        """All there is to say of a batch, float32 whatever the autocast."""
        vectors = self.read(ids, lengths, dropout, lower)
        embedded = self.pool(vectors, lengths)
        with torch.autocast("cpu", enabled=False):
            return EncoderOutput(self.head(embedded), embedded, self.tagger(vectors) if self.tagger else None)


def _present(tokens: int, lengths: Tensor) -> Tensor:
    return torch.arange(tokens)[None] < lengths[:, None]


def load_pretrained(base: Pretrained, labels: int, layers: Iterable[int] | None = None, tags: int = 0) -> Encoder:
    """The base as a network with empty heads. layers: which of its layers to keep, all unless given.

    Raises InputError when a tensor is missing or has the wrong size.
    """
    kind = base.architecture
    kept = list(range(kind.num_hidden_layers)) if layers is None else list(layers)
    stored = load_file(base.folder / WEIGHTS)
    raw = {name.removeprefix(f"{kind.model_type}."): tensor for name, tensor in stored.items()}
    offset = _POSITION_OFFSET[kind.model_type]
    shape = Shape(
        vocabulary=kind.vocab_size,
        positions=kind.max_position_embeddings - offset,
        hidden=kind.hidden_size,
        heads=kind.num_attention_heads,
        intermediate=kind.intermediate_size,
        epsilon=kind.layer_norm_eps,
        pooling=base.pooling,
        layers=len(kept),
        labels=labels,
        tags=tags,
    )
    network = Encoder(shape)
    heads = {name: tensor for name, tensor in network.state_dict().items() if name.startswith(("head.", "tagger."))}
    try:
        state = _state(raw, kind.model_type, kept, offset)
        network.load_state_dict({**state, **heads})
    except (KeyError, RuntimeError) as error:
        raise InputError(
            f"The weights of {base.name!r} do not fit its config.json ({error}).",
            f"A {kind.model_type} of {kind.num_hidden_layers} layers was described.",
            "Fetch the base again, or choose another.",
        ) from None
    for head in (network.head, network.tagger):
        if head is not None:
            nn.init.zeros_(head.weight)
            nn.init.zeros_(head.bias)
    return network


def _state(raw: dict[str, Tensor], model_type: str, kept: list[int], offset: int) -> dict[str, Tensor]:
    positions = raw["embeddings.position_embeddings.weight"].float()[offset:]
    types = raw.get("embeddings.token_type_embeddings.weight")
    state = {
        "tokens.weight": raw["embeddings.word_embeddings.weight"].float(),
        # Inputs have one segment: its vector is the same at every place and can live in the positions.
        "positions": positions if types is None else positions + types.float()[0],
        "embedding_norm.weight": raw["embeddings.LayerNorm.weight"].float(),
        "embedding_norm.bias": raw["embeddings.LayerNorm.bias"].float(),
    }
    names = _DISTIL_LAYER if model_type == "distilbert" else _BERT_LAYER
    prefix = "transformer.layer" if model_type == "distilbert" else "encoder.layer"
    for place, layer in enumerate(kept):
        for part in ("weight", "bias"):
            read = {ours: raw[f"{prefix}.{layer}.{theirs}.{part}"].float() for ours, theirs in names.items()}
            joined = torch.cat([read.pop("query"), read.pop("key"), read.pop("value")])
            state[f"layers.{place}.query_key_value.{part}"] = joined
            state |= {f"layers.{place}.{ours}.{part}": tensor for ours, tensor in read.items()}
    return state


def autocast() -> AbstractContextManager[None]:
    """Arithmetic in bfloat16 over float32 weights, where this processor has instructions for it.

    Without them bfloat16 is unpacked and packed again, and takes four times as long as float32.
    """
    return torch.autocast("cpu", torch.bfloat16, enabled=arithmetic() == "bfloat16")


def arithmetic() -> str:
    """ "bfloat16" where this processor has instructions for it and oneDNN may use them, else "float32"."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return "bfloat16"
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", os.environ.get("DNNL_MAX_CPU_ISA", "ALL")).upper()
    has = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if has and allowed in _WITH_BFLOAT16 else "float32"


def layer_step(arithmetic: str, rows: int, tokens: int) -> Callable[[], None]:
    """One training step of one layer of 384 numbers, to be timed, without the optimiser, which adds little."""
    shape = Shape(8, tokens, 384, 12, 1536, 1e-12, "mean", 1, 1)
    layer = Layer(shape)
    x, mask = torch.full((rows, tokens, 384), 0.5), torch.zeros(rows, 1, 1, tokens)
    dropout = Dropout(0.1, seed=0)
    dropout.renew()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=arithmetic == "bfloat16"):
            said = layer(x, mask, dropout)
        said.float().mean().backward()
        layer.zero_grad(set_to_none=True)

    return step


def padded(sequences: list[NDArray[np.int64]]) -> tuple[Tensor, Tensor]:
    """Ids as one int64 matrix (batch, longest), zero-padded, and the lengths."""
    lengths = np.array([len(sequence) for sequence in sequences], dtype=np.int64)
    ids = np.zeros((len(sequences), int(lengths.max())), dtype=np.int64)
    for row, sequence in zip(ids, sequences, strict=True):
        row[: len(sequence)] = sequence
    return torch.from_numpy(ids), torch.from_numpy(lengths)


def embed_all(network: Encoder, sequences: list[NDArray[np.int64]], batch: int = 64) -> NDArray[np.float32]:
    """Embeddings of all sequences, float32 (n, hidden), in order; in inference mode and autocast."""
    order = np.argsort([len(sequence) for sequence in sequences], kind="stable")
    embedded = np.empty((len(sequences), network.shape.hidden), dtype=np.float32)
    with torch.inference_mode(), autocast():
        for start in range(0, len(order), batch):
            rows = order[start : start + batch]
            embedded[rows] = network.embed(*padded([sequences[row] for row in rows])).numpy()
    return embedded
