"""Invoices and receipts as text, ten layouts in four languages: what is certified, and what unseen layouts get.

    python -m benchmarks.documents [--budget 2m] [--seed N] [--each 200] [--write FOLDER] [--json FILE]

2,000 documents are made, the same ones every time; two layouts are held out. One in eight was scanned, letters misread.
The large model's answers have mistakes in about one of twenty-five, gold has none. Gold is known of the rows to tune on
and of those kept as evidence; students learn from the large model's answers alone. What is served then answers
documents of the seen layouts that were never imported, and all of those held out. --write puts the recorded calls and
gold into a folder and builds nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks._documents.incumbent import said
from benchmarks._documents.layouts import LAYOUTS
from benchmarks._extraction.task import SECONDS_APART, STARTED, Answer, json_schema
from stepdown.build.job import BuildRequest
from stepdown.build.pipeline import build
from stepdown.core.contract import parse_duration
from stepdown.core.inputs import inputs_of
from stepdown.core.served import INCUMBENT
from stepdown.project.home import open_home
from stepdown.project.import_traffic import ImportRequest, import_traffic
from stepdown.runtime.artefact import open_student
from stepdown.serve.answer import Answerer

NAME = "invoices"
MARGIN = 0.03
SPLITS = (("test", 0.125), ("certify", 0.3), ("tune", 0.15), ("train", 1.0))
"""Shares of the seen layouts' documents; the rest is learned from."""
SYSTEM = "Read the invoice or receipt. Dates are ISO 8601, the currency is an ISO 4217 code, amounts are numbers."
FORMAT = json_schema(
    "invoice",
    {
        "invoice_number": {"type": "string"},
        "order_number": {"type": ["string", "null"]},
        "invoice_date": {"type": "string"},
        "due_date": {"type": "string"},
        "currency": {"type": "string"},
        "net": {"type": "number"},
        "tax": {"type": "number"},
        "total": {"type": "number"},
    },
    ("invoice_number", "order_number", "invoice_date", "due_date", "currency", "net", "tax", "total"),
)


@dataclass(frozen=True)
class Document:
    """One of them. split: "unseen" for layouts that are held out."""

    id: str
    layout: str
    split: str
    text: str
    gold: Answer
    said: Answer


def documents(each: int, seed: int) -> list[Document]:
    """All documents, in the order in which they are asked about."""
    found = []
    for layout in LAYOUTS:
        for number in range(each):
            text, made = layout.document(number)
            name = f"{layout.name}-{number}"
            split = "unseen" if layout.held_out else _split(random.Random(f"{seed} {name}").random())
            gold = made.answer()
            found.append(Document(name, layout.name, split, text, gold, said(name, gold)))
    random.Random(seed).shuffle(found)
    return found


def _split(drawn: float) -> str:
    for name, share in SPLITS:
        if drawn < share or name == "train":
            return name
        drawn -= share
    return "train"


def request(text: str) -> dict[str, Any]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": f"Document:\n{text}"}]
    return {"model": "gpt-4o", "temperature": 0, "messages": messages, **FORMAT}


def call(document: Document, number: int) -> dict[str, Any]:
    """A line of native traffic."""
    content = json.dumps({"order_number": None, **document.said}, ensure_ascii=False)
    usage = {"prompt_tokens": 120 + len(document.text) // 3, "completion_tokens": len(content) // 3}
    message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}
    return {
        "id": document.id,
        "timestamp": STARTED + SECONDS_APART * number,
        "workload_id": NAME,
        "request": request(document.text),
        "response": {"id": f"r-{document.id}", "object": "chat.completion", "model": "gpt-4o", "choices": [message]}
        | {"usage": usage},
    }


def write(found: Sequence[Document], where: Path) -> tuple[Path, Path]:
    """The recorded calls, and gold of those to tune on and to prove with."""
    calls, gold = where / "calls.jsonl", where / "gold.jsonl"
    imported = [one for one in found if one.split not in ("test", "unseen")]
    lines = [json.dumps(call(one, number), ensure_ascii=False) for number, one in enumerate(imported)]
    calls.write_text("\n".join(lines) + "\n", encoding="utf-8")
    known = [one for one in imported if one.split != "train"]
    rows = [json.dumps({"id": one.id, "gold": one.gold, "split": one.split}, ensure_ascii=False) for one in known]
    gold.write_text("\n".join(rows) + "\n", encoding="utf-8")
    settings = f'[tasks.{NAME}.contract]\nmargin = {MARGIN}\nagainst = "gold"\nloss = "exact-match"\n'
    (where / "stepdown.toml").write_text(settings, encoding="utf-8")
    return calls, gold


