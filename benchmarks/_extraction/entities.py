"""WNUT17 and wikigold (CC BY 4.0): named entities as lists of copied values, one list for each type.

WNUT17 keeps its published splits: train is learned from, half of dev tunes and half is evidence, test is test. Dev is
of another site than test (YouTube, then Reddit, Twitter and others), so a certificate on dev speaks of dev.
wikigold has no official split: its 145 documents are dealt, in a seeded order, to test and then to tune and certify
until each has its share of sentences (274; 140 and 140), whole documents only, and the rest is train. Those are the
sizes (1,142, 280, 274) that Liang et al. (2020) report for their split, which is not published by sentence.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

from benchmarks._extraction.task import Answer, Row, SpanOf, Task, json_schema, one_or_more

WNUT_TYPES = ("person", "location", "group", "corporation", "product", "creative-work")
WIKIGOLD_TYPES = {"PER": "person", "LOC": "location", "ORG": "organisation", "MISC": "other"}
WIKIGOLD_SHARES = (("test", 274), ("tune", 140), ("certify", 140))
CONTRACT = {"margin": 0.02, "confidence": 0.95, "against": "gold", "loss": "exact-match"}
_START = "-DOCSTART-"

Sentence = list[tuple[str, str]]
"""Tokens with their tags."""


def wnut_task(data: Path) -> Task:
    folder = data / "ner" / "WNUT17" / "CONLL-format" / "data"
    files = {
        "train": folder / "train" / "wnut17train.conll",
        "dev": folder / "dev" / "emerging.dev.conll",
        "test": folder / "test" / "emerging.test.annotated",
    }
    rows = []
    for split, path in files.items():
        for number, sentence in enumerate(_sentences(path)):
            side = ("tune", "certify")[number % 2] if split == "dev" else split
            rows.append(_row(f"{split}-{number}", sentence, side, {name: name for name in WNUT_TYPES}))
    return _task("wnut17", WNUT_TYPES, rows)


def wikigold_task(data: Path) -> Task:
    path = data / "ner" / "wikigold" / "CONLL-format" / "data" / "wikigold.conll.txt"
    documents: list[list[Sentence]] = []
    for sentence in _sentences(path):
        if sentence[0][0] == _START:
            documents.append([])
        elif documents:
            documents[-1].append(sentence)
        else:
            documents.append([sentence])
    documents = [each for each in documents if each]
    order = list(range(len(documents)))
    random.Random(0).shuffle(order)
    side = dict.fromkeys(order, "train")
    waiting = iter(order)
    for split, wanted in WIKIGOLD_SHARES:
        taken = 0
        while taken < wanted:
            document = next(waiting)
            side[document] = split
            taken += len(documents[document])
    rows = [
        _row(f"{document}-{number}", sentence, side[document], WIKIGOLD_TYPES, group=f"document-{document}")
        for document, sentences in enumerate(documents)
        for number, sentence in enumerate(sentences)
    ]
    return _task("wikigold", tuple(WIKIGOLD_TYPES.values()), rows)


def tags_of(row: Row) -> list[str]:
    """IOB2 tags of a row's tokens, from its spans: the tokens are its text's words between single spaces."""
    tags, at = [], 0
    for token in row.text.split(" "):
        name = next((span for span in row.spans if span[1] <= at < span[2]), None)
        tags.append("O" if name is None else ("B-" if name[1] == at else "I-") + name[0])
        at += len(token) + 1
    return tags


def spans_of(tokens: list[str], tags: list[str]) -> tuple[SpanOf, ...]:
    """Entities in the text that the tokens make, by CoNLL's rules: B, or a change of type, begins one."""
    found: list[SpanOf] = []
    at, open_type = 0, ""
    for token, tag in zip(tokens, tags, strict=True):
        mark, _, name = tag.partition("-")
        end = at + len(token)
        if mark == "I" and name == open_type:
            found[-1] = (name, found[-1][1], end)
        elif mark in ("B", "I"):
            found.append((name, at, end))
        open_type = name if mark in ("B", "I") else ""
        at = end + 1
    return tuple(found)


def _task(name: str, types: tuple[str, ...], rows: list[Row]) -> Task:
    return Task(
        name=name,
        system="Find the named entities in a text and copy each, letter for letter, into the list of its type, in the "
        f"order of the text and as often as it stands there. Types: {', '.join(types)}.",
        user="Text: {text}",
        asks=json_schema("entities", {kind: one_or_more(True) for kind in types}),
        rows=tuple(rows),
        contract=CONTRACT,
    )


def _row(name: str, sentence: Sentence, split: str, types: dict[str, str], group: str = "") -> Row:
    tokens = [token for token, _ in sentence]
    tags = [tag if tag == "O" else tag[:2] + types[tag[2:]] for _, tag in sentence]
    text, spans = " ".join(tokens), spans_of(tokens, tags)
    answer: Answer = {}
    for kind, start, end in spans:
        answer.setdefault(kind, []).append(text[start:end])
    return Row(id=name, text=text, answer=answer, spans=spans, split=split, group=group)


def _sentences(path: Path) -> Iterator[Sentence]:
    """Sentences of a file with a token and its tag on each line, and blank lines between them."""
    sentence: Sentence = []
    for line in [*path.read_text(encoding="utf-8").splitlines(), ""]:
        parts = line.split()
        if len(parts) >= 2:
            sentence.append((parts[0], parts[-1]))
        elif sentence:
            yield sentence
            sentence = []
