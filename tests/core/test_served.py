"""Who answered a call: what earlier versions and W3C trace contexts say of it, and how sure it was."""

from __future__ import annotations

import pytest

from stepdown.core.served import AskedRung, Served, served_by, trace_parent


@pytest.mark.parametrize(
    ("provider", "found"),
    [
        ("stepdown/encoder", ("", Served(rung="encoder"))),
        ("stepdown/a/b", ("", Served(rung="a/b"))),
        ("stepdown/cache", ("", Served(rung="cache", cached=True))),
        ("cache", ("", Served(cached=True))),
        ("openai", ("openai", None)),
        ("", ("", None)),
        ("stepdown", ("stepdown", None)),
        ("stepdown/", ("stepdown/", None)),
        ("https://host/stepdown/x", ("https://host/stepdown/x", None)),
    ],
)
def test_what_a_provider_of_an_earlier_version_says(provider: str, found: tuple[str, Served | None]) -> None:
    assert served_by(provider) == found


TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (f"00-{TRACE}-{SPAN}-01", (TRACE, SPAN)),
        (f"01-{TRACE}-{SPAN}-00-what-is-to-come", (TRACE, SPAN)),
        ("", ("", "")),
        (f"00-{TRACE}-{SPAN}", ("", "")),
        (f"ff-{TRACE}-{SPAN}-01", ("", "")),
        (f"00-{'0' * 32}-{SPAN}-01", ("", "")),
        (f"00-{TRACE}-{'0' * 16}-01", ("", "")),
        (f"00-{TRACE.upper()}-{SPAN}-01", ("", "")),
        (f"00-{TRACE}-{SPAN}-01\n", ("", "")),
    ],
)
def test_a_trace_context_as_w3c_has_it(header: str, found: tuple[str, str]) -> None:
    assert trace_parent(header) == found


def test_how_sure_the_rung_was_that_answered_and_else_the_surest() -> None:
    asked = (AskedRung("linear", 0.7, 0.9, (0.5, 0.2)), AskedRung("encoder", 0.6, 0.5))
    assert Served(rung="encoder", asked=asked).confidence == 0.6
    assert Served(rung="encoder", asked=asked).answered == asked[1]
    assert Served(asked=asked).confidence == 0.7
    assert Served(asked=asked).answered is None
    assert Served().confidence is None
