"""The verbs, one file each; the folder is the list. Third parties add theirs by entry point."""

from __future__ import annotations

from typing import Protocol

import click

from stepdown.core.kinds import Kinds


class Verb(Protocol):
    """What a module in `cli/commands/` has."""

    command: click.Command


def commands() -> Kinds[Verb]:
    """Every command that is installed."""
    return Kinds("stepdown.cli.commands", "command")
