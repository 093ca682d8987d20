"""From a base and a task's texts to what training starts from: ids, a tokenizer cut to the task, and the network."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stepdown.core.errors import MissingExtra
from stepdown.core.students import Lineage
from stepdown.runtime.tokeniser import TOKENIZER, Tokeniser
from stepdown.students.encoders.pretrained import Pretrained
from stepdown.students.shrink import prune

if TYPE_CHECKING:
    from stepdown.students.encoders.network import Encoder

LONGEST_LEARNED = 64
"""Training reads at most this many tokens of a text; what is served reads up to max_length."""


@dataclass(frozen=True)
class Prepared:
    """Where training starts. tokenizer: a `tokenizer.json`. sequences: ids of every text, cut for training.

    tokeniser: cuts and reads as the sequences were.
    """

    network: Encoder
    texts: Sequence[str]
    tokeniser: Tokeniser
    tokenizer: str
    sequences: list[NDArray[np.int64]]
    lineage: tuple[Lineage, ...]


def require_training() -> None:
    """Raises MissingExtra unless the packages that train an encoder are installed."""
    # Threads that wait for each other should sleep, not spin, where other programs run; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    for package in ("torch", "onnx"):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, "train", "Training an encoder")


def prepare(
    base: Pretrained,
    texts: Sequence[str],
    labels: int,
    max_length: int,
    vocabulary: prune.Options,
    tags: int = 0,
    learned: int = LONGEST_LEARNED,
) -> Prepared:
    """Read the base, give it a head for `labels` and one for the `tags` of tokens, tokenise the texts.

    vocabulary: how to prune it; all is kept where its min_count is 0. learned: how many tokens training reads.
    """
    from stepdown.students.encoders.network import load_pretrained

    content = (base.folder / TOKENIZER).read_text(encoding="utf-8")
    network = load_pretrained(base, labels, tags=tags)
    # What training cuts off still belongs to the vocabulary that is kept.
    sequences, _ = Tokeniser(content, max_length).encode_many(texts)
    pruned = prune.vocabulary(content, sequences, vocabulary) if vocabulary.min_count else None
    lineage: tuple[Lineage, ...] = ()
    if pruned:
        content, lineage = pruned.content, (pruned.lineage,)
        network = prune.embeddings(network, pruned.kept)
    network.tokens.weight.requires_grad = False
    tokeniser = Tokeniser(content, min(max_length, learned))
    sequences, _ = tokeniser.encode_many(texts)
    return Prepared(network, texts, tokeniser, content, sequences, lineage)
