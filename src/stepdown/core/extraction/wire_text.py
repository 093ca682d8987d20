"""Objects as JSON text on the wire, spaced and filled as the incumbent's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from stepdown.core.extraction.form import ARGUMENTS, TOOL, Form
from stepdown.core.extraction.messages import object_in
from stepdown.core.extraction.writing import written


def as_text(whole: Any, like: str) -> str:
    """An object as JSON text, spaced as `like` is."""
    lines = like.strip().split("\n")
    if len(lines) > 1 and lines[0].strip() in "{[":
        indent = len(lines[1]) - len(lines[1].lstrip())
        return json.dumps(whole, ensure_ascii=False, indent=indent or None)
    separators = (", ", ": ") if ": " in like else (",", ":")
    return json.dumps(whole, ensure_ascii=False, separators=separators)


def function_of(form: Form, call: Mapping[str, Any], pattern: str) -> dict[str, Any]:
    """A call as the wire has it: the tool's name, its arguments as JSON text, spaced and filled as in `pattern`."""
    old = object_in(pattern)
    like = {ARGUMENTS: old} if old is not None else {}
    arguments = written(form, call, like).get(ARGUMENTS, {})
    return {"name": call[TOOL], "arguments": as_text(arguments, pattern)}
