"""What users bring that is not what was asked for: each ends in one paragraph, the right exit code, and no loss."""

from __future__ import annotations

import gzip
import io
import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Said, stepdown
from tests.cli.tickets import LINEAR_ONLY, TASK, label, lines, response, ticket, write_gold, write_tickets

BUILD = ("build", TASK, "--budget", "10s", "--json")


def said_well(said: Said, code: int, *words: str) -> None:
    """One paragraph on stderr that has these words, one JSON value on stdout, and this exit code."""
    assert said.code == code, said.err
    paragraphs = [line for line in said.err.splitlines() if line.startswith("stepdown: ")]
    assert len(paragraphs) == 1, said.err
    assert said.err.strip().endswith(paragraphs[0]), said.err
    for word in words:
        assert word in paragraphs[0]
    assert "Traceback" not in said.err
    assert len(said.out.splitlines()) == 1
    assert isinstance(said.json, dict)


def imported(home: Path, data: bytes, name: str = "calls.jsonl", *more: str) -> Said:
    (home / name).write_bytes(data)
    return stepdown("import", str(home / name), "--home", str(home), "--json", *more)


def count_calls(home: Path) -> int:
    return int(stepdown("status", "--home", str(home), "--json").json["calls"])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\n\n  \n", "1 broken record"),
        (lines(map(ticket, range(20))).decode().encode("utf-16"), "not UTF-8"),
        (random.Random(1).randbytes(50_000), "not UTF-8"),
        (b"{" * 200_000, "no format recognises"),
        (gzip.compress(lines(map(ticket, range(20))))[:30], "truncated"),
        (gzip.compress(b"")[:11], "truncated"),
        (b'{"request": {}, "response": {}}\n', "no list of messages"),
    ],
    ids=["empty", "blank", "utf-16", "random", "brackets", "gzip-cut", "gzip-head", "no-messages"],
)
def test_a_file_with_nothing_in_it_fails_and_says_why(tmp_path: Path, data: bytes, words: str) -> None:
    said = imported(tmp_path, data)
    said_well(said, 1, words, "calls.jsonl")
    assert said.json["calls"]["new"] == 0
    assert said.json["broken"] == 1


@pytest.mark.parametrize("broken", [b"{\n", b"\xff\xfe\n", b'{"id": "x"}\n', b"[" * 5000 + b"\n", b"null\n", b"\0\n"])
def test_a_broken_line_in_the_middle_costs_that_line_alone(tmp_path: Path, broken: bytes) -> None:
    half, rest = lines(map(ticket, range(150))), lines(map(ticket, range(150, 300)))
    said = imported(tmp_path, half + broken + rest)
    said_well(said, 0, "1 record", "line 151")
    assert said.json["calls"]["new"] == 300
    assert said.json["examples"][0]["line"] == 151


def test_a_broken_line_among_twenty_thousand(tmp_path: Path) -> None:
    data = lines(map(ticket, range(20_000))).replace(b'"id": "c12345"', b'"id": c12345')
    said = imported(tmp_path, data)
    said_well(said, 0, "line 12346")
    assert said.json["calls"]["new"] == 19_999
    again = imported(tmp_path, data)
    assert (again.json["calls"]["new"], again.json["calls"]["known"]) == (0, 19_999)
    mended = imported(tmp_path, data.replace(b'"id": c12345', b'"id": "c12345"'))
    assert (mended.json["calls"]["new"], mended.json["calls"]["known"]) == (1, 19_999)


def test_latin_1_in_some_lines_loses_only_those(tmp_path: Path) -> None:
    calls = [ticket(number, text=f"caf\xe9 {number}" if number % 10 == 0 else "") for number in range(100)]
    data = b"".join(json.dumps(call, ensure_ascii=False).encode("latin-1") + b"\n" for call in calls)
    said = imported(tmp_path, data)
    said_well(said, 0, "10 records", "not UTF-8")
    assert said.json["calls"]["new"] == 90


