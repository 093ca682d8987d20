"""The entry point: finds the verbs, and turns every error into one paragraph and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from typing import Any

import click
import msgspec

import stepdown
from stepdown.cli.commands import commands
from stepdown.core.errors import StepdownError, nearest
from stepdown.core.kinds import missing_extra

TRACE = "STEPDOWN_TRACE"
PRIVATE = 0o077
"""What is written is its owner's alone: recorded calls, models and settings are nobody else's to read or change."""
ORDER = (
    "init",
    "import",
    "tasks",
    "task",
    "scan",
    "build",
    "report",
    "certificate",
    "builds",
    "promote",
    "rollback",
    "import-build",
    "answer",
    "status",
    "demo",
)


class Verbs(click.Group):
    """The verbs are the files of `commands/`, with "-" for "_", and those of third parties."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        found = [_shown(name) for name in commands().names()]
        return sorted(found, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        for names in (commands().built_in, commands().names):
            known = {_shown(name): name for name in names()}
            if cmd_name in known:
                command = commands().load(known[cmd_name]).command
                command.name = cmd_name
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name and not name.startswith("-") and self.get_command(ctx, name) is None:
            close = nearest(name, self.list_commands(ctx))
            hint = f" Did you mean {close!r}?" if close else ""
            raise click.UsageError(f"There is no command {name!r}.{hint} Known: {', '.join(self.list_commands(ctx))}.")
        return super().resolve_command(ctx, args)


def _shown(name: str) -> str:
    """A command's name as users type it."""
    return name.rstrip("_").replace("_", "-")


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--home", type=click.Path(path_type=Path, file_okay=False), help="The project folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON value on stdout instead of text.")
@click.version_option(stepdown.__version__, prog_name="stepdown")
@click.pass_context
def stepdown_command(context: click.Context, home: Path | None, as_json: bool) -> None:
    """From recorded LLM traffic to a certified cascade of small models."""
    shared = context.ensure_object(dict)
    shared.update(home=home, json=as_json or shared.get("json", False))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit: 0 done, 1 refused or failed, 2 wrong usage, 130 on Ctrl-C."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """The exit code of one command. Every error has become a paragraph on stderr, and JSON on stdout when asked."""
    shared: dict[str, Any] = {"json": "--json" in arguments}
    os.umask(PRIVATE)
    try:
        code = stepdown_command.main(arguments, prog_name="stepdown", standalone_mode=False, obj=shared)
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except (click.Abort, KeyboardInterrupt):
        stopped = "Stopped. What was finished is kept; the same command goes on from there."
        return _failed(stopped, "Interrupted", 130, shared)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)
        return 2
    except click.ClickException as error:
        return _failed(error.format_message(), type(error).__name__, 2, shared)
    except StepdownError as error:
        return _failed(str(error), type(error).__name__, error.exit_code, shared)
    except BrokenPipeError:
        sys.stderr.close()  # The reader of our output has gone; there is nobody to tell.
        return 1
    except MemoryError:
        return _failed(
            "Memory ran out. Try with a smaller --budget or on a larger machine.", "ResourceError", 1, shared
        )
    except OSError as error:
        return _failed(f"The system refused: {error.strerror or error} ({error.filename or ''}).", "OSError", 1, shared)
    except Exception as error:  # the outermost boundary: a mistake of ours is said in a paragraph too
        if os.environ.get(TRACE):
            raise
        missing = missing_extra(error) if isinstance(error, ModuleNotFoundError) else None
        if missing:
            return _failed(str(missing), type(missing).__name__, missing.exit_code, shared)
        where = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
        advice = f"This is a mistake in stepdown; nothing was published. {TRACE}=1 shows where it comes from."
        return _failed(f"{said[:1000]}. {advice}", "InternalError", 1, shared)


def _failed(message: str, kind: str, code: int, shared: dict[str, Any]) -> int:
    click.echo(f"stepdown: {' '.join(message.split())}", err=True)
    console = shared.get("console")
    # One JSON value on stdout: where the result is there already, the exit code and stderr say how it ended.
    if (console.json if console else shared["json"]) and not (console and console.has_result):
        click.echo(msgspec.json.encode({"error": {"kind": kind, "message": message, "exit_code": code}}).decode())
    return code


if __name__ == "__main__":
    main()
