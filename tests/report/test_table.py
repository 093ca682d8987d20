"""The terminal's table, and its plain lines."""

from __future__ import annotations

import io
from types import ModuleType

from rich.console import Console

from stepdown.core.statement import statement
from stepdown.report.table import summary_lines, summary_table


def test_lines_say_the_same_as_the_table(records: ModuleType, sort: str) -> None:
    record = records.every_sort()[sort]
    console = Console(file=io.StringIO(), width=4000, color_system=None)
    console.print(summary_table(record))
    shown = console.file.getvalue().split()  # type: ignore[attr-defined]
    assert shown == " ".join(summary_lines(record)).split()


def test_every_option_has_a_line(records: ModuleType) -> None:
    lines = summary_lines(records.certified())
    assert lines[0].startswith("Certified. A 14 MB model")
    assert " ".join(lines[2:5]) == statement(records.certified().certificate)
    table = lines[6:]
    assert [line.split()[0] for line in table] == [
        "error",
        "Qwen3-30B-A3B",
        "cascade",
        "linear",
        "token_cnn",
        "frozen",
        "encoder",
    ]
    assert "dominated" in table[4]
    assert "26.9 %" in table[1]


def test_nothing_in_a_record_steers_the_terminal(records: ModuleType) -> None:
    hostile = records.everywhere("[bold red]x[/] \x1b[31m \u202eabc \r\n gone")
    console = Console(file=io.StringIO(), width=4000, force_terminal=True, color_system=None)
    console.print(summary_table(hostile))
    shown = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[bold red]x[/]" in shown
    for forbidden in ("\x1b[31m", "\u202e", "\r"):
        assert forbidden not in shown
        assert forbidden not in "".join(summary_lines(hostile))
    assert all("\n" not in line for line in summary_lines(hostile))
