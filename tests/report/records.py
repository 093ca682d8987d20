"""Complete build records of every sort that a report must bear, made in memory."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import msgspec
import numpy as np

from stepdown.core.certificate import Certificate, Claim, Journalled, PathPoint, Population
from stepdown.core.contract import Contract
from stepdown.core.dataset import DatasetManifest, Step
from stepdown.core.estimates import Estimate
from stepdown.core.extraction.form import Role, Span
from stepdown.core.measurements import (
    Disagreement,
    FieldEscalation,
    FieldRow,
    LabelRow,
    Quality,
    ShownMetric,
    Speed,
    StudentMeasurement,
)
from stepdown.core.record import (
    BuildRecord,
    CascadeMeasurement,
    CurvePoint,
    Dropped,
    IncumbentMeasurement,
    Roi,
    RoiInput,
    Sensitivity,
)

NOVEMBER = 1_795_198_000.0
INJECTION = "<script>alert('1')</script>\"><img src=x onerror=alert(1)> & {{ 7 * 7 }} ]]> --> </style></title>"
MIXED = "تحويل الأموال 💸 \u202egnirts\u202c 转账 \x00\x1b[31m"

NAMES = [
    "activate_my_card",
    "age_limit",
    "apple_pay_or_google_pay",
    "atm_support",
    "automatic_top_up",
    "balance_not_updated_after_bank_transfer",
    "balance_not_updated_after_cheque_or_cash_deposit",
    "beneficiary_not_allowed",
    "cancel_transfer",
    "card_about_to_expire",
    "card_acceptance",
    "card_arrival",
    "card_delivery_estimate",
    "card_linking",
    "card_not_working",
    "card_payment_fee_charged",
    "card_payment_not_recognised",
    "card_payment_wrong_exchange_rate",
    "card_swallowed",
    "cash_withdrawal_charge",
    "cash_withdrawal_not_recognised",
    "change_pin",
    "compromised_card",
    "contactless_not_working",
    "country_support",
    "declined_card_payment",
    "declined_cash_withdrawal",
    "declined_transfer",
    "direct_debit_payment_not_recognised",
    "disposable_card_limits",
    "edit_personal_details",
    "exchange_charge",
    "exchange_rate",
    "exchange_via_app",
    "extra_charge_on_statement",
    "failed_transfer",
    "fiat_currency_support",
    "get_disposable_virtual_card",
    "get_physical_card",
    "getting_spare_card",
]


def estimate(value: float, half: float = 0.0, n: int = 3080, method: str = "Clopper-Pearson", **more: Any) -> Estimate:
    low = more.pop("low", value - half)
    high = more.pop("high", value + half)
    return Estimate(value=value, low=low, high=high, n=n, method=method, **more)


def labels(number: int) -> list[str]:
    return [*NAMES, *(f"intent_{index}" for index in range(len(NAMES), number))][:number]


def label_rows(names: list[str], error: float, incumbent: float | None, seed: int = 0) -> tuple[LabelRow, ...]:
    random = np.random.default_rng(seed)
    rows = []
    for index, name in enumerate(names):
        own = float(np.clip(random.exponential(error), 0, 0.8)) if index % 5 else 0.0
        theirs = None if incumbent is None else float(np.clip(random.normal(incumbent, 0.18), 0, 1))
        rows.append(
            LabelRow(
                name=name,
                n=40,
                error=estimate(own, n=40, low=max(0.0, own - 0.06), high=min(1.0, own + 0.1)),
                incumbent_error=None
                if theirs is None
                else estimate(theirs, n=40, low=max(0.0, theirs - 0.1), high=min(1.0, theirs + 0.12)),
                precision=1 - own * 0.8,
                recall=1 - own,
                f1=1 - own * 0.9,
                most_confused_with=names[(index + 7) % len(names)] if own else "",
            )
        )
    return tuple(rows)


def quality(
    error: float, disagreement: float, names: list[str], incumbent: float | None, gold: bool = True
) -> tuple[Quality, ...]:
    half = 1.96 * math.sqrt(max(error * (1 - error), 1e-4) / 3080)
    found = []
    if gold:
        found.append(
            Quality(
                split="test",
                reference="gold",
                metrics={
                    "error": estimate(error, half),
                    "macro_f1": estimate(error * 1.06, half * 1.2, method="bootstrap, 1,000 resamples"),
                    "calibration_error": estimate(0.018, 0.006, method="bootstrap, 1,000 resamples"),
                    "brier": estimate(error * 0.7, half),
                },
                labels=label_rows(names, error, incumbent),
            )
        )
    half = 1.96 * math.sqrt(disagreement * (1 - disagreement) / 3080)
    metrics = {"error": estimate(disagreement, half), "agreement": estimate(disagreement, half)}
    rows = () if gold else label_rows(names, disagreement, None)
    return (*found, Quality(split="test", reference="incumbent", metrics=metrics, labels=rows))


def speed(p50: float, cost: float, size: float, measured_energy: bool = False, seed: int = 0) -> Speed:
    random = np.random.default_rng(seed)
    latencies = p50 * np.exp(random.normal(0, 0.16, 1200)) + random.exponential(p50 * 0.08, 1200)
    middle, high = float(np.quantile(latencies, 0.5)), float(np.quantile(latencies, 0.95))
    return Speed(
        latency_p50=estimate(middle, middle * 0.012, n=1200, method="order statistics", unit="s"),
        latency_p95=estimate(high, high * 0.05, n=1200, method="order statistics", unit="s"),
        throughput=estimate(
            0.9 / p50, 0.04 / p50, n=5, method="5 passes over 1,000 texts, Student's t", unit="requests/s"
        ),
        memory_mb=estimate(120 + size * 1.4, 0.0, n=1, method="resident set, fresh process", unit="MB"),
        size_mb=size,
        energy_j_per_1k=estimate(
            p50 * 14_000,
            p50 * 5_000,
            n=1000,
            method="RAPL, package" if measured_energy else "15 W a core, 10 to 20 W",
            unit="J",
            estimated=not measured_energy,
        ),
        cost_per_1k=estimate(cost, cost * 0.3, n=1000, method="machine price by busy time", unit="USD", estimated=True),
        machine="2 cores at $0.05 to $0.10 an hour",
        latencies=tuple(float(value) for value in latencies),
    )


def student(
    kind: str,
    error: float,
    disagreement: float,
    options: dict[str, Any],
    gold: bool = True,
    names: list[str] | None = None,
) -> StudentMeasurement:
    return StudentMeasurement(
        kind=kind,
        artefact=kind.encode().hex().ljust(64, "0"),
        trained_s=options["trained"],
        learned_from={"gold": 0, "incumbent": 9003} if kind != "encoder" else {"gold": 1000, "incumbent": 9003},
        quality=quality(error, disagreement, names or labels(58), 0.269, gold),
        speed=speed(options["p50"], options["cost"], options["size"], seed=len(kind)),
        dominated_by=options.get("dominated", ""),
    )


def students(gold: bool = True) -> tuple[StudentMeasurement, ...]:
    return (
        student("linear", 0.118, 0.231, {"p50": 6.1e-5, "cost": 2.1e-6, "size": 6.4, "trained": 7.2}, gold),
        student(
            "token_cnn",
            0.127,
            0.248,
            {"p50": 9.5e-5, "cost": 3.2e-6, "size": 14.8, "trained": 9.8, "dominated": "linear"},
            gold,
        ),
        student("frozen", 0.081, 0.196, {"p50": 8.7e-4, "cost": 2.6e-5, "size": 22.9, "trained": 41.0}, gold),
        student("encoder", 0.064, 0.188, {"p50": 4.9e-4, "cost": 1.6e-5, "size": 14.1, "trained": 201.0}, gold),
    )


def curve(certified: bool = True) -> tuple[CurvePoint, ...]:
    points = []
    for index in range(1, 41):
        coverage = index / 40
        risk = 0.012 + 0.055 * coverage**3
        incumbent = 0.16 + 0.11 * coverage
        n = max(1, round(2000 * coverage))
        half = 1.96 * math.sqrt(risk * (1 - risk) / n)
        excess = coverage * (risk - incumbent)
        points.append(
            CurvePoint(
                coverage=coverage,
                risk=estimate(risk, n=n, low=max(0.0, risk - half), high=risk + half * 1.3),
                excess=estimate(excess, 0.018 * math.sqrt(coverage), n=2000),
                incumbent_risk=incumbent,
                certified=certified and index == 39,
            )
        )
    return tuple(points)


def path(chosen: int | None) -> tuple[PathPoint, ...]:
    return tuple(
        PathPoint(
            thresholds=(round(1 - index / 30, 3),),
            tune_offload=index / 30,
            tune_excess_loss=-0.2 * index / 30,
            offload=None if chosen is not None and index > chosen + 1 else index / 30,
            excess_loss=-0.19 * index / 30,
            bound=-0.15 * index / 30 + 0.01,
            p_value=1e-9 if chosen is None or index <= chosen else 0.2,
        )
        for index in range(31)
    )


def certificate(verdict: str = "certified", **changes: Any) -> Certificate:
    slices = tuple(
        Claim(
            name=f"slice:label={name}",
            estimate=-0.05,
            bound=0.04 if index else 0.13,
            limit=0.1,
            p_value=0.002 if index else 0.09,
            holds=index > 0,
            n=34,
            method="exact binomial, Holm",
            share=0.01,
        )
        for index, name in enumerate(labels(20))
    )
    values: dict[str, Any] = {
        "task": "banking-intent",
        "verdict": verdict,
        "reasons": ("Excess error is at most 1.3 points at 95 % confidence.",),
        "contract": {"margin": 0.02},
        "contract_hash": "1f" * 32,
        "cascade": {"version": 1, "task": "banking-intent", "rungs": [{"kind": "encoder", "threshold": 0.31}]},
        "cascade_hash": "2e" * 32,
        "dataset_hash": "3d" * 32,
        "evidence": "gold",
        "evidence_hash": "4c" * 32,
        "n": 2000,
        "attempt": 1,
        "error_share": 0.0304,
        "offload": 0.974,
        "claims": (
            Claim(
                name="excess-loss",
                estimate=-0.021,
                bound=0.013,
                limit=0.02,
                p_value=3.2e-6,
                holds=True,
                n=2000,
                method="betting on a martingale (WSR)",
                share=0.0304,
            ),
            Claim(
                name="latency-p95",
                estimate=0.00071,
                bound=0.00076,
                limit=0.02,
                p_value=1e-12,
                holds=True,
                n=1200,
                method="order statistics",
                share=0.01,
                unit="s",
            ),
            Claim(
                name="cost-per-1k",
                estimate=0.037,
                bound=0.041,
                limit=0.05,
                p_value=0.0004,
                holds=True,
                n=2000,
                method="Hoeffding on the offload",
                share=0.01,
                unit="USD",
            ),
            *slices,
        ),
        "path": path(28),
        "chosen": 28,
        "seed": 7,
        "issued_at": NOVEMBER,
        "expires_at": NOVEMBER + 30 * 86400,
    }
    return Certificate(**{**values, **changes})


def dataset(number: int = 58) -> DatasetManifest:
    return DatasetManifest(
        task="banking-intent",
        content_hash="3d" * 32,
        sources=("traffic.jsonl.gz", "gold.csv"),
        counts={"train": 7214, "tune": 1530, "certify": 2000, "test": 2010},
        gold_counts={"train": 0, "tune": 1530, "certify": 2000, "test": 2010},
        labels=tuple(labels(number)),
        steps=(
            Step(name="read", rows_in=13083, rows_out=13083, findings={"models": {"Qwen3-30B-A3B": 13083}}),
            Step(name="parse", rows_in=13083, rows_out=12961, findings={"unparsable": 17, "off_schema": 105}),
            Step(
                name="exact_duplicates",
                rows_in=12961,
                rows_out=12871,
                findings={"groups": 84, "conflicting_answers": 31},
            ),
            Step(
                name="near_duplicates", rows_in=12871, rows_out=12871, findings={"groups": 611, "rows_in_groups": 1394}
            ),
            Step(
                name="personal_data",
                rows_in=12871,
                rows_out=12871,
                findings={"email": 3, "phone": 12, "card_number": 1, "masked": False},
            ),
            Step(
                name="label_noise",
                rows_in=12871,
                rows_out=12754,
                findings={
                    "suspected_share": 0.087,
                    "left_out": 117,
                    "worst_pairs": ["card_arrival → card_delivery_estimate", "exchange_rate → exchange_charge"],
                },
            ),
        ),
        permission="Apache-2.0: the licence of the incumbent allows training on its outputs.",
        seed=7,
    )


def roi() -> Roi:
    return Roi(
        inputs=(
            RoiInput(
                name="calls_per_month",
                value=1_200_000,
                low=950_000,
                high=1_450_000,
                unit="calls",
                source="measured: 31 days of traffic",
            ),
            RoiInput(
                name="incumbent_usd_per_1k", value=1.42, low=1.42, high=1.42, unit="USD", source="priced: genai-prices"
            ),
            RoiInput(
                name="offload", value=0.974, low=0.966, high=0.981, unit="share", source="measured: certify, n = 2,000"
            ),
            RoiInput(
                name="machine_usd_per_month",
                value=36,
                low=22,
                high=73,
                unit="USD",
                source="assumed: two cores, $0.03 to $0.10 an hour",
            ),
            RoiInput(
                name="usd_per_label",
                value=0.15,
                low=0.05,
                high=1.0,
                unit="USD",
                source="assumed: crowd to in-house expert",
            ),
            RoiInput(
                name="engineer_hours", value=16, low=4, high=60, unit="hours", source="assumed: set-up and review"
            ),
            RoiInput(name="licence_usd_per_month", value=0, low=0, high=0, unit="USD", source="Apache-2.0"),
        ),
        saving_per_month=estimate(
            1583,
            n=10000,
            low=1240,
            high=1930,
            method="Monte Carlo over the inputs, 10,000 draws",
            unit="USD",
            estimated=True,
        ),
        one_off_cost=estimate(1000, n=10000, low=560, high=2400, method="Monte Carlo", unit="USD", estimated=True),
        payback_months=estimate(0.63, n=10000, low=0.33, high=1.7, method="Monte Carlo", unit="months", estimated=True),
        roi_12_months=estimate(18.0, n=10000, low=6.5, high=37.0, method="Monte Carlo", unit="ratio", estimated=True),
        hours_saved_per_month=estimate(212, n=10000, low=168, high=257, method="Monte Carlo", unit="h", estimated=True),
        energy_saved_kwh_per_month=None,
        sensitivity=(
            Sensitivity(name="calls_per_month", at_low=1244, at_high=1922),
            Sensitivity(name="machine_usd_per_month", at_low=1597, at_high=1546),
            Sensitivity(name="offload", at_low=1570, at_high=1595),
            Sensitivity(name="shadow_share", at_low=1583, at_high=1490),
        ),
    )


def disagreements(gold: bool = True) -> tuple[Disagreement, ...]:
    texts = [
        (
            "I still have not received my new card, I ordered over a week ago",
            "card_arrival",
            "card_delivery_estimate",
            "card_arrival",
        ),
        (
            "Why is my balance not showing the cheque I paid in this morning?",
            "balance_not_updated_after_cheque_or_cash_deposit",
            "balance_not_updated_after_bank_transfer",
            "balance_not_updated_after_cheque_or_cash_deposit",
        ),
        ("what is the rate you use when I change pounds to euros", "exchange_rate", "exchange_charge", "exchange_rate"),
        ("Is it possible to get a second card for my daughter", "getting_spare_card", "oos", "getting_spare_card"),
        ("The ATM took it", "card_swallowed", "card_swallowed_by_machine", "card_swallowed"),
        ("my contactless thing", "contactless_not_working", "card_not_working", "card_not_working"),
    ]
    return tuple(
        Disagreement(
            id=f"call-{index}",
            text=text,
            student=own,
            incumbent=theirs,
            gold=right if gold else None,
            confidence=0.97 - index / 50,
        )
        for index, (text, own, theirs, right) in enumerate(texts * 3)
    )


def certified(**changes: Any) -> BuildRecord:
    """What a build of the shipped traffic would leave."""
    best = speed(4.9e-4, 1.6e-5, 14.1, seed=7)
    values: dict[str, Any] = {
        "task": "banking-intent",
        "family": "classify",
        "created_at": NOVEMBER,
        "stepdown_version": "0.1.0",
        "seed": 7,
        "budget_s": 360.0,
        "seconds": {"read": 1.4, "curate": 9.1, "fit": 259.0, "measure": 31.0, "certify": 4.2, "report": 0.4},
        "contract": Contract(latency_p95_ms=20, cost_per_1k=0.05, slices=("label",)),
        "dataset": dataset(),
        "excluded": {"duplicate": 90, "label noise": 117, "off schema": 105, "unparsable": 17},
        "incumbent": IncumbentMeasurement(
            model="Qwen/Qwen3-30B-A3B",
            quality=(
                Quality(
                    split="test",
                    reference="gold",
                    metrics={"error": estimate(0.269, 0.0157), "macro_f1": estimate(0.291, 0.018)},
                ),
            ),
            cost_per_1k=estimate(1.42, 0.0, n=13083, method="price library", unit="USD", estimated=True),
            latency_p50=estimate(0.64, 0.02, n=13083, method="order statistics", unit="s"),
            latency_p95=estimate(1.31, 0.06, n=13083, method="order statistics", unit="s"),
            calls_per_month=estimate(1_200_000, 250_000, n=31, method="days of traffic"),
            price_source="genai-prices 0.0.30, qwen3-30b-a3b",
        ),
        "students": students(),
        "dropped": (
            Dropped(kind="encoder, 6 layers", why="Its 540 s of training would not fit in what is left of the budget."),
        ),
        "cascade": CascadeMeasurement(
            offload=estimate(0.974, 0.007, n=2010),
            quality=quality(0.063, 0.187, labels(58), 0.269),
            speed=best,
            cost_per_1k=estimate(
                0.037, 0.01, n=2010, method="machine price and escalations", unit="USD", estimated=True
            ),
            shares={"encoder": 0.974, "incumbent": 0.026},
        ),
        "risk_coverage": curve(),
        "certificate": certificate(),
        "roi": roi(),
        "disagreements": disagreements(),
        "environment": {
            "python": "3.11.7",
            "cores": 2,
            "processor": "x86_64",
            "onnxruntime": "1.23.0",
            "torch": "2.13.0",
        },
        "kinds": {"encoder": "a small encoder, fine-tuned"},
        "plan": {
            "ladder": ["linear", "token_cnn", "frozen", "encoder"],
            "threads": 1,
            "splits": {"train": 0.57, "tune": 0.12, "certify": 0.16, "test": 0.15},
        },
    }
    return BuildRecord(**{**values, **changes})


FIELDS = (
    Role(field="intent", role="closed", choices=("PlayMusic", "BookRestaurant", "GetWeather"), aligned=7214),
    Role(field="slots.artist", role="copied", aligned=1201, unaligned=14),
    Role(field="slots.album", role="copied", aligned=160, unaligned=3),
    Role(field="slots.party_size", role="copied", normaliser="numbers", aligned=812),
    Role(field="slots.restaurant_name", role="copied", normaliser="case and spaces", aligned=390, unaligned=41),
    Role(field="slots.city", role="copied", aligned=1622, unaligned=2),
    Role(field="slots.outdoor", role="closed", choices=(True, False), aligned=88),
    Role(field="slots.note", role="text", aligned=3, unaligned=41),
    Role(field="slots.never_seen", role="closed"),
)


def placed(text: str, **values: str) -> tuple[Span, ...]:
    """Spans of the values where they first stand in the text."""
    found = [(text.index(value), value, name) for name, value in values.items() if value in text]
    return tuple(Span(start, start + len(value), f"slots.{name}") for start, value, name in sorted(found))


def object_disagreement(
    number: int, text: str, ours: dict[str, Any], theirs: dict[str, Any], gold: Any
) -> Disagreement:
    def said(intent: str, slots: dict[str, str]) -> str:
        return msgspec.json.encode({"intent": intent, "slots": slots}).decode()

    return Disagreement(
        id=f"call-{number}",
        text=text,
        student=said("PlayMusic", ours),
        incumbent=said("PlayMusic", theirs),
        gold=None if gold is None else said("PlayMusic", gold),
        confidence=0.97 - number / 50,
        student_spans=placed(text, **ours),
        incumbent_spans=placed(text, **theirs),
    )


def object_disagreements(gold: bool = True) -> tuple[Disagreement, ...]:
    """Values that overlap, that stand nowhere, in emoji, in right-to-left text, far down in a long one."""
    texts: list[tuple[str, dict[str, str], dict[str, str], dict[str, str]]] = [
        (
            "play everything by the black keys from their brothers album",
            {"artist": "the black keys", "album": "brothers"},
            {"artist": "black keys", "album": "their brothers"},
            {"artist": "the black keys", "album": "brothers"},
        ),
        (
            "🎶👩‍👩‍👧 put on Björk's Homogenic 🎶",
            {"artist": "Björk"},
            {"artist": "Björk", "album": "Homogenic"},
            {"artist": "Björk", "album": "Homogenic"},
        ),
        (
            "احجز طاولة في مطعم السلام لأربعة أشخاص",
            {"restaurant_name": "السلام"},
            {"restaurant_name": "مطعم السلام", "party_size": "4"},
            {"restaurant_name": "مطعم السلام", "party_size": "4"},
        ),
        (
            "well " * 400 + "play some abba in rome",
            {"artist": "abba", "city": "rome"},
            {"album": "abba", "city": "rome"},
            {"artist": "abba", "city": "rome"},
        ),
        ('<b>play</b> & "sing"', {"artist": "<b>play</b>"}, {"artist": '& "sing"'}, {"artist": "nobody"}),
    ]
    return tuple(
        object_disagreement(number, text, ours, theirs, right if gold else None)
        for number, (text, ours, theirs, right) in enumerate(texts)
    )


def field_rows() -> tuple[LabelRow, ...]:
    return label_rows([role.field for role in FIELDS[:-1]], 0.09, 0.06, seed=4)


def extraction(loss: str = "exact-match", **changes: Any) -> BuildRecord:
    """Answers with fields: exact match is what the contract is about, and F1 of fields and spans are measured."""
    record = certified()
    assert record.cascade is not None
    shown = {
        "brier": ShownMetric(name="Brier score"),
        "error": ShownMetric(name="accuracy", complement=True),
        "exact_match": ShownMetric(name="exact match", complement=True),
        "field_f1": ShownMetric(name="field F1", complement=True),
        "span_f1": ShownMetric(name="span F1", complement=True),
        "valid_schema": ShownMetric(name="valid answers", complement=True),
    }

    def of_fields(quality: tuple[Quality, ...]) -> tuple[Quality, ...]:
        figures = {"exact_match": 0.12, "field_f1": 0.05, "span_f1": 0.06, "valid_schema": 0.0}
        more = {name: estimate(value, 0.01) for name, value in figures.items()}
        return tuple(
            msgspec.structs.replace(each, metrics=each.metrics | more, labels=field_rows() if each.labels else ())
            for each in quality
        )

    rungs = {"version": 1, "task": "assistant", "rungs": [{"kind": "tagger", "threshold": 0.31}]}
    students = tuple(
        msgspec.structs.replace(one, kind=kind, quality=of_fields(one.quality))
        for one, kind in zip(record.students[2:], ("crf", "tagger"), strict=True)
    )
    values: dict[str, Any] = {
        "task": "assistant",
        "family": "extract",
        "loss": loss,
        "shown": shown,
        "roles": FIELDS,
        "refused": {"slots.stops": "a list of objects"},
        "students": students,
        "cascade": msgspec.structs.replace(record.cascade, quality=of_fields(record.cascade.quality)),
        "certificate": certificate(cascade=rungs, claims=certificate().claims[:3]),
        "disagreements": object_disagreements(),
        "field_escalation": tuple(escalation(one.kind, one.artefact) for one in students),
    }
    return msgspec.structs.replace(record, **{**values, **changes})


def escalation(kind: str, artefact: str) -> FieldEscalation:
    return FieldEscalation(
        kind=kind,
        artefact=artefact,
        split="test",
        reference="gold",
        n=2010,
        margin=0.02,
        threshold=0.71,
        answers_whole=estimate(0.81, 0.02, n=2010),
        answers_complete=estimate(0.842, 0.02, n=2010),
        fields_whole=0.794,
        fields_single=0.951,
        lacking={"0": 0.842, "1": 0.11, "2": 0.031, "3 or more": 0.017},
        excess_whole=estimate(0.011, 0.01, n=2010),
        excess_single=estimate(-0.004, 0.01, n=2010),
        rows=tuple(
            FieldRow(name=row.name, n=row.n, error=row.error, calibration_error=0.02, accepted=1 - row.error.value)
            for row in field_rows()
        ),
    )


def refused_extraction() -> BuildRecord:
    """Mean field F1, and the cascade loses too much of it."""
    bad = refused_for_quality()
    return extraction("field-f1", certificate=bad.certificate, cascade=None, risk_coverage=(), roi=None)


def extraction_by_agreement() -> BuildRecord:
    """No gold, and answers that may be partly right."""
    alike = agreement()
    return extraction(
        "field-f1",
        contract=alike.contract,
        certificate=alike.certificate,
        disagreements=object_disagreements(gold=False),
    )


def refused_for_want_of_evidence() -> BuildRecord:
    short = Claim(
        name="excess-loss",
        estimate=-0.011,
        bound=0.047,
        limit=0.02,
        p_value=0.21,
        holds=False,
        n=140,
        method="betting (WSR)",
        share=0.0304,
    )
    return certified(
        certificate=certificate(
            "refused",
            reasons=("140 gold labels bound the excess error at 4.7 points; the contract allows 2.0.",),
            n=140,
            claims=(short,),
            path=path(None),
            chosen=None,
            labels_needed=620,
            offload=0.0,
            expires_at=0.0,
        ),
        risk_coverage=curve(certified=False),
        roi=None,
    )


def refused_for_quality() -> BuildRecord:
    bad = Claim(
        name="excess-loss",
        estimate=0.071,
        bound=0.088,
        limit=0.02,
        p_value=0.9999,
        holds=False,
        n=2000,
        method="betting (WSR)",
        share=0.0304,
    )
    return certified(
        certificate=certificate(
            "refused",
            reasons=(
                "No rung is good enough: at the strictest threshold the excess error is 7.1 points.",
                "Slice label=card_swallowed fails: 31 points.",
            ),
            claims=(bad,),
            path=path(None),
            chosen=None,
            offload=0.0,
        ),
        risk_coverage=(),
        cascade=None,
        roi=None,
    )


def agreement() -> BuildRecord:
    """No gold at all: the incumbent's answers are the only reference."""
    record = certified()
    assert record.cascade is not None
    claim = Claim(
        name="excess-loss",
        estimate=0.012,
        bound=0.018,
        limit=0.02,
        p_value=0.004,
        holds=True,
        n=2000,
        method="exact binomial",
        share=0.0304,
    )
    return msgspec.structs.replace(
        record,
        contract=Contract(against="agreement"),
        incumbent=msgspec.structs.replace(record.incumbent, quality=()),
        students=students(gold=False),
        cascade=msgspec.structs.replace(
            record.cascade, quality=quality(0.06, 0.187, labels(58), None, gold=False), offload=estimate(0.71, 0.02)
        ),
        certificate=certificate(evidence="agreement", claims=(claim,)),
        disagreements=disagreements(gold=False),
    )


