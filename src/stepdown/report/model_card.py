"""A model card in Markdown for a cascade. Headings: Mitchell et al. (2019), Model Cards for Model Reporting."""

from __future__ import annotations

import re

from stepdown.core.dataset import SPLITS
from stepdown.core.estimates import Estimate
from stepdown.core.evidence_words import evidence_facts
from stepdown.core.record import BuildRecord
from stepdown.core.statement import paragraphs, rest_sentence
from stepdown.report.format import (
    JOULES,
    MEGABYTES,
    PERCENT,
    SECONDS,
    SPACE,
    USD,
    Unit,
    clean,
    count,
    duration,
    hash_head,
    moment,
    plainly,
    quantity,
    show,
    wording,
)
from stepdown.report.loss_words import ERROR, loss_words
from stepdown.report.reading import (
    best_student,
    incumbent_name,
    kind_in_words,
    metric_rows,
    parts_known,
    read,
    rest_goes_to,
    rung_kinds,
    shown_speed,
)
from stepdown.report.sections.certificate import claim_figures, not_said
from stepdown.report.sections.students import learned_in_words
from stepdown.report.sentence import certified, verdict_sentence

WORST_LABELS = 10


def render_model_card(record: BuildRecord, note: str = "") -> str:
    """The card. note: a sentence on where the build comes from. Text is escaped, so that none of it becomes markup."""
    parts = [
        [
            f"# Model card: {escape_markdown(record.task)}",
            "",
            escape_markdown(verdict_sentence(record)),
            "",
            "\n\n".join(map(escape_markdown, [*paragraphs(record.certificate), *([note] if note else [])])),
        ],
        _details(record),
        _intended_use(record),
        _factors(record),
        _metrics(record),
        _evaluation_data(record),
        _training_data(record),
        _quantitative(record),
        _ethics(record),
        _caveats(record),
    ]
    return "\n\n".join("\n".join(part) for part in parts) + "\n"


def _details(record: BuildRecord) -> list[str]:
    certificate = record.certificate
    kinds = rung_kinds(record) or ["none"]
    rungs = [
        f"{escape_markdown(kind)} ({words})" if (words := kind_in_words(record, kind)) else escape_markdown(kind)
        for kind in kinds
    ]
    facts = [
        ("Task", f"{escape_markdown(record.task)}, family {escape_markdown(record.family)}"),
        (f"Rungs, then {rest_goes_to(record)}", "; ".join(rungs)),
        ("Incumbent", escape_markdown(record.incumbent.model)),
        ("Certificate", f"{certificate.verdict}, `{hash_head(certificate.digest)}`"),
        ("Cascade", f"`{_hash(certificate.cascade_hash)}`"),
        (
            "Built",
            f"{moment(record.created_at)} with stepdown {escape_markdown(record.stepdown_version)}, seed {record.seed}",
        ),
        ("Lapses", moment(certificate.expires_at) if certified(record) else "not in force"),
    ]
    return ["## Model details", "", *_bullets(facts)]


def _intended_use(record: BuildRecord) -> list[str]:
    name = escape_markdown(incumbent_name(record))
    return [
        "## Intended use",
        "",
        f"- Answers the recurring requests of {escape_markdown(record.task)} in place of {name}.",
        f"- {escape_markdown(rest_sentence(record.certificate))}",
        *_parts(record),
        "- Out of scope: other tasks, other prompts, and traffic unlike that of the evidence.",
    ]


def _parts(record: BuildRecord) -> list[str]:
    """What it can answer with, and what it leaves alone."""
    if record.part == "label":
        return [f"- Labels it can give: {count(parts_known(record))}. It gives no other."]
    filled = [role for role in record.roles if role.role != "text"]
    left = [role.field for role in record.roles if role.role == "text"] + list(record.refused)
    bullets = [f"- Fields it can fill: {count(len(filled))}. It fills no other."]
    if left:
        named = ", ".join(escape_markdown(name) for name in left[:WORST_LABELS])
        more = f" and {count(len(left) - WORST_LABELS)} more" if len(left) > WORST_LABELS else ""
        bullets.append(f"- Answers with one of these go to {escape_markdown(incumbent_name(record))}: {named}{more}.")
    return bullets


