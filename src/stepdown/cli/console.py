"""What a command says: results on stdout, progress on stderr; a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
import msgspec
from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from stepdown.core.students import Progress as Report

PLAIN_EVERY_S = 5.0
UNBOUND_COLUMNS = 200
"""The width of tables where stdout is no terminal and COLUMNS says nothing."""

_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
"""What a terminal obeys. Names and answers come from clients: none of them moves the cursor or sets a title."""


class Console:
    """json: one JSON value on stdout at the end instead of text. Where stderr is no terminal, progress is plain lines,
    at most one every few seconds within a stage. has_result: whether stdout has its JSON already, so that an error that
    ends the command is said on stderr alone."""

    def __init__(self, json: bool) -> None:
        self.json = json
        self.has_result = False
        self._err = Terminal(stderr=True, highlight=False, soft_wrap=not sys.stderr.isatty())
        # A pipe or a file has no width: tables are not folded for it at that of an old terminal.
        width = None if sys.stdout.isatty() or os.environ.get("COLUMNS") else UNBOUND_COLUMNS
        self._out = Terminal(highlight=False, soft_wrap=not sys.stdout.isatty(), width=width)

    @property
    def is_terminal(self) -> bool:
        """Whether text goes to a person's terminal."""
        return self._out.is_terminal

    def say(self, text: Any = "") -> None:
        """Text or a rich renderable for people; nothing in JSON mode."""
        if not self.json:
            if isinstance(text, str):
                self._out.print(_CONTROL.sub("\ufffd", text), markup=False)
            else:
                self._out.print(text)

    def note(self, text: str) -> None:
        """A line on stderr, in every mode."""
        self._err.print(_CONTROL.sub("\ufffd", text), markup=False)

    def result(self, value: Any) -> None:
        """The command's result; printed in JSON mode only, as one line of JSON."""
        if self.json:
            self.row(value)

    def row(self, value: Any) -> None:
        """One line of JSON on stdout, in every mode: a result of which there are many."""
        self.has_result = True
        click.echo(msgspec.json.encode(value).decode())

    @contextmanager
    def progress(self) -> Iterator[Report]:
        """Something to call with (what, share done in [0, 1])."""
        if self._err.is_terminal:
            with self._bar() as report:
                yield report
        else:
            yield self._lines()

    @contextmanager
    def _bar(self) -> Iterator[Report]:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self._err, transient=True) as bar:
            line = bar.add_task("", total=1.0)

            def report(what: str, share: float) -> None:
                bar.update(line, description=what, completed=share, total=1.0 if share > 0 else None)

            yield report

    def _lines(self) -> Callable[[str, float], None]:
        started = time.monotonic()
        last_stage, last_at = "", 0.0

        def report(what: str, share: float) -> None:
            nonlocal last_stage, last_at
            now = time.monotonic()
            stage = what.split(":", 1)[0]
            if stage != last_stage or now - last_at >= PLAIN_EVERY_S:
                done = f" {share:.0%}" if 0 < share < 1 else ""
                self.note(f"[{now - started:6.1f} s] {what}{done}")
                last_stage, last_at = stage, now

        return report
