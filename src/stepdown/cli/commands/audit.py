"""stepdown audit: the journal's head, kept elsewhere or signed, and the whole store against it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import click
import msgspec

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.core.canonical import canonical_json
from stepdown.core.errors import TamperedError
from stepdown.core.events import anchor_of
from stepdown.project.home import open_home, write_whole
from stepdown.project.integrity import audit
from stepdown.project.journal import check_present, check_replaceable, head_to_sign, read_anchor
from stepdown.project.signing import make_key, sign

_FILE = click.Path(path_type=Path, dir_okay=False)
_THERE = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.group()
def command() -> None:
    """Keep or sign the head of the journal, and check that the journal of later continues it."""


@command.command()
@click.option(
    "--out",
    type=_FILE,
    help="Write it to this file, best kept on another machine. A head that is there must be one that this journal "
    "continues; anything else is left as it is.",
)
@common
def anchor(out: Path | None, home: Path | None, console: Console) -> None:
    """Print the journal's head: how many events, the hash of the last one, its time.

    Whoever deletes or changes an event of before cannot make the journal continue this head.
    """
    opened = open_home(home)
    with opened.store() as store:
        found = anchor_of(check_present(opened, store))
        if out is not None and out.exists():
            check_replaceable(store, out)
    if out is not None:
        write_whole(out, canonical_json(found) + b"\n")
    console.say(canonical_json(found).decode())
    console.result(found)


@command.command()
@click.option("--anchor", "anchor_file", type=_THERE, help="A head that was kept: the journal must continue it.")
@click.option("--public-key", default="", help="Base64: the journal's head must be signed by this key.")
@common
def verify(anchor_file: Path | None, public_key: str, home: Path | None, console: Console) -> None:
    """Read everything: the journal, every build, every row and every recorded call, each against its hash."""
    given = read_anchor(anchor_file) if anchor_file else None
    with console.progress() as progress:
        found = audit(open_home(home), given, public_key, progress)
    for finding in found.findings:
        console.say(f"FAILED {finding}")
    console.result(found)
    if found.findings:
        raise TamperedError(
            f"{len(found.findings)} finding{'s' if len(found.findings) > 1 else ''}, the first: {found.findings[0]}",
            "Everything was written whole.",
            "Restore what is damaged from a backup.",
        )
    console.say(f"{found.events:,} events and {found.calls:,} calls are as they were written.")


@command.command()
@click.argument("key", type=_FILE)
@common
def keygen(key: Path, home: Path | None, console: Console) -> None:
    """Write a new private key for Ed25519 to the file KEY and print the public one.

    Keep KEY where the gateway cannot read it. The public key goes into stepdown.toml.
    """
    public = make_key(key)
    console.say(f'[audit]\npublic_key = "{public}"')
    console.result({"key": str(key), "public_key": public})


@command.command(name="sign")
@click.option("--key", required=True, type=_THERE, help="The private key, as `stepdown audit keygen` wrote it.")
@common
def sign_head(key: Path, home: Path | None, console: Console) -> None:
    """Check the journal, sign its head, and leave the signature in the project's folder."""
    opened = open_home(home)
    with opened.store() as store:
        signed = sign(key, partial(head_to_sign, opened, store))
    write_whole(opened.signature, canonical_json(signed) + b"\n")
    console.say(f"Signed the journal up to event {signed.anchor.events:,} ({signed.anchor.head[:16]}…).")
    console.result(msgspec.to_builtins(signed))