def _factors(record: BuildRecord) -> list[str]:
    slices = [claim.name for claim in record.certificate.claims if claim.name.startswith("slice:")]
    factors = (
        f"{count(len(slices))} slices were tested; each stands in the certificate."
        if slices
        else "No slice was asked for."
    )
    return [
        "## Factors",
        "",
        f"- {factors}",
        f"- Worst {record.part}s are listed under “Quantitative analyses”, read on "
        f"{escape_markdown(read(record).rows)}.",
    ]


def _metrics(record: BuildRecord) -> list[str]:
    contract = record.contract
    sure = quantity(contract.confidence, PERCENT)
    words = loss_words(record.loss)
    loss = (
        "Error is the share of wrong answers." if words == ERROR else f"The loss is {escape_markdown(words.as_loss)}."
    )
    allowed = f"at most {escape_markdown(words.difference(contract.margin))} than the incumbent at {sure} confidence"
    return [
        "## Metrics",
        "",
        f"- The contract: {allowed}, by {escape_markdown(record.certificate.evidence)} evidence.",
        f"- {loss}",
        f"- {escape_markdown(words.excess)} is the cascade's loss less the incumbent's on the same requests.",
        "- Every figure has its n and a two-sided interval; those marked *estimated* rest on an assumption.",
    ]


def _evaluation_data(record: BuildRecord) -> list[str]:
    counts, gold = record.dataset.counts, record.dataset.gold_counts
    rows = [
        f"- {name}: {count(counts[name])} rows, {count(gold.get(name, 0))} with gold"
        for name in SPLITS
        if name in counts
    ]
    return [
        "## Evaluation data",
        "",
        *rows,
        f"- Figures of students, {record.part}s and rows are read on {escape_markdown(read(record).rows)}; of the "
        "evidence there are the certificate's own numbers and no others.",
        "",
        "The evidence:",
        "",
        *_bullets([(name, escape_markdown(value)) for name, value in evidence_facts(record.certificate)]),
    ]


def _training_data(record: BuildRecord) -> list[str]:
    learned = [
        f"- {escape_markdown(student.kind)}: {escape_markdown(learned_in_words(student.learned_from))}, "
        f"in {duration(student.trained_s)}"
        for student in record.students
    ]
    steps = [
        f"- {escape_markdown(wording(step.name))}: {count(step.rows_in)} → {count(step.rows_out)} rows"
        + (f" ({escape_markdown(plainly(step.findings))})" if step.findings else "")
        for step in record.dataset.steps
    ]
    sources = ", ".join(escape_markdown(source) for source in record.dataset.sources) or "not recorded"
    permission = escape_markdown(record.dataset.permission) or "not recorded"
    return [
        "## Training data",
        "",
        f"- Sources: {sources}",
        f"- Permission to train on the incumbent's answers: {permission}",
        *learned,
        *steps,
    ]


def _quantitative(record: BuildRecord) -> list[str]:
    lines = [
        "## Quantitative analyses",
        "",
        "| figure | value | interval (95 % unless stated) | n | method |",
        "| --- | ---: | --- | ---: | --- |",
    ]
    lines += [_figure(name, estimate, unit) for name, estimate, unit in _figures(record) if estimate is not None]
    claims = record.certificate.claims[:50]
    if claims:
        lines += [
            "",
            "| claim | estimate | bound | limit | p | n | holds |",
            "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
        ]
        lines += [_claim_row(claim_figures(claim, loss_words(record.loss))) for claim in claims]
    quality = read(record).of(record.cascade.quality) if record.cascade else None
    if quality and quality.labels:
        worst = sorted(quality.labels, key=lambda row: (-row.error.value, row.name))[:WORST_LABELS]
        head = f"| worst {record.part}s | error | n | precision | recall | confused with |"
        lines += ["", head, "| --- | ---: | ---: | ---: | ---: | --- |"]
        lines += [
            f"| {escape_markdown(row.name)} | {quantity(row.error.value, PERCENT)} | {count(row.n)} | "
            f"{quantity(row.precision, PERCENT)} | {quantity(row.recall, PERCENT)} | "
            f"{escape_markdown(row.most_confused_with)} |"
            for row in worst
        ]
    return lines


