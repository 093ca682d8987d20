"""Readers of gold and of judges' verdicts by call id: CSV or JSONL, plain or packed."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from stepdown.core.calls import Broken
from stepdown.core.canonical import canonical_json
from stepdown.core.errors import InputError, nearest
from stepdown.core.store import Gold, Verdict
from stepdown.traffic.json_records import Sizes, decoded, records
from stepdown.traffic.source import Source
from stepdown.traffic.tables import rows

SPLIT_NAMES = ("train", "tune", "dev", "certify", "test")

MOST_CONTRADICTED, FEW = 0.05, 4
"""The share of a file's ids that may have two different golds, and how many may where they are few in all."""

_SIZES = Sizes(16 * 1024 * 1024, 256 * 1024 * 1024)
_IDS = ("id", "call_id", "custom_id")
_GOLDS = ("gold", "label", "answer", "expected")
_YES = {"true", "yes", "y", "1", "accepted", "correct", "pass", "good"}
_NO = {"false", "no", "n", "0", "rejected", "incorrect", "wrong", "fail", "bad"}

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def read_gold(path: str) -> Iterator[Gold | Broken]:
    """Gold of a file with `id`, `gold` and, where its owner cares, `split` (train, tune or dev, certify, test).

    A second, different gold for one id is a Broken that names both lines; the first is kept. Raises InputError, at the
    end where so many contradict one another that no one knows which are right.
    """
    kept: dict[str, tuple[int, str]] = {}
    contradicted: dict[str, str] = {}
    for item in _rows(path, "gold"):
        if isinstance(item, Broken):
            yield item
            continue
        source, number, row = item
        if _is_open(row):
            continue
        gold = _gold(source, number, row)
        if isinstance(gold, Broken):
            yield gold
            continue
        held = _shown(gold)
        if gold.id not in kept:
            kept[gold.id] = (number, held)
            yield gold
        elif kept[gold.id][1] != held:
            first = kept[gold.id][0]
            reason = (
                f"gold for {gold.id!r} contradicts line {first} ({kept[gold.id][1]} there, {held} here); that is kept"
            )
            contradicted.setdefault(gold.id, f"{gold.id!r} (lines {first} and {number})")
            yield source.broken(number, reason, canonical_json(row))
    if len(contradicted) > max(FEW, MOST_CONTRADICTED * len(kept)):
        raise InputError(
            f"{path!r} has two different gold answers for {len(contradicted):,} of its {len(kept):,} ids: "
            f"{', '.join(list(contradicted.values())[:3])}.",
            "Which of them are right is unknown, so nothing of the file was imported.",
            "Check that ids are those of the calls, keep one row for each, and import it again.",
        )


def _shown(gold: Gold) -> str:
    """The gold, and its split where it has one: equal for rows that say the same."""
    value = canonical_json(_read(gold.gold)).decode()
    return f"{value} (split {gold.split})" if gold.split else value


def read_verdicts(path: str) -> Iterator[Verdict | Broken]:
    """Judges' verdicts of a file with `id` and one of `loss` (in [0, 1]), `accepted` (yes or no), `score` (in [0, 1]).

    answer: the answer that was judged, where it is not the incumbent's own. judge: who judged. Raises InputError.
    """
    for item in _rows(path, "verdict"):
        if isinstance(item, Broken):
            yield item
            continue
        source, number, row = item
        identity, loss = _text(_first(row, _IDS)), _loss(row)
        if not identity:
            yield source.broken(number, "the row has no id", canonical_json(row))
        elif loss is None:
            reason = "no loss or score in [0, 1], and no accepted of yes or no"
            yield source.broken(number, reason, canonical_json(row))
        else:
            answer = _read(row.get("answer")) if row.get("answer") != "" else None
            yield Verdict(id=identity, loss=loss, answer=answer, judge=_text(row.get("judge")))


def _rows(path: str, content: str) -> Iterator[tuple[Source, int, dict[str, Any]] | Broken]:
    """Rows as dictionaries. A file without rows is one Broken; one that is not there raises InputError."""
    source = Source(path)
    head = source.head()
    if not head:
        yield next((item for item in source.lines(1) if isinstance(item, Broken)), source.broken(0, "empty"))
        return
    if head.lstrip()[:1] not in {b"{", b"["}:
        header = head.split(b"\n", 1)[0].decode("utf-8", "replace")
        if not any(name in header.lower() for name in _IDS):
            raise InputError(
                f"{path!r} has the header {header.strip()[:100]!r}.",
                f"A file of {content}s has a column `id` and one with the {content} of that call.",
                "Name the columns so.",
            )
        for item in rows(source, _SIZES.line):
            yield item if isinstance(item, Broken) else (source, item[0], {_key(key): v for key, v in item[1].items()})
        return
    for record in records(source, _SIZES):
        row = record if isinstance(record, Broken) else decoded(source, *record, _decode)
        if isinstance(row, Broken):
            yield row
        elif isinstance(record, tuple):
            yield source, record[0], row


def _is_open(row: Mapping[str, Any]) -> bool:
    """Whether a row has a call and no gold yet, as rows of a labels file do until they are filled in."""
    there = [row[name] for name in _GOLDS if name in row]
    return bool(_text(_first(row, _IDS))) and bool(there) and all(one is None or one == "" for one in there)


def _gold(source: Source, number: int, row: Mapping[str, Any]) -> Gold | Broken:
    identity, gold = _text(_first(row, _IDS)), _first(row, _GOLDS)
    split = _text(row.get("split")).strip().lower()
    reason = ""
    if not identity:
        reason = "the row has no id"
    elif gold is None or gold == "":
        reason = f"no gold for {identity!r}"
    elif split and split not in SPLIT_NAMES:
        close = nearest(split, SPLIT_NAMES)
        hint = f"; did you mean {close!r}?" if close else ""
        reason = f"unknown split {split!r} (known: {', '.join(SPLIT_NAMES)}){hint}"
    if reason:
        return source.broken(number, reason, canonical_json(row))
    return Gold(id=identity, gold=gold, split=split, source=source.at(number))


def _read(gold: Any) -> Any:
    """An object is the same gold whether it stands as JSON or, as a table has it, as text."""
    if isinstance(gold, str) and gold.lstrip()[:1] == "{":
        try:
            return msgspec.json.decode(gold)
        except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
            return gold
    return gold


def _loss(row: Mapping[str, Any]) -> float | None:
    if (loss := _share(row.get("loss"))) is not None:
        return loss
    accepted = str(row.get("accepted", "")).strip().lower()
    if accepted in _YES | _NO:
        return float(accepted in _NO)
    score = _share(row.get("score"))
    return None if score is None else 1.0 - score


def _share(value: Any) -> float | None:
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        return None
    return number if 0.0 <= number <= 1.0 else None


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((row[name] for name in names if row.get(name) is not None), None)


def _text(value: Any) -> str:
    return str(value) if isinstance(value, str | int | float) else ""


def _key(name: str) -> str:
    return name.strip().lower()
