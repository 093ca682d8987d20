"""Everything that can go wrong, as one tree.

    StepdownError                 exit 1: refused or failed
    ├── UsageError                exit 2: the command or a setting is wrong
    │   ├── ContractError         a contract that cannot be parsed
    │   └── UnknownKind           a kind, task or key that does not exist (says the nearest)
    ├── InputError                a file or record that cannot be read
    ├── NotEnoughData             too few examples, labels or evidence for what was asked
    ├── TamperedError             a hash does not match: names what changed
    ├── DifferentAnswersError     a student does not answer on this machine as it did where it was built
    ├── MissingExtra              an optional dependency is not installed
    ├── StoreError                the store cannot be opened, read or written
    └── ResourceError             disk, memory or time ran out

A message is one paragraph in three sentences: what was got, what was expected, what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class StepdownError(Exception):
    """A failure with a paragraph a user can act on. `exit_code` is what the command line ends with."""

    exit_code = 1

    def __init__(self, got: str, expected: str = "", next_step: str = "") -> None:
        self.got, self.expected, self.next_step = got, expected, next_step
        super().__init__(" ".join(part.strip() for part in (got, expected, next_step) if part))


class UsageError(StepdownError):
    """The command, an option or a setting is wrong."""

    exit_code = 2


class ContractError(UsageError):
    """A contract that cannot be parsed."""


class UnknownKind(UsageError):
    """A name that is not in the list it should come from."""

    def __init__(self, what: str, name: str, allowed: Iterable[str]) -> None:
        names = sorted(allowed)
        close = nearest(name, names)
        hint = f"Did you mean {close!r}?" if close else "Choose one of those."
        super().__init__(f"There is no {what} {name!r}.", f"Known: {', '.join(names) or 'none yet'}.", hint)


class InputError(StepdownError):
    """A file or record that cannot be read."""


class NotEnoughData(StepdownError):
    """Too few examples, labels or evidence for what was asked."""


class TamperedError(StepdownError):
    """Something on disk is not what its manifest says. Names what changed."""


class DifferentAnswersError(StepdownError):
    """A student does not answer on this machine as it did where it was built."""


class MissingExtra(StepdownError):
    """An optional dependency is not installed. distribution: of the package whose extra brings it."""

    def __init__(self, package: str, extra: str, needed_for: str, distribution: str = "stepdown") -> None:
        super().__init__(
            f"{needed_for} needs the package {package!r}, which is not installed.",
            f"It comes with the extra {extra!r}." if extra else "No extra brings it.",
            f"Run: pip install '{distribution}[{extra}]'" if extra else f"Install {package!r}.",
        )


@contextmanager
def needs(extra: str, needed_for: str) -> Iterator[None]:
    """Around imports of optional packages: MissingExtra where one is not installed.

    needed_for: as a sentence begins ("Training a token CNN").
    """
    try:
        yield
    except ImportError as error:
        raise MissingExtra((error.name or "").partition(".")[0], extra, needed_for) from None


class StoreError(StepdownError):
    """The store cannot be opened, read or written."""


class ResourceError(StepdownError):
    """Disk, memory or time ran out."""


def nearest(name: str, allowed: Iterable[str]) -> str | None:
    """The allowed name most like `name`, or None when nothing is close."""
    matches = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.5)
    return matches[0] if matches else None