@dataclass(frozen=True)
class Group:
    """Documents that what is served was asked about. answered: by it. wrong: of those. excess: of all documents, the
    share of its wrong answers less the large model's on the same ones. fields: wrong ones by name."""

    name: str
    rows: int
    answered: int
    wrong: int
    excess: float
    fields: dict[str, int]

    def line(self) -> str:
        offload = self.answered / max(1, self.rows)
        right = 1.0 - self.wrong / max(1, self.answered)
        return f"| {self.name} | {self.rows} | {offload:.1%} | {right:.2%} | {self.excess:+.4f} | {self.fields} |"


def measure(name: str, rows: Sequence[Document], answers: Sequence[Answer | None]) -> Group:
    """answers: None where the large model is asked."""
    given = [(row, answer) for row, answer in zip(rows, answers, strict=True) if answer is not None]
    wrong = [(row, answer) for row, answer in given if answer != row.gold]
    fields: Counter[str] = Counter()
    for row, answer in wrong:
        fields.update(key for key in row.gold.keys() | answer.keys() if row.gold.get(key) != answer.get(key))
    excess = len(wrong) - sum(row.said != row.gold for row, _ in given)
    return Group(name, len(rows), len(given), len(wrong), excess / max(1, len(rows)), dict(fields.most_common()))


def main() -> int:
    """Build, measure and print; 1 where nothing was certified."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--budget", default="2m")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--each", type=int, default=200)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    found = documents(chosen.each, chosen.seed)
    if chosen.write:
        chosen.write.mkdir(parents=True, exist_ok=True)
        write(found, chosen.write)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        return _run(found, Path(folder), chosen)


def _run(found: Sequence[Document], where: Path, chosen: argparse.Namespace) -> int:
    started = time.perf_counter()
    calls, gold = write(found, where)
    home = open_home(where)
    import_traffic(home, ImportRequest(paths=[str(calls)], gold=[str(gold)], gold_is="random-sample"), _quiet)
    wanted = BuildRequest(task=NAME, budget_s=parse_duration(chosen.budget), seed=chosen.seed, threads=chosen.threads)
    record, built = build(home, wanted, _quiet)
    certificate, task = record.certificate, built.read_task()
    print(f"{certificate.verdict}: offload {certificate.offload:.1%}, {certificate.excess_loss}; {certificate.reasons}")
    print(f"rows {record.dataset.counts}, {time.perf_counter() - started:.0f} s, {record.seconds}")
    for role in record.roles:
        print(
            f"  {role.field}: {role.role}, {role.normaliser}, {role.aligned} of {role.aligned + role.unaligned},"
            f" partly {role.partly}, sums {role.sums}, base {role.base} {role.terms}"
        )
    sides = {name: [one for one in found if one.split == name] for name in ("test", "unseen")}
    texts = {name: [_asked(task, one) for one in rows] for name, rows in sides.items()}
    groups = []
    for one in record.students:
        student = open_student(home.artefacts / one.artefact, threads=1)
        for name, rows in sides.items():
            said = student.answer_many(inputs_of(texts[name]))
            away = said.signals[:, list(student.signal_names).index("abstains")] >= 0.5
            answers = [None if left else answer for answer, left in zip(said.answers, away, strict=True)]
            groups.append(measure(f"{one.kind} alone, {name}", rows, answers))
    if certificate.verdict == "certified":
        answerer = Answerer(home, NAME)
        for name, rows in sides.items():
            decided = [answerer.answer(text) for text in texts[name]]
            answers = [None if each.rung == INCUMBENT else each.answer for each in decided]
            groups.append(measure(f"served, {name}", rows, answers))
            for layout in sorted({row.layout for row in rows}):
                own = [place for place, row in enumerate(rows) if row.layout == layout]
                groups.append(measure(f"  {layout}", [rows[at] for at in own], [answers[at] for at in own]))
    print("| documents | n | answered | right of these | excess loss | wrong fields |")
    print("| --- | --- | --- | --- | --- | --- |")
    print("\n".join(group.line() for group in groups))
    if chosen.json:
        chosen.json.write_text(json.dumps([asdict(group) for group in groups], indent=1) + "\n")
    return int(certificate.verdict != "certified")


def _asked(task: Any, document: Document) -> str:
    from stepdown.core.tasks import input_text

    value = task.template.cut(request(document.text)) if task.template else document.text
    return input_text(document.text if value is None else value)


def _quiet(what: str, share: float) -> None:
    """Progress that nobody watches."""


if __name__ == "__main__":
    sys.exit(main())