def test_a_gzip_cut_in_the_middle_gives_what_it_holds(tmp_path: Path) -> None:
    packed = gzip.compress(lines(map(ticket, range(2000))))
    said = imported(tmp_path, packed[: len(packed) // 2], "calls.jsonl.gz")
    said_well(said, 0, "truncated")
    assert 500 < said.json["calls"]["new"] < 1500
    assert count_calls(tmp_path) == said.json["calls"]["new"]


def test_a_line_of_fifty_megabytes_is_passed_over(tmp_path: Path) -> None:
    long = b'{"id":"long","request":{"messages":[{"role":"user","content":"' + b"x" * 50_000_000 + b'"}]}}\n'
    said = imported(tmp_path, lines(map(ticket, range(50))) + long + lines(map(ticket, range(50, 100))))
    said_well(said, 0, "line 51", "longer than")
    assert said.json["calls"]["new"] == 100


def test_standard_input_folders_and_what_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(lines(map(ticket, range(30))))))
    said = stepdown("import", "-", "--home", str(tmp_path), "--json")
    assert (said.code, said.json["calls"]["new"]) == (0, 30)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"")))
    said_well(stepdown("import", "-", "--home", str(tmp_path), "--json"), 1, "empty", "stdin")
    logs = tmp_path / "logs"
    logs.mkdir()
    said_well(stepdown("import", str(logs), "--home", str(tmp_path), "--json"), 1, "no file to read")
    write_tickets(logs / "a.jsonl", 40)
    (logs / "b.bin").write_bytes(b"\xff\x00" * 100)
    said = stepdown("import", str(logs), "--home", str(tmp_path), "--json")
    said_well(said, 0, "b.bin")
    assert said.json["calls"] == {"new": 10, "known": 30, "changed": 0}
    said_well(stepdown("import", str(tmp_path / "nope"), "--home", str(tmp_path), "--json"), 1, "nope")
    asked = ("import", str(logs), "--format", "nativ", "--home", str(tmp_path), "--json")
    said_well(stepdown(*asked), 2, "Did you mean 'native'?")


def test_a_known_id_with_other_content_is_counted_and_the_first_is_kept(tmp_path: Path) -> None:
    imported(tmp_path, lines(map(ticket, range(30))))
    said = imported(tmp_path, lines(ticket(number, text="other words") for number in range(30)))
    assert said.json["calls"] == {"new": 0, "known": 0, "changed": 30}
    assert count_calls(tmp_path) == 30


def test_gold_that_contradicts_itself_or_belongs_to_no_call(tmp_path: Path) -> None:
    imported(tmp_path, lines(map(ticket, range(30))))
    rows = "id,gold\nc1,refund\nnope,refund\nc1,praise\nc2,\n,refund\nc3,refund\n"
    (tmp_path / "gold.csv").write_text(rows)
    said = stepdown("import", "--gold", str(tmp_path / "gold.csv"), "--home", str(tmp_path), "--json")
    said_well(said, 0, "2 records", "contradicts line 2", "1 gold answer belongs to no call")
    assert said.json["gold"]["new"] == 3
    assert said.json["gold_without_call"] == 1
    (tmp_path / "gold.csv").write_text("id,gold\nc1,praise\n")
    said = stepdown("import", "--gold", str(tmp_path / "gold.csv"), "--home", str(tmp_path), "--json")
    assert said.json["gold"] == {"new": 0, "known": 0, "changed": 1}


@pytest.mark.parametrize(
    ("rows", "words"),
    [("", "empty"), ("name,value\na,b\n", "column `id`"), ("id,gold,split\nc1,refund,tets\n", "did you mean 'test'")],
)
def test_gold_that_cannot_be_read(tmp_path: Path, rows: str, words: str) -> None:
    (tmp_path / "gold.csv").write_text(rows)
    asked = ("import", "--gold", str(tmp_path / "gold.csv"), "--home", str(tmp_path), "--json")
    said_well(stepdown(*asked), 1, words)


def _no_answer(call: dict[str, Any]) -> None:
    call["response"] = None


def _error_body(call: dict[str, Any]) -> None:
    call["response"] = {"error": {"message": "overloaded", "type": "server_error"}}