def _figures(record: BuildRecord) -> list[tuple[str, Estimate | None, Unit]]:
    reading, cascade = read(record), record.cascade
    timed = shown_speed(record)
    student = best_student(record)
    quality = cascade.quality if cascade else student.quality if student else ()
    speed = timed[1] if timed else None
    return [
        ("Answered without the incumbent", cascade.offload if cascade else None, PERCENT),
        (reading.error_name, reading.shown_error(quality), PERCENT),
        (
            f"The incumbent's {reading.words.noun}",
            reading.shown_error(record.incumbent.quality) if reading.reference == "gold" else None,
            PERCENT,
        ),
        *((row.name, row.of(reading, quality), row.unit) for row in metric_rows(record)),
        ("Agreement with the incumbent", reading.agreement(quality), PERCENT),
        ("Latency p50", speed.latency_p50 if speed else None, SECONDS),
        ("Latency p95", speed.latency_p95 if speed else None, SECONDS),
        ("Memory", speed.memory_mb if speed else None, MEGABYTES),
        ("Energy per 1,000 requests", speed.energy_j_per_1k if speed else None, JOULES),
        ("Cost per 1,000 requests", cascade.cost_per_1k if cascade else None, USD),
        ("The incumbent's cost per 1,000", record.incumbent.cost_per_1k, USD),
    ]


def _figure(name: str, estimate: Estimate, unit: Unit) -> str:
    shown = show(estimate, unit)
    assert shown is not None
    value = shown.value + (" *estimated*" if shown.estimated else "")
    level = f" ({shown.confidence})" if shown.interval and abs(estimate.confidence - 0.95) > 1e-9 else ""
    cells = (
        escape_markdown(name),
        value,
        (shown.interval or "–") + level,
        count(shown.n),
        escape_markdown(shown.method),
    )
    return f"| {' | '.join(cells)} |".replace(SPACE, " ")


def _claim_row(claim: dict[str, str]) -> str:
    written = [escape_markdown(claim[name]) for name in ("name", "estimate", "bound", "limit", "p", "n", "verdict")]
    return f"| {' | '.join(written)} |".replace(SPACE, " ")


def _ethics(record: BuildRecord) -> list[str]:
    steps = [step for step in record.dataset.steps if "personal" in step.name.lower()]
    personal = "; ".join(escape_markdown(plainly(step.findings)) for step in steps) or "not looked for"
    return [
        "## Ethical considerations",
        "",
        f"- Personal data in the traffic: {personal}.",
        f"- May a request leave the machine: {escape_markdown(record.contract.privacy)}.",
        "- A student repeats the mistakes and the bias of the answers it learned from.",
        f"- Read the worst {record.part}s and the disagreements in the report before serving.",
    ]


def _caveats(record: BuildRecord) -> list[str]:
    return ["## Caveats and recommendations", "", *(f"- {escape_markdown(sentence)}" for sentence in not_said(record))]


def _bullets(facts: list[tuple[str, str]]) -> list[str]:
    return [f"- **{name}:** {value}" for name, value in facts]


def _hash(digest: str) -> str:
    return re.sub(r"[^0-9a-zA-Z]", "", hash_head(digest))


def escape_markdown(text: str) -> str:
    """Text as Markdown that shows it as it is, on one line."""
    joined = " ".join(clean(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]#|!~$])", r"\\\1", joined)