def unpriced() -> BuildRecord:
    """Nothing is known of prices, volume or the incumbent's latency."""
    record = certified()
    assert record.cascade is not None
    return msgspec.structs.replace(
        record,
        incumbent=IncumbentMeasurement(model="local-llm", quality=record.incumbent.quality, cost_per_1k=None),
        cascade=msgspec.structs.replace(record.cascade, cost_per_1k=None),
        roi=None,
    )


def one_student() -> BuildRecord:
    return certified(
        students=students()[:1], dropped=(), disagreements=(), excluded={}, environment={}, plan={}, seconds={}
    )


def bare() -> BuildRecord:
    """A refusal before anything was trained."""
    return certified(
        students=(),
        dropped=(),
        cascade=None,
        risk_coverage=(),
        roi=None,
        disagreements=(),
        excluded={},
        seconds={},
        created_at=0.0,
        incumbent=IncumbentMeasurement(model="", quality=(), cost_per_1k=None),
        dataset=DatasetManifest(
            task="t", content_hash="", sources=(), counts={}, gold_counts={}, labels=(), steps=(), permission="", seed=0
        ),
        certificate=certificate("refused", reasons=(), claims=(), path=(), chosen=None, n=1, labels_needed=900),
    )


def extreme() -> BuildRecord:
    """Ten thousand labels, no errors, tiny n, figures without bound."""
    names = [f"a_rather_long_label_name_that_never_seems_to_end_and_has_no_spaces_{index}" for index in range(10_000)]
    record = certified(dataset=dataset(10_000))
    assert record.cascade is not None
    perfect = Quality(
        split="test",
        reference="gold",
        metrics={"error": estimate(0.0, n=2, low=0.0, high=0.84)},
        labels=label_rows(names, 0.3, 0.2),
    )
    endless = estimate(math.inf, n=0, low=0.0, high=math.inf)
    quick = msgspec.structs.replace(speed(1e-9, 1e-9, 0.001), latencies=(1e-9,) * 3, energy_j_per_1k=endless)
    claims = tuple(
        Claim(
            name=f"slice:label={name}",
            estimate=0.0,
            bound=math.inf,
            limit=0.1,
            p_value=1.0,
            holds=False,
            n=0,
            method="exact",
        )
        for name in names[:700]
    )
    return msgspec.structs.replace(
        record,
        cascade=msgspec.structs.replace(
            record.cascade, quality=(perfect,), speed=quick, cost_per_1k=estimate(0.0), offload=estimate(1.0, n=2)
        ),
        incumbent=msgspec.structs.replace(
            record.incumbent,
            quality=(msgspec.structs.replace(perfect, metrics={"error": estimate(1.0)}),),
            cost_per_1k=estimate(123456.0),
        ),
        risk_coverage=(
            CurvePoint(coverage=1.0, risk=estimate(0.0), excess=estimate(0.0), incumbent_risk=0.0, certified=True),
        ),
        certificate=certificate(claims=claims, attempt=10**6, error_share=1e-12, issued_at=1e30),
        created_at=1e300,
    )


