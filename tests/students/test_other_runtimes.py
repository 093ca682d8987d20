"""A kind from elsewhere that brings a runtime of its own: trained, sealed, audited and opened like the others."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

KIND = '''
"""longest: answers with the label that says most in common with the last message. Its runtime reads .gguf files."""

from dataclasses import dataclass

from stepdown.core.students import Lineage, Predictions, Runtime, Trained
from stepdown.students.tiny_task import tiny_task

FAMILIES, EXTRA, COST_ORDER = ("classify",), "", 0.1
RUNTIME = Runtime("longest.cpp", frozenset({".json", ".gguf"}))
SIGNAL_NAMES = ("top",)


@dataclass(frozen=True)
class Options:
    sure: float = 0.75
    """How sure it says that it is."""


class Longest:
    kind, signal_names = "longest", SIGNAL_NAMES

    def __init__(self, words, sure):
        self._words, self._sure = words, sure

    def answer(self, input):
        said = input.messages[-1]["content"].split()
        return max(self._words, key=lambda label: len(self._words[label] & set(said))), (self._sure,)

    def answer_many(self, inputs):
        answers = [self.answer(input) for input in inputs]
        return Predictions([answer for answer, _ in answers], [signals for _, signals in answers])


def train(data, options, context):
    words = {label: set() for label in data.labels}
    for input, target in zip(data.inputs, data.targets):
        words[target] |= set(input.text.split())
    lines = [" ".join([label, *sorted(each)]) for label, each in words.items()]
    (context.folder / "words.gguf").write_text("\\n".join(lines))
    return Trained((Lineage(step="train"),))


def open(folder, manifest, threads, device):
    lines = [line.split() for line in (folder / "words.gguf").read_text().splitlines()]
    return Longest({label: set(words) for label, *words in lines}, manifest.options["sure"])
'''
ASKED = """
from pathlib import Path

from longest import Options
from stepdown.core.errors import TamperedError
from stepdown.core.inputs import Input
from stepdown.core.students import TrainingContext
from stepdown.runtime.artefact import open_student
from stepdown.students.tiny_task import tiny_task
from stepdown.students.train import train_student

folder = Path("artefact")
folder.mkdir()
context = TrainingContext(folder, folder, 1, 1.0, 1, lambda what, share: None)
manifest = train_student("longest", tiny_task(), Options(), context)
print(manifest.kind, manifest.runtime, *manifest.files, manifest.learned_from["gold"])
messages = [{"role": "user", "content": "may I pay my late fee by card"}]
print(*open_student(folder).answer(Input("", {"messages": messages})))
(folder / "graph.onnx").write_text("of another runtime")
try:
    open_student(folder)
except TamperedError as error:
    print(error.got)
"""


def test_a_kind_with_a_runtime_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "longest.py").write_text(KIND)
    (tmp_path / "longest-1.0.dist-info").mkdir()
    (tmp_path / "longest-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: longest\nVersion: 1.0\n")
    (tmp_path / "longest-1.0.dist-info" / "entry_points.txt").write_text("[stepdown.student]\nlongest = longest\n")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    ran = subprocess.run(
        [sys.executable, "-c", ASKED],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    made, answered, refused = ran.stdout.splitlines()
    assert made == "longest longest.cpp words.gguf 308"
    assert answered == "fine (0.75,)"
    assert refused == "'graph.onnx' in artefact may not be part of an artefact for longest.cpp (.gguf, .json only)."
