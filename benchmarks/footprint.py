"""What serving takes: `pip install .` alone in a fresh environment, opening a cascade, answering, resident memory.

usage: python -m benchmarks.footprint HOME TASK [--python PYTHON]; HOME has a finished build of TASK.
Without arguments the demonstration is built first (90 s).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]

PROBE = """
import json, resource, sys, time
started = time.perf_counter()
from pathlib import Path
from stepdown.serve.answer import Answerer
from stepdown.project.home import open_home
imported = time.perf_counter()
answerer = Answerer(open_home(Path(sys.argv[1])), sys.argv[2])
opened = time.perf_counter()
for number in range(2000):
    decision = answerer.answer(f"Where is my card number {number}?")
heavy = [name for name in ("torch", "transformers", "sklearn", "scipy") if name in sys.modules]
print(json.dumps({"import_s": round(imported - started, 3), "open_s": round(opened - imported, 3),
    "resident_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000, 1), "heavy_imports": heavy,
    "rung": decision.rung}))
"""


def main() -> None:
    """Print the footprint as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("home", nargs="?", type=Path)
    parser.add_argument("task", nargs="?", default="banking-intent")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = chosen.home or build_demo(Path(scratch) / "demo")
        environment = Path(scratch) / "environment"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
        site = next(environment.glob("lib/python*/site-packages"))
        empty = size_mb(site)
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]
        subprocess.run([*install, str(site), "--no-compile", str(ROOT)], check=True)
        python = environment / "bin" / "python"
        probe = subprocess.run(
            [str(python), "-c", PROBE, str(home), chosen.task], stdout=subprocess.PIPE, check=True, text=True
        )
        installed = {"installed_mb": round(size_mb(site) - empty, 1), "torch": (site / "torch").exists()}
        print(json.dumps({**installed, **json.loads(probe.stdout)}))


def build_demo(home: Path) -> Path:
    """The demonstration's project folder, built."""
    subprocess.run([sys.executable, "-m", "stepdown", "demo", "--home", str(home)], check=True, stdout=sys.stderr)
    return home


def size_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