def elsewhere(record: BuildRecord, *splits: str) -> BuildRecord:
    """The record with its figures on other splits, all of them alike."""

    def moved(qualities: tuple[Quality, ...]) -> tuple[Quality, ...]:
        return tuple(msgspec.structs.replace(each, split=split) for split in splits for each in qualities)

    assert record.cascade is not None
    return msgspec.structs.replace(
        record,
        incumbent=msgspec.structs.replace(record.incumbent, quality=moved(record.incumbent.quality)),
        students=tuple(msgspec.structs.replace(one, quality=moved(one.quality)) for one in record.students),
        cascade=msgspec.structs.replace(record.cascade, quality=moved(record.cascade.quality)),
    )


def on_tune() -> BuildRecord:
    """Without a test split."""
    return elsewhere(certified(), "tune")


def of_an_older_version() -> BuildRecord:
    """Students, curve and disagreements of the evidence, as written before nobody was to see them."""
    record = elsewhere(certified(), "tune", "certify")
    assert record.cascade is not None
    of_evidence = tuple(each for each in record.cascade.quality if each.split == "certify")
    return msgspec.structs.replace(record, cascade=msgspec.structs.replace(record.cascade, quality=of_evidence))


def drawn() -> BuildRecord:
    """With all that a certificate says of how its evidence was drawn, where nothing may leave the machine."""
    return certified(
        certificate=certificate(
            contract={"margin": 0.02, "confidence": 0.95, "privacy": "local-only", "loss": "error"},
            error_share=0.0375,
            offload_interval=(0.966, 0.981),
            unit="client_id",
            n=412,
            n_drawn=2000,
            n_labelled=312,
            population=Population(
                calls=13_083,
                units=2_900,
                first=NOVEMBER - 60 * 86400,
                last=NOVEMBER - 86400,
                draw="ab" * 32,
                drawn_at=NOVEMBER - 3600,
            ),
            excluded={"no readable answer": 17, "personal data": 3},
            journal=Journalled(head="9f" * 32, events=57, begun_at=NOVEMBER - 90 * 86400),
            dearest_call_usd=0.01,
        )
    )


