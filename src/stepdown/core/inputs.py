"""An input: what a student is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


class Passage(msgspec.Struct, frozen=True):
    """A text that an answer may rest on. source: which document it is from, "" where that is unknown."""

    text: str
    source: str = ""


class Input(msgspec.Struct, frozen=True, omit_defaults=True):
    """One input to a student, which must not change it.

    text: the variable part of a request as one text (`tasks.input_text`). request: the whole of it in OpenAI chat shape
    (messages, tools, response_format, …); None where only the text is known. passages: what is to be read for the
    answer, the best first.
    """

    text: str
    request: Mapping[str, Any] | None = None
    passages: tuple[Passage, ...] = ()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The request's messages; the text as the user's only message where there is no request."""
        return [{"role": "user", "content": self.text}] if self.request is None else list(self.request["messages"])


def inputs_of(texts: Iterable[str]) -> list[Input]:
    """Inputs that are texts and nothing else."""
    return [Input(text) for text in texts]
