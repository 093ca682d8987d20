"""A tiny encoder of any supported architecture, with random weights, written as the hub would have it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WORDS = ["i", "want", "to", "borrow", "return", "a", "book", "when", "open", "pay", "fine", "please", "##s", "##ed"]
LETTERS = "abcdefghijklmnopqrstuvwxyz"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = list(dict.fromkeys([*SPECIAL, *WORDS, *LETTERS, *"?!.", *(f"##{letter}" for letter in LETTERS)]))
SIZES = {"vocab_size": len(PIECES), "max_position_embeddings": 40}

WriteEncoder = Callable[..., Any]


@pytest.fixture
def write_encoder() -> WriteEncoder:
    """write_encoder(folder, model_type="bert"): save a tiny encoder; returns the transformers model, the reference."""
    pytest.importorskip("torch", reason="training needs the extra 'train'")
    return _write_encoder


@pytest.fixture
def tokenizer_content() -> str:
    """A WordPiece `tokenizer.json` over PIECES, as the tokenizers library writes it."""
    return _tokenizer_content()


def _write_encoder(folder: Path, model_type: str = "bert") -> Any:
    import torch
    import transformers

    torch.manual_seed(0)
    wide = {"hidden_size": 32, "num_hidden_layers": 4, "num_attention_heads": 4, "intermediate_size": 64}
    model: Any
    if model_type == "distilbert":
        model = transformers.DistilBertModel(
            transformers.DistilBertConfig(**SIZES, dim=32, n_layers=4, n_heads=4, hidden_dim=64)
        )
    elif model_type == "roberta":
        config = transformers.RobertaConfig(**SIZES, **wide, pad_token_id=1, type_vocab_size=1)
        model = transformers.RobertaModel(config, add_pooling_layer=False)
    else:
        model = transformers.BertModel(transformers.BertConfig(**SIZES, **wide), add_pooling_layer=False)
    with torch.no_grad():
        for parameter in model.parameters():
            # Far from the initial values, so that a forgotten bias or norm shows.
            parameter.add_(0.2 * torch.randn_like(parameter))
    folder.mkdir(parents=True, exist_ok=True)
    model.eval().save_pretrained(folder)
    (folder / "tokenizer.json").write_text(_tokenizer_content(), encoding="utf-8")
    return model


def _tokenizer_content() -> str:
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer(WordPiece({piece: place for place, piece in enumerate(PIECES)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens(SPECIAL)
    ends = [(piece, PIECES.index(piece)) for piece in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    return json.dumps(json.loads(tokenizer.to_str()))