def everywhere(text: str) -> BuildRecord:
    """The certified record with `text` in every field that is a text, names of mappings included."""
    found = _replace_texts(msgspec.to_builtins(certified()), text)
    found["contract"] = msgspec.to_builtins(certified().contract)
    found["certificate"]["verdict"] = "certified"
    found["certificate"]["cascade"] = {"rungs": [{"kind": text}]}
    for measured in (found["incumbent"], found["cascade"], *found["students"]):
        for index, each in enumerate(measured["quality"]):
            each["split"], each["reference"] = "test", ("gold", "incumbent")[index]
    return msgspec.convert(found, BuildRecord)


def _replace_texts(value: Any, text: str) -> Any:
    if isinstance(value, str):
        return text
    if isinstance(value, dict):
        keep = ("metrics", "counts", "learned_from")
        changed = {key: _replace_texts(inner, text) for key, inner in value.items()}
        for key in keep:
            if isinstance(changed.get(key), dict) and key != "metrics":
                changed[key] = {text: 5, **changed[key]}
        return changed
    if isinstance(value, list | tuple):
        return [_replace_texts(inner, text) for inner in value]
    return value


@cache
def every_sort() -> dict[str, BuildRecord]:
    return {
        "certified": certified(),
        "refused-evidence": refused_for_want_of_evidence(),
        "refused-quality": refused_for_quality(),
        "agreement": agreement(),
        "unpriced": unpriced(),
        "one-student": one_student(),
        "bare": bare(),
        "on-tune": on_tune(),
        "older": of_an_older_version(),
        "drawn": drawn(),
        "extreme": extreme(),
        "extraction": extraction(),
        "refused-extraction": refused_extraction(),
        "extraction-agreement": extraction_by_agreement(),
        "injection": everywhere(INJECTION),
        "mixed": everywhere(MIXED),
    }
