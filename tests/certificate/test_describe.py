from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from stepdown.certificate.describe import describe
from stepdown.core.contract import Contract
from stepdown.core.figures import share
from stepdown.core.statement import statement

AGREEMENT = Contract(against="agreement", margin=0.1)


def test_a_certificate_reads_as_a_paragraph_and_a_table(bench: Callable[..., Any]) -> None:
    certificate = bench(worst=(0.1,), incumbent_error=0.0, reference="agreement").issue(AGREEMENT)
    text = describe(certificate)
    assert text.startswith("CERTIFIED.")
    assert "at most +0.1 on average over calls drawn like these" in " ".join(text.split())
    assert f"{share(certificate.offload)} of the evidence answered without the incumbent" in " ".join(text.split())
    assert "at 95 % confidence" in text
    assert "excess-loss" in text
    assert certificate.digest in text
    assert "issued on 12 January 1970" in text
    assert "disagreement with the incumbent bounds the excess from above" in " ".join(text.split())


def test_a_refusal_gives_its_reasons_and_what_would_help(bench: Callable[..., Any]) -> None:
    refused = bench(worst=(0.02,), incumbent_error=0.0, reference="agreement", certify_rows=40).issue(
        Contract(against="agreement")
    )
    text = describe(refused)
    assert text.startswith("REFUSED.")
    assert f"About {refused.labels_needed:,} more calls would be needed" in " ".join(text.split())
    assert "not shown" in text
    assert "else the incumbent" not in text


def test_many_slices_show_the_nearest_to_their_limit_and_unknown_figures_a_dash(bench: Callable[..., Any]) -> None:
    made = bench(worst=(0.1,), incumbent_error=0.0, reference="agreement").with_both(
        lambda seen: replace(
            seen,
            slices=tuple({"n": str(row % 20)} for row in range(seen.n)),
            latency_s=np.full((1, seen.n), np.nan),
        )
    )
    text = describe(made.issue(Contract(against="agreement", slices=("n",), latency_p95_ms=5)))
    assert "(10 more slices" in text
    assert "latency-p95" in text
    assert max(map(len, text.splitlines())) < 400


def test_what_is_proved_is_said_in_the_words_of_the_statement(bench: Callable[..., Any]) -> None:
    certificate = bench(worst=(0.1,), incumbent_error=0.0, reference="agreement").issue(AGREEMENT)
    assert statement(certificate) in " ".join(describe(certificate).split())
    assert "else the incumbent" in describe(certificate)


def test_a_local_only_cascade_leaves_the_rest_unanswered(bench: Callable[..., Any]) -> None:
    contract = Contract(against="agreement", margin=0.1, privacy="local-only")
    certificate = bench(worst=(0.1,), incumbent_error=0.0, reference="agreement").issue(contract)
    text = describe(certificate)
    assert "else the incumbent" not in text
    assert "goes to the incumbent" not in text
    assert "left unanswered" in text
