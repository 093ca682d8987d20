"""What commands say to a terminal: names and answers come from clients and must not be obeyed by it."""

from __future__ import annotations

import pytest

from stepdown.cli.console import Console


def test_names_move_no_cursor_and_set_no_title(capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(json=False)
    console.say("a\x1b]0;OWNED\x07b\x9b2Jc\nd")
    console.note("e\x1b[2Jf")
    said = capsys.readouterr()
    assert said.out == "a\ufffd]0;OWNED\ufffdb\ufffd2Jc\nd\n"
    assert said.err == "e\ufffd[2Jf\n"
