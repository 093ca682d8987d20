"""Asks an exported program, in a process of its own that has nothing but what the export says it needs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stepdown.core.dataset import Answer
from stepdown.core.errors import StepdownError

_TIMEOUT_S = 3600.0
_TIMING_S = 1.5
_ALSO = {
    "tokenizers": ("huggingface_hub",),
    "onnxruntime": ("packaging", "flatbuffers", "google", "coloredlogs"),
    "jsonschema": ("attr", "attrs", "jsonschema_specifications", "referencing", "rpds", "typing_extensions"),
}
"""What those packages may import of their own dependencies."""


class ProgramAnswer(NamedTuple):
    """What one exported model says to n texts. signals: (n, k). confidences: (n,). seconds: (n,), NaN if not timed."""

    answers: list[Answer]
    signals: NDArray[np.float64]
    confidences: NDArray[np.float64]
    seconds: NDArray[np.float64]


def ask(folder: Path, requires: Sequence[str], texts: Sequence[str], timed: Sequence[int] = ()) -> list[ProgramAnswer]:
    """What every model of the export in `folder` says to all texts, by the code that is exported.

    requires: the packages it may import. timed: rows to time one by one afterwards. Raises StepdownError, with the
    program's own last words, when it fails.
    """
    allowed = [*requires, *(also for package in requires for also in _ALSO.get(package, ()))]
    question: dict[str, object] = {"folder": str(folder.resolve()), "allowed": allowed, "texts": list(texts)}
    question |= {"timed": [int(row) for row in timed], "seconds": _TIMING_S}
    one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        # -I: neither this project's folder nor any variable adds to what can be imported; -B: nothing is left behind.
        done = subprocess.run(  # noqa: S603 - this interpreter and a script of the house
            [sys.executable, "-I", "-B", str(Path(__file__).with_name("run_exported.py"))],
            input=json.dumps(question).encode(),
            capture_output=True,
            timeout=_TIMEOUT_S,
            check=True,
            env={**os.environ, **one_thread, "TOKENIZERS_PARALLELISM": "false"},
        )
        found = json.loads(done.stdout.splitlines()[-1])
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired, ValueError, IndexError) as failure:
        words = (getattr(failure, "stderr", None) or b"").decode("utf-8", "replace").strip().splitlines()
        raise StepdownError(
            f"The exported program in {folder} failed: {words[-1] if words else failure}.",
            "It must answer on its own, with the packages that its manifest lists.",
            "This is a mistake in the export; keep serving with stepdown, and report it.",
        ) from None
    return [
        # float64 takes what was not timed, None, as NaN.
        ProgramAnswer(one["answers"], *(np.array(one[name], np.float64) for name in ProgramAnswer._fields[1:]))
        for one in found
    ]
