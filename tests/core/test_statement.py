"""What a certificate proves, in words: every fact that it rests on is said, and nothing else is promised."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from stepdown.core.certificate import Certificate, Claim, Journalled, Population, Verdict
from stepdown.core.contract import Evidence
from stepdown.core.evidence_words import evidence_facts
from stepdown.core.figures import percent, share
from stepdown.core.statement import headline, statement

MARCH, APRIL = 1_772_400_000.0, 1_776_700_000.0
"""1 March and 20 April 2026."""


def claim(name: str = "excess-loss", **changes: Any) -> Claim:
    values: dict[str, Any] = {
        "name": name,
        "estimate": -0.021,
        "bound": 0.013,
        "limit": 0.02,
        "p_value": 1e-6,
        "holds": True,
        "n": 1850,
        "method": "betting",
    }
    return Claim(**{**values, **changes})


def certificate(verdict: Verdict = "certified", **changes: Any) -> Certificate:
    done = verdict == "certified"
    values: dict[str, Any] = {
        "task": "banking-intent",
        "verdict": verdict,
        "reasons": (),
        "contract": {"margin": 0.02, "confidence": 0.95, "loss": "exact-match"},
        "contract_hash": "1f" * 32,
        "cascade": {"rungs": []},
        "cascade_hash": "2e" * 32,
        "dataset_hash": "3d" * 32,
        "evidence": "gold",
        "evidence_hash": "4c" * 32,
        "n": 1850,
        "attempt": 2,
        "error_share": 0.0076,
        "offload": 0.731 if done else 0.0,
        "offload_interval": (0.71, 0.751) if done else None,
        "claims": (claim(holds=done, bound=0.013 if done else 0.031),),
        "path": (),
        "chosen": 0 if done else None,
        "labels_needed": None if done else 1240,
        "issued_at": APRIL,
        "expires_at": APRIL + 30 * 86400 if done else 0.0,
        "unit": "client_id",
        "n_drawn": 2000,
        "n_labelled": 312,
        "population": Population(
            calls=13_083,
            units=2_900,
            first=MARCH,
            last=APRIL,
            draw="ab" * 32,
            drawn_at=APRIL,
            window="calls of May only",
        ),
        "excluded": {"personal data": 3, "no readable answer": 17},
        "journal": Journalled(head="9f" * 32, events=57, begun_at=MARCH),
    }
    return Certificate(**{**values, **changes})


def old(verdict: Verdict = "certified", **changes: Any) -> Certificate:
    """As written before certificates said what their evidence was drawn from."""
    values: dict[str, Any] = {
        "unit": "call",
        "n_drawn": 0,
        "n_labelled": 0,
        "population": Population(),
        "excluded": {},
        "journal": Journalled(),
    }
    return certificate(verdict, **{**values, **changes})


def test_a_certificate_says_what_is_proved_of_whom_and_how_surely() -> None:
    text = statement(certificate())
    for fact in (
        "In place of the incumbent",
        "excess loss (1 − exact match) is at most +0.02 on average over calls drawn like these",
        "on the evidence: −0.021",
        "at 95 % confidence (attempt 2 on this evidence, tested at 99.24 %)",
        "given that gold is right",
        "2,000 calls in 1,850 independent units (clients)",
        "drawn by stepdown, at random, from 13,083 calls in 2,900 units",
        "1 March 2026 to 20 April 2026, UTC",
        "only a part of the traffic: calls of May only",
        "312 of them have a gold label",
        "20 calls that could not be drawn: no readable answer 17, personal data 3",
        "73.1 % of the calls in the evidence",
        "between 71.0 and 75.1 % of calls like these, at 99.24 % confidence",
        "What no rung is sure of goes to the incumbent.",
        "It lapses on 20 May 2026",
        "head 9f9f9f9f9f9f, after 57 events since 1 March 2026",
    ):
        assert fact in text, fact


def test_a_refusal_says_what_could_not_be_shown_and_on_what() -> None:
    text = statement(certificate("refused"))
    assert "It could not be shown at 95 % confidence (attempt 2 on this evidence, tested at 99.24 %)" in text
    assert "at most +0.02 on average" in text
    assert "Nothing changes: the incumbent, or what answered before, goes on answering." in text
    assert "2,000 calls in 1,850 independent units (clients)" in text
    assert "About 1,240 more labels would be needed" in text
    for promise in ("lapses", "In place of", "of the calls in the evidence"):
        assert promise not in text
    assert headline(certificate("refused")).startswith("Not shown at 95 % confidence")


@pytest.mark.parametrize("verdict", get_args(Verdict))
@pytest.mark.parametrize("kind", get_args(Evidence))
@pytest.mark.parametrize("unit", ["call", "client_id", "metadata.document"])
@pytest.mark.parametrize("make", [certificate, old])
@pytest.mark.parametrize("privacy", ["any", "local-only"])
def test_no_certificate_promises_what_is_not_proved(
    verdict: Verdict, kind: str, unit: str, make: Any, privacy: str
) -> None:
    contract = {"margin": 0.02, "confidence": 0.95, "privacy": privacy}
    made = make(verdict, evidence=kind, unit=unit, contract=contract)
    told = [headline(made), statement(made), *(value for pair in evidence_facts(made) for value in pair)]
    for text in told:
        for wrong in ("nothing else", "of requests", "renews", "valid at this n", "live evidence", " nan", "None", "{"):
            assert wrong not in text, (wrong, text)
        assert "  " not in text
    assert statement(made).endswith(".")
    assert ("recorded" in statement(made)) == (make is old)
    assert ("goes to the incumbent" in statement(made)) == (verdict == "certified" and privacy == "any")
    assert ("left unanswered" in statement(made)) == (verdict == "certified" and privacy == "local-only")


def test_agreement_bounds_the_excess_from_above_and_needs_no_gold() -> None:
    text = statement(certificate(evidence="agreement", n_labelled=0))
    assert "disagreement with the incumbent bounds the excess from above" in text
    assert "cannot be read count against the cascade" in text
    assert "given that gold is right" not in text
    assert "gold label" not in text
    # Until then, calls whose incumbent answer could not be read were left out.
    assert "cannot be read" not in statement(old(evidence="agreement"))


@pytest.mark.parametrize(("asymptotic", "said"), [(True, "asymptotic: a normal approximation"), (False, "finite")])
def test_judged_evidence_says_whether_its_bound_is_asymptotic(asymptotic: bool, said: str) -> None:
    text = statement(certificate(evidence="judged", claims=(claim(asymptotic=asymptotic),)))
    assert said in text
    assert "312 of them have gold" in text


@pytest.mark.parametrize(
    ("assumption", "said"),
    [
        ("random-sample", "assumed: the owner of the gold says that it is a random sample"),
        ("split-column", "assumed: the split column of the gold names the evidence"),
    ],
)
def test_what_stepdown_did_not_draw_is_an_assumption(assumption: str, said: str) -> None:
    made = certificate(population=Population(calls=500, units=500, assumption=assumption))
    assert f"drawn not by stepdown, from 500 calls in 500 units (dates unknown); {said}" in statement(made)
    assert "by stepdown, at random" not in statement(made)
    assert said in dict(evidence_facts(made))["Drawn"]


def test_gold_for_every_call_is_drawn_from_by_stepdown() -> None:
    made = certificate(population=Population(calls=500, units=500, assumption="all"))
    assert "drawn by stepdown, at random, from 500 calls" in statement(made)
    assert "every one of these calls had gold then" in statement(made)
    assert "assumed" not in statement(made)


def test_where_all_there_is_was_taken_nothing_is_said_to_be_drawn_at_random() -> None:
    whole = Population(calls=2000, units=2000, first=MARCH, last=APRIL)
    made = certificate(unit="call", n=2000, population=whole)
    assert "The evidence is all 2,000 calls (" in statement(made)
    assert ", each an independent unit." in statement(made)
    assert "at random" not in statement(made)
    made = certificate(n=300, population=Population(calls=2000, units=300))
    assert "The evidence is all 2,000 calls in 300 units (dates unknown)." in statement(made)


def test_calls_that_are_units_of_their_own_are_not_counted_twice() -> None:
    made = certificate(unit="call", n=2000, population=Population(calls=13_083, units=13_083, first=MARCH, last=APRIL))
    assert "2,000 calls, each an independent unit, drawn by stepdown, at random, from 13,083 calls (" in statement(made)


def test_the_other_claims_are_said_with_what_they_rest_on() -> None:
    claims = (
        claim(),
        claim("latency-p95", limit=20.0, estimate=0.7, unit="ms"),
        claim("cost-per-1k", limit=0.05, estimate=0.04, unit="USD"),
        *(claim(f"slice:label={number}", limit=0.1) for number in range(3)),
    )
    text = statement(certificate(claims=claims, dearest_call_usd=0.01))
    assert "95 % of the answers given without the incumbent take at most 20 ms on this machine, at rest" in text
    assert "1,000 calls cost at most $0.05 on average" in text
    assert "no call to the incumbent costs more than $0.01" in text
    assert "each of 3 slices has at most +0.1 on average" in text
    failed = (claim(), claim("slice:label=1", limit=0.1, holds=False), claim("latency-p95", limit=9.0, holds=False))
    text = statement(certificate("refused", claims=failed))
    assert "that 1 slice keeps to +0.1" in text
    assert "at most 9 ms" in text
    assert "+0.02" not in text


def test_a_refusal_without_a_test_gives_its_reason() -> None:
    made = certificate("refused", claims=(), reasons=("No student could be tried.",), labels_needed=None)
    assert "Nothing was shown at 95 % confidence" in statement(made)
    assert "No student could be tried. Nothing changes: the incumbent, or what" in statement(made)


def test_the_table_of_the_evidence_has_every_fact() -> None:
    facts = dict(evidence_facts(certificate(dearest_call_usd=0.01)))
    assert facts["Kind"].startswith("gold")
    assert facts["Population"] == "13,083 calls in 2,900 units"
    assert facts["Dates"] == "1 March 2026 to 20 April 2026, UTC"
    assert facts["Drawn"].startswith("by stepdown, at random, on 20 April 2026")
    assert facts["Independent unit"] == "clients"
    assert facts["Units tested"] == "1,850"
    assert facts["Calls drawn"] == "2,000"
    assert facts["Calls with gold"] == "312"
    assert facts["Attempt on this evidence"] == "2"
    assert facts["Error share of this attempt"] == "0.76 %"
    assert facts["Excluded"] == "no readable answer 17, personal data 3"
    assert facts["Dearest call"].startswith("$0.01")
    assert "9f9f9f9f9f9f" in facts["Journal"]
    assert dict(evidence_facts(old()))["Population"] == "the population was not recorded"


def test_shares_near_the_ends_do_not_become_the_ends() -> None:
    assert percent(0.999924) == "99.99 %"
    assert percent(0.9999999) == "99.99999 %"
    assert percent(0.95) == "95 %"
    assert percent(1.0) == "100 %"
    assert share(0.9999) == "99.9 %"
    assert share(0.0001) == "0.1 %"
    assert share(1.0) == "100 %"


def test_foreign_text_steers_no_terminal() -> None:
    made = certificate(
        unit="metadata.\x1b[31m", excluded={"\u202ereason\n": 1}, population=Population(calls=9, window="\x1b[0m\r")
    )
    for text in (statement(made), headline(made), *(value for _, value in evidence_facts(made))):
        assert not {"\x1b", "\u202e", "\n", "\r"} & set(text)
