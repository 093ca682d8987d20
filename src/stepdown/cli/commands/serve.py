"""stepdown serve: the gateway, in the large model's place."""

from __future__ import annotations

from pathlib import Path

import click
import msgspec

from stepdown.cli.console import Console
from stepdown.cli.options import common
from stepdown.project.home import open_home
from stepdown.serve.processes import serve


@click.command()
@click.option("--host", help="The address to listen on; 127.0.0.1 unless stepdown.toml says otherwise.")
@click.option("--port", type=click.IntRange(0, 65535), help="The port; 8080 unless stepdown.toml says otherwise.")
@click.option("--upstream", help="The large model's address, http(s)://HOST/v1, or replay: for recorded answers.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes on one port.")
@common
def command(
    host: str | None, port: int | None, upstream: str | None, workers: int, home: Path | None, console: Console
) -> int:
    """Answer in the large model's place on its own wire: students where a certificate allows, else the model itself.

    Point a client's base URL at http://HOST:PORT/v1. The upstream's key comes from STEPDOWN_UPSTREAM_KEY or
    stepdown.toml; without one the client's own key goes through. Every call is recorded.
    """
    opened = open_home(home)
    settings = opened.settings.gateway
    if upstream is not None:
        settings = msgspec.structs.replace(settings, upstream=upstream)
    if host is not None:
        settings = msgspec.structs.replace(settings, host=host)
    if port is not None:
        settings = msgspec.structs.replace(settings, port=port)

    def announce(address: str) -> None:
        console.say(f"Serving {opened.folder} on {address}/v1. Ctrl-C ends it.")
        if console.json:
            console.row({"address": address, "home": str(opened.folder), "workers": workers})

    return serve(opened, settings, workers, announce)
