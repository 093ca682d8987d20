"""Answers inputs with the models beside this file: the first model that is sure enough answers, else nobody does.

    python run.py "a text"               prints {"answer", "confidence", "rung"}, or {"escalate": true, "confidence"}
    python run.py '{"subject": "a text", "body": "another"}'   where the task has several inputs: each by its name
    python run.py --file rows.jsonl      the same for every row {"id", "input"}, with its id
    python run.py --insist "a text"      the surest model's answer where none is sure enough

It needs what requirements.txt lists, and nothing else. Before anything is loaded it is held against manifest.json.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and not (getattr(sys.flags, "safe_path", False) or sys.flags.isolated):
    del sys.path[0]  # What lies beside this file is not loaded, whatever it is called.

import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
PACKAGE = "stepdown"
CODE = (".py", ".pyc", ".pyd", ".pyw", ".so")
"""Endings of what Python loads."""


class Unusable(Exception):
    """An export that is not as it was written, or that cannot run here. Says what is wrong and what to do."""


def check(folder: Path = HERE) -> None:
    """Hold every file against the hash that manifest.json has for it. Raises Unusable, which names the file."""
    again = "Copy the whole folder again, or export it again."
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        files = {str(name): str(known) for name, known in manifest["files"].items()}
    except FileNotFoundError:
        raise Unusable(f"manifest.json is missing from {folder}, so that nothing can be checked. {again}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise Unusable(f"manifest.json in {folder} cannot be read ({type(error).__name__}). {again}") from None
    for name in ("run.py", "cascade.json", *sorted(files)):
        path = folder / name
        if name not in files or Path(name).is_absolute() or ".." in Path(name).parts:
            raise Unusable(f"manifest.json in {folder} does not list {name} as it should. {again}")
        if not path.is_file():
            raise Unusable(f"{name} is missing from {folder}. {again}")
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != files[name]:
                raise Unusable(f"{name} in {folder} is not what was exported: its hash is another. {again}")
    for path in _loadable(folder):
        if path.relative_to(folder).as_posix() not in files:
            raise Unusable(
                f"{path} is no part of this export, and would be loaded. Remove it, or copy the folder again."
            )


def _loadable(folder: Path) -> Iterator[Path]:
    """Modules and packages in the folder, all modules of the package in it, and links in that to folders elsewhere."""
    for path in sorted(folder.iterdir()):
        if path.suffix in CODE:
            yield path
        elif path.name != PACKAGE and (path / "__init__.py").exists():
            yield path / "__init__.py"
    for root, folders, files in os.walk(folder / PACKAGE):
        yield from (Path(root, name) for name in folders if Path(root, name).is_symlink())
        # Bytecode in __pycache__ is not read: see `load`.
        cached = Path(root).name == "__pycache__"
        yield from (Path(root, name) for name in files if name.endswith(CODE) and not (cached and name[-4:] == ".pyc"))


def load(folder: Path = HERE, checked: bool = False) -> Any:
    """The folder's cascade, opened: `load().answer(input)`. checked: whether the files were held against their hashes.

    The package that lies in the folder is the only thing that is ever loaded from it. Raises Unusable.
    """
    if not checked:
        check(folder)
    # Bytecode that lies beside the code is not its own for sure: it is neither read nor written.
    sys.pycache_prefix, sys.dont_write_bytecode = os.devnull, True
    start = folder / PACKAGE / "__init__.py"
    loaded = sys.modules.get(PACKAGE)
    if loaded is not None and loaded.__file__ != str(start):
        raise Unusable(f"This process has loaded {loaded.__file__} as {PACKAGE}. Run {folder} in a process of its own.")
    if loaded is None:
        spec = importlib.util.spec_from_file_location(PACKAGE, start, submodule_search_locations=[str(start.parent)])
        assert spec is not None
        assert spec.loader is not None
        sys.modules[PACKAGE] = package = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(package)
    try:
        program = importlib.import_module(f"{PACKAGE}.runtime.program")
        try:
            return program.Program(folder)
        except program.StepdownError as error:
            raise Unusable(str(error)) from None
    except ImportError as error:
        install = f"{sys.executable} -m pip install -r {folder / 'requirements.txt'}"
        what = "is not installed" if isinstance(error, ModuleNotFoundError) else f"cannot be loaded ({error})"
        raise Unusable(f"The package {error.name or '?'} {what}; this program needs it. Run: {install}") from None


def main() -> int:
    try:
        program = load()
    except (Unusable, OSError) as error:
        print(f"run.py: {error}", file=sys.stderr)
        return 1
    code: int = program.main(sys.argv[1:])
    return code


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    sys.exit(main())