def _tool_call(call: dict[str, Any]) -> None:
    tool = {"id": "t", "type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    call["response"] = response({"content": None, "tool_calls": [tool]})


def _image(call: dict[str, Any]) -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    call["request"]["messages"][1]["content"] = [{"type": "text", "text": "What is this?"}, image]


def _too_long(call: dict[str, Any]) -> None:
    message = call["request"]["messages"][1]
    message["content"] = "word " * 20_001 + message["content"]


SPOILT: dict[str, Callable[[dict[str, Any]], None]] = {
    "no response": _no_answer,
    "error instead of a response": _error_body,
    "tool call instead of an answer": _tool_call,
    "image in the request": _image,
    "input too long": _too_long,
}


def test_calls_that_cannot_be_learned_from_are_left_out_with_their_reason(tmp_path: Path) -> None:
    calls = [ticket(number) for number in range(400)]
    for place, spoil in enumerate(SPOILT.values()):
        for call in calls[place::20]:
            spoil(call)
    (tmp_path / "stepdown.toml").write_text(LINEAR_ONLY)
    assert imported(tmp_path, lines(calls)).json["calls"]["new"] == 400
    # Gold for calls that are not here and gold that contradicts itself on one text: neither stops the build.
    gold = [f"c{number},{label(number)}\n" for number in range(400)] + ["elsewhere,refund\n"]
    (tmp_path / "gold.csv").write_text("id,gold\n" + "".join(gold))
    stepdown("import", "--gold", str(tmp_path / "gold.csv"), "--home", str(tmp_path))
    said = stepdown(*BUILD, "--home", str(tmp_path))
    assert said.json["verdict"] in ("certified", "refused"), said.err
    record = json.loads(next(tmp_path.glob(".stepdown/builds/*/0*/record.json")).read_bytes())
    # An answer that is a tool call is a loss of the incumbent's where gold is known; the others say nothing of it.
    excluded = {reason: 20 for reason in SPOILT if reason != "tool call instead of an answer"}
    assert record["excluded"] == excluded
    counts = record["dataset"]["counts"]
    assert counts["examples"] + counts["excluded"] == counts["calls"] == 400
    assert record["dataset"]["gold_counts"]["for_unknown_calls"] == 1


@pytest.mark.parametrize(
    ("calls", "words"),
    [
        ([ticket(number, answer="refund") for number in range(60)], "same answer"),
        ([ticket(0), ticket(1)], "too few to tell"),
        ([ticket(number) for number in range(15)], "At least 20 different inputs"),
        ([ticket(number, text="one and the same text") for number in range(60)], "At least 20 different inputs"),
    ],
    ids=["one-label", "two-examples", "fifteen", "one-input"],
)
def test_too_little_to_learn_from_is_refused_before_any_training(
    tmp_path: Path, calls: list[dict[str, Any]], words: str
) -> None:
    imported(tmp_path, lines(calls))
    said_well(stepdown(*BUILD, "--home", str(tmp_path)), 1, words)
    said_well(stepdown("scan", TASK, "--home", str(tmp_path), "--json"), 1, words)
    assert not list(tmp_path.glob(".stepdown/builds/*/0*"))
    # More traffic settles it: nothing that was concluded from too little is remembered.
    imported(tmp_path, lines(map(ticket, range(1000, 1200))))
    assert stepdown("scan", TASK, "--home", str(tmp_path), "--json").code == 0


def test_ten_thousand_labels_are_refused_plainly(tmp_path: Path) -> None:
    imported(tmp_path, lines(ticket(n, f"item {n} please", f"label-{n % 10_000}") for n in range(10_500)))
    said_well(stepdown(*BUILD, "--home", str(tmp_path)), 1, "closed set")
    (tmp_path / "stepdown.toml").write_text('[tasks.tickets]\nfamily = "classify"\n')
    said_well(stepdown("scan", TASK, "--home", str(tmp_path), "--json"), 1, "different answers", "at most 2,000")
    said_well(stepdown(*BUILD, "--home", str(tmp_path)), 1, "different answers", "at most 2,000")


def test_a_margin_that_cannot_be_met_is_refused_with_reasons_and_exit_code_1(tmp_path: Path) -> None:
    (tmp_path / "stepdown.toml").write_text(LINEAR_ONLY)
    imported(tmp_path, write_tickets(tmp_path / "t.jsonl", 200).read_bytes())
    stepdown("import", "--gold", str(write_gold(tmp_path / "gold.csv", 200)), "--home", str(tmp_path))
    said = stepdown(*BUILD, "--margin", "0", "--confidence", "0.999", "--home", str(tmp_path))
    said_well(said, 1, "refusal", "incumbent keeps answering")
    assert said.json["verdict"] == "refused"
    assert said.json["reasons"]
    assert said.json["excess_loss"]["n"] > 0
    answered = stepdown("answer", TASK, "hello", "--home", str(tmp_path), "--json")
    assert answered.json == {"id": "1", "answer": None, "confidence": 0.0, "rung": "incumbent"}
    assert "refused" in answered.err


@pytest.mark.parametrize(
    ("toml", "words"),
    [
        (b"[tasks.tickets.contract]\nmargn = 0.1\n", ("tasks.tickets.contract", "'margn'", "'margin'")),
        (b'[tasks.tickets.contract]\nmargin = "little"\n', ("tasks.tickets", "margin")),
        (b"[tasks.tickets.contract]\nmargin = 2.0\n", ("margin = 2.0", "[0, 1)")),
        (b'[tasks.tickets.contract]\nagainst = "golden"\n', ("against", "golden")),
        (b'[tasks.tickets.contract]\nexpires_after = "soon"\n', ("'soon'", "duration")),
        (b"[tasks.tickets.contract]\nslices = 5\n", ("slices",)),
        (b"[tasks.tickets]\nfamly = 1\n", ("'famly'", "'family'")),
        (b'[tasks.tickets]\nfamily = "clasify"\n', ("'clasify'", "'classify'")),
        (b'[tasks.tickets]\nmatch = { worklod = "x" }\n', ("'worklod'", "'workload'")),
        (b"[task.tickets]\n", ("'task'", "'tasks'")),
        (b"[machine]\nusd_per_huor = 1\n", ("'usd_per_huor'", "'usd_per_hour'")),
        (b"[roi]\ncalls_per_moth = 1\n", ("'calls_per_moth'", "'calls_per_month'")),
        (b'[roi]\ncalls_per_month = "many"\n', ("calls_per_month",)),
        (b"tasks = 5\n", ("tasks = 5",)),
        (b"margin = \n", ("stepdown.toml", "line 1")),
        (b"# caf\xe9\n", ("stepdown.toml", "UTF-8")),
        (b'store = "sqlit:x"\n', ("'sqlit'", "'sqlite'")),
    ],
)
def test_settings_that_cannot_be_parsed_name_the_key_and_the_nearest(
    tmp_path: Path, toml: bytes, words: tuple[str, ...]
) -> None:
    write_tickets(tmp_path / "t.jsonl", 30)
    assert stepdown("import", str(tmp_path / "t.jsonl"), "--home", str(tmp_path)).code == 0
    (tmp_path / "stepdown.toml").write_bytes(toml)
    said_well(stepdown(*BUILD, "--home", str(tmp_path)), 2, *words)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("bild", TASK), 2, "Did you mean 'build'?"),
        (("build", TASK, "--bugdet", "3s"), 2, "Did you mean '--budget'?"),
        (("build", TASK, "--budget", "soon"), 2, "duration"),
        (("build", TASK, "--margin", "1.5"), 2, "--margin"),
        (("build", "tickts"), 2, "Did you mean 'tickets'?"),
        (("scan", "tickts"), 2, "Did you mean 'tickets'?"),
        (("build",), 2, "TASK"),
        (("import",), 2, "nothing to import"),
        (("answer", TASK), 2, "TEXT"),
        (("answer", TASK, "hello"), 1, "Run: stepdown build tickets"),
        (("report", TASK), 1, "no finished build"),
        (("certificate", "verfy", TASK), 2, "'verify'"),
        (("certificate", "verify", TASK), 1, "no finished build"),
    ],
)
def test_wrong_usage_names_the_nearest(tmp_path: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    write_tickets(tmp_path / "t.jsonl", 30)
    stepdown("import", str(tmp_path / "t.jsonl"), "--home", str(tmp_path))
    said_well(stepdown("--home", str(tmp_path), "--json", *arguments), code, words)


def test_a_home_that_is_not_there_or_no_folder(tmp_path: Path) -> None:
    said_well(stepdown("status", "--home", str(tmp_path / "nope"), "--json"), 2, "not a folder")
    (tmp_path / "file").write_text("")
    for verb in (("status",), ("init",), ("import", "-")):
        said_well(stepdown(*verb, "--home", str(tmp_path / "file"), "--json"), 2, "is a file")
    assert not (tmp_path / "nope").exists()
    assert stepdown().code == 2
