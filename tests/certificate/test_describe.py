from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from stepdown.certificate.describe import describe
from stepdown.core.contract import Contract

AGREEMENT = Contract(against="agreement", margin=0.1)


def test_a_certificate_reads_as_a_paragraph_and_a_table(bench: Callable[..., Any]) -> None:
    certificate = bench(worst=(0.1,), incumbent_error=0.0, reference="agreement").issue(AGREEMENT)
    text = describe(certificate)
    assert text.startswith("CERTIFIED.")
    assert "at most 0.1 above the incumbent's" in text
    assert f"{certificate.offload:.1%} of requests" in text
    assert "with 95% confidence" in text
    assert "excess-loss" in text
    assert certificate.digest in text
    assert "Issued 1970-01-12" in text
    assert "the incumbent's own answers" in text


def test_a_refusal_gives_its_reasons_and_what_would_help(bench: Callable[..., Any]) -> None:
    refused = bench(worst=(0.02,), incumbent_error=0.0, reference="agreement", certify_rows=40).issue(
        Contract(against="agreement")
    )
    text = describe(refused)
    assert text.startswith("REFUSED.")
    assert f"About {refused.labels_needed} more labels" in text
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
