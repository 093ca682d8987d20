"""prune: drop layers, and the part of the vocabulary that the task has no use for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepdown.core.errors import UsageError
from stepdown.core.students import Lineage

if TYPE_CHECKING:
    from stepdown.students.encoders.network import Encoder

EXTRA = "train"


@dataclass(frozen=True)
class Options:
    """What may be dropped."""

    min_count: int = 1
    """A piece of the vocabulary is kept when it stands in the training texts this often."""
    general: int = 8_000
    """The most frequent pieces in general are kept as well, this many of them, and every single character."""


@dataclass(frozen=True)
class Pruned:
    """A smaller tokenizer. content: its `tokenizer.json`. kept: the old id of each new one."""

    content: str
    kept: NDArray[np.int64]
    lineage: Lineage


def vocabulary(content: str, sequences: Iterable[NDArray[np.int64]], options: Options) -> Pruned | None:
    """Drop pieces of a WordPiece vocabulary that the texts do not hold. sequences: their ids.

    A dropped word falls into shorter pieces, down to characters, all of which stay: no text breaks. WordPiece
    vocabularies list frequent pieces before rare ones, so the first ones are the general ones. Returns None for other
    tokenizers, whose pieces depend on one another.
    """
    tokenizer = msgspec.json.decode(content)
    model = tokenizer["model"]
    if model.get("type") != "WordPiece":
        return None
    pieces: dict[str, int] = model["vocab"]
    counts = np.zeros(max(pieces.values()) + 1, dtype=np.int64)
    for sequence in sequences:
        np.add.at(counts, sequence, 1)
    prefix = model.get("continuing_subword_prefix", "##")
    special = {entry["content"] for entry in tokenizer.get("added_tokens", ())} | {model.get("unk_token", "[UNK]")}
    words = [piece for piece, place in pieces.items() if len(piece.removeprefix(prefix)) > 1]
    frequent = set(sorted(words, key=pieces.__getitem__)[: options.general])
    kept = sorted(
        place
        for piece, place in pieces.items()
        if counts[place] >= options.min_count
        or piece in special
        or piece in frequent
        or len(piece.removeprefix(prefix)) == 1
    )
    renumbered = {old: new for new, old in enumerate(kept)}
    model["vocab"] = {piece: renumbered[place] for piece, place in pieces.items() if place in renumbered}
    _renumber_specials(tokenizer, renumbered)
    lineage = Lineage(step="prune", parameters={"vocabulary": len(kept), "of": len(pieces)})
    return Pruned(msgspec.json.encode(tokenizer).decode(), np.array(kept, dtype=np.int64), lineage)


def _renumber_specials(tokenizer: dict[str, Any], renumbered: dict[int, int]) -> None:
    for entry in tokenizer.get("added_tokens", ()):
        entry["id"] = renumbered[entry["id"]]
    tokenizer["padding"] = None
    processor = tokenizer.get("post_processor") or {}
    for entry in (processor.get("special_tokens") or {}).values():
        entry["ids"] = [renumbered[place] for place in entry["ids"]]
    for end in ("sep", "cls"):
        if end in processor:
            piece, place = processor[end]
            processor[end] = [piece, renumbered[place]]


def embeddings(network: Encoder, kept: NDArray[np.int64]) -> Encoder:
    """The network with the kept rows of its token embeddings alone."""
    import torch

    from stepdown.students.encoders.network import Encoder as Network

    state = network.state_dict()
    state["tokens.weight"] = state["tokens.weight"][torch.from_numpy(kept)]
    smaller = Network(replace(network.shape, vocabulary=len(kept)))
    smaller.load_state_dict(state)
    return smaller


def layers(network: Encoder, kept: Sequence[int]) -> tuple[Encoder, Lineage]:
    """The network with the chosen layers alone, in the order given. Raises UsageError when one does not exist."""
    from stepdown.students.encoders.network import Encoder as Network

    there = network.shape.layers
    if not kept or any(not 0 <= place < there for place in kept):
        raise UsageError(f"Layers {list(kept)} were asked for.", f"The encoder has layers 0 to {there - 1}.", "")
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("layers.")}
    for new, old in enumerate(kept):
        part = network.layers[old].state_dict()
        state |= {f"layers.{new}.{name}": tensor for name, tensor in part.items()}
    smaller = Network(replace(network.shape, layers=len(kept)))
    smaller.load_state_dict(state)
    return smaller, Lineage(step="prune", parameters={"layers": list(kept), "of": there})


def spread(keep: int, there: int) -> list[int]:
    """Which `keep` of `there` layers to keep: evenly spread, the first and the last among them (Sanh et al. 2019)."""
    return sorted({round(place) for place in np.linspace(0, there - 1, keep).tolist()}) if keep > 1 else [there - 1]
