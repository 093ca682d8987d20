"""stepdown import: columns named on the command line, and exports of other tools, each found by looking."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import stepdown

EXPORTS = Path(__file__).parents[1] / "traffic" / "exports"
TABLE = "nr;frage;antwort;wer;gespräch\n1;Wie?;so;anna;g-1\n2;Wo?;da;ben;g-1\n"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "fragen.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def test_a_table_with_names_of_its_own_says_how_to_name_its_columns(tmp_path: Path, table: Path) -> None:
    said = stepdown("import", table, "--home", tmp_path)
    assert said.code == 1
    assert "(nr, frage, antwort, wer, gespräch) with --prompt-column and --answer-column" in said.err


def test_columns_are_named_on_the_command_line(tmp_path: Path, table: Path) -> None:
    named = ("--prompt-column", "frage", "--answer-column", "antwort", "--id-column", "nr", "--client-column", "wer")
    home = tmp_path
    said = stepdown("import", table, "--home", home, "--json", "--task", "fragen", *named)
    assert (said.code, said.json["calls"]["new"], said.json["workloads"]) == (0, 2, {"fragen": 2})
    again = stepdown("import", table, "--home", home, "--json", "--task", "fragen", *named)
    assert (again.json["calls"]["new"], again.json["calls"]["known"]) == (0, 2)


def test_a_column_that_is_not_there_is_said_once_with_those_that_are(tmp_path: Path, table: Path) -> None:
    said = stepdown("import", table, "--home", tmp_path, "--prompt-column", "frage", "--answer-column", "antwrt")
    assert said.code == 1
    assert said.out.count("there is no column 'antwrt'") == 1
    assert "there are nr, frage, antwort, wer, gespräch; did you mean 'antwort'?" in said.err


def test_columns_and_a_format_that_has_none_are_wrong_usage(tmp_path: Path, table: Path) -> None:
    said = stepdown("import", table, "--home", tmp_path, "--prompt-column", "frage", "--format", "native")
    assert said.code == 2
    assert "'native' has no option 'prompt_column'" in said.err


def test_bounds_are_flags_and_leave_the_formats_to_be_found(tmp_path: Path) -> None:
    export = EXPORTS / "otel-openai-2.4b0.jsonl"
    said = stepdown("import", export, "--home", tmp_path, "--json", "--max-line-bytes", "100")
    assert said.json["broken"] == 12
    assert "longer than 100 bytes" in said.json["examples"][0]["reason"]


def test_a_folder_of_exports_is_read_each_by_its_tool_and_again_adds_nothing(tmp_path: Path) -> None:
    first = stepdown("import", EXPORTS, "--home", tmp_path, "--json")
    # Seven of LiteLLM, eight traces' calls of MLflow, 7 + 7 + 5 + 5 spans; the same trace of MLflow is in two files.
    assert (first.code, first.json["calls"]["new"], first.json["calls"]["known"]) == (0, 38, 1)
    # LiteLLM's embedding, five calls without text, and the page that says what these files are.
    assert first.json["broken"] == 7
    assert "kept aside" in first.err
    again = stepdown("import", EXPORTS, "--home", tmp_path, "--json")
    assert (again.json["calls"]["new"], again.json["calls"]["changed"]) == (0, 0)


@pytest.mark.parametrize("path", sorted(EXPORTS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_an_export_may_come_from_stdin(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    for name in "ab":
        (tmp_path / name).mkdir()
    piped = stepdown("import", "-", "--home", tmp_path / "a", "--json")
    read = stepdown("import", path, "--home", tmp_path / "b", "--json")
    for said in (piped, read):
        if said.json.get("error"):
            assert "no text was captured" in said.err
    assert piped.json.get("calls") == read.json.get("calls")
    assert piped.json.get("broken") == read.json.get("broken")
