"""The demonstration: the whole spine on real traffic that the project ships."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from stepdown.core.students import Progress
from stepdown.project.home import Home, make_folder, open_home, write_whole
from stepdown.project.import_traffic import ImportRequest, ImportResult, import_traffic
from stepdown.project.settings import FILE_NAME

TASK = "banking-intent"

SETTINGS = """\
# The demonstration's settings. The traffic is real (see NOTICE.txt in the package); the volume is an assumption.
training_permission = "MIT-licensed recordings of an Apache-2.0 model's answers"

[roi]
calls_per_month = 1000000

[tasks.banking-intent.contract]
margin         = 0.02
confidence     = 0.95
against        = "gold"
latency_p95_ms = 20
cost_per_1k    = 0.05
"""


def prepare(folder: Path, progress: Progress) -> tuple[Home, ImportResult]:
    """A project folder with the shipped traffic and gold; an existing folder is used as it is."""
    make_folder(folder)
    if not (folder / FILE_NAME).exists():
        write_whole(folder / FILE_NAME, SETTINGS)
    home = open_home(folder)
    data = files("stepdown") / "demo_data"
    request = ImportRequest(paths=[str(data / "traffic.jsonl.gz")], gold=[str(data / "gold.csv.gz")])
    return home, import_traffic(home, request, progress)
