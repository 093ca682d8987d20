"""The evidence of a certificate in words: what it was drawn from, what its kind means, and what is left out."""

from __future__ import annotations

from collections.abc import Mapping

from stepdown.core.certificate import Certificate
from stepdown.core.figures import clean, count, day, moment, percent, usd

NOT_RECORDED = "the population was not recorded"
MOST_REASONS = 8
_UNITS = {"call": "calls", "client_id": "clients", "near-duplicate": "groups of near-duplicates"}
_KINDS = {
    "gold": "gold: trusted answers to the same calls",
    "judged": "judged: a judge's verdicts, corrected by gold",
    "agreement": "agreement: the incumbent's own answers",
}
_BY_STEPDOWN = ("", "all")
_ASSUMPTIONS = {
    "random-sample": "assumed: the owner of the gold says that it is a random sample of the calls",
    "all": "every one of these calls had gold then",
    "split-column": "assumed: the split column of the gold names the evidence, and it is like the other calls",
}


def evidence_facts(certificate: Certificate) -> list[tuple[str, str]]:
    """What the evidence was and where it came from, as (name, value), for a table."""
    population, journal = certificate.population, certificate.journal
    facts = [("Kind", kind_in_words(certificate)), ("Population", _population(certificate))]
    if population.calls:
        facts += [("Dates", _dates(certificate)), ("Drawn", _drawn_at(certificate))]
    if population.window:
        facts.append(("Only a part of the traffic", clean(population.window)))
    facts += [
        ("Independent unit", unit_in_words(certificate.unit)),
        ("Units tested", count(certificate.n)),
    ]
    if certificate.n_drawn:
        facts.append(("Calls drawn", count(certificate.n_drawn)))
        if certificate.evidence != "agreement":
            facts.append(("Calls with gold", count(certificate.n_labelled)))
    facts += [
        ("Attempt on this evidence", count(certificate.attempt) if certificate.attempt else "none: nothing was tested"),
        ("Error share of this attempt", percent(certificate.error_share)),
    ]
    if population.calls or certificate.excluded:
        facts.append(("Excluded", _reasons(certificate.excluded) or "none"))
    if certificate.dearest_call_usd is not None:
        facts.append(("Dearest call", f"{usd(certificate.dearest_call_usd)}, on which the cost rests"))
    if journal.head:
        facts.append(("Journal", _journal_in_words(certificate)))
    return facts


def is_asymptotic(certificate: Certificate) -> bool:
    return any(claim.asymptotic for claim in certificate.claims)


def kind_in_words(certificate: Certificate) -> str:
    """The kind of evidence."""
    return _KINDS.get(certificate.evidence, clean(certificate.evidence))


def unit_in_words(unit: str) -> str:
    """What is independent of one another, in the plural: "clients", "values of metadata.conversation"."""
    return _UNITS.get(unit, f"values of {clean(unit)}")


def evidence_sentences(certificate: Certificate) -> list[str]:
    """The evidence: what it was drawn from and by whom, what needed a label, what its kind means, what is left out."""
    return [_evidence(certificate), _labels(certificate), _kind(certificate), _left_out(certificate)]


def _evidence(certificate: Certificate) -> str:
    population, unit = certificate.population, certificate.unit
    if not population.calls:
        return f"The evidence is {_calls(certificate.n_drawn or certificate.n)}; {NOT_RECORDED}."
    drawn = _calls(certificate.n_drawn)
    if unit == "call":
        units = ", each an independent unit" if certificate.n_drawn == certificate.n else ""
    else:
        units = f" in {count(certificate.n)} independent units ({unit_in_words(unit)})"
    by = "by stepdown, at random" if population.assumption in _BY_STEPDOWN else "not by stepdown"
    of = f"{_population(certificate)} ({_dates(certificate)})"
    if certificate.n_drawn == population.calls and population.assumption in _BY_STEPDOWN:
        # Nothing is drawn at random where all there is was taken.
        sentence = f"The evidence is all {of}{units if unit == 'call' else ''}"
    else:
        sentence = f"The evidence is {drawn}{units}, drawn {by}, from {of}"
    if population.window:
        sentence += f", which is only a part of the traffic: {clean(population.window)}"
    if population.assumption:
        sentence += f"; {_assumption(certificate)}"
    return sentence + "."


def _assumption(certificate: Certificate) -> str:
    assumption = certificate.population.assumption
    return _ASSUMPTIONS.get(assumption, clean(assumption))


def _labels(certificate: Certificate) -> str:
    if certificate.evidence == "agreement" or not certificate.n_drawn:
        return ""
    if certificate.evidence == "judged":
        return f"{count(certificate.n_labelled)} of them have gold."
    have = "has" if certificate.n_labelled == 1 else "have"
    return (
        f"{count(certificate.n_labelled)} of them {have} a gold label; only calls on which a rung differs from the "
        "incumbent need one, for where they agree there is no excess."
    )


def _kind(certificate: Certificate) -> str:
    if certificate.evidence == "agreement":
        unreadable = ", and calls whose incumbent answer cannot be read count against the cascade"
        return (
            "There is no gold in it: disagreement with the incumbent bounds the excess from above"
            f"{unreadable if certificate.population.calls else ''}."
        )
    if certificate.evidence == "judged":
        how = "asymptotic: a normal approximation" if is_asymptotic(certificate) else "valid in finite samples"
        return f"A judge's verdicts on it were corrected by gold; the bound is {how}."
    return "The bound is asymptotic: a normal approximation." if is_asymptotic(certificate) else ""


def _left_out(certificate: Certificate) -> str:
    total = sum(certificate.excluded.values())
    if not total:
        return ""
    return f"Nothing is said of {_calls(total)} that could not be drawn: {_reasons(certificate.excluded)}."


def _reasons(excluded: Mapping[str, int]) -> str:
    ordered = sorted(excluded.items(), key=lambda pair: (-pair[1], pair[0]))
    shown = [f"{clean(reason)} {count(number)}" for reason, number in ordered[:MOST_REASONS]]
    rest = sum(number for _, number in ordered[MOST_REASONS:])
    return ", ".join([*shown, f"other reasons {count(rest)}"] if rest else shown)


def _population(certificate: Certificate) -> str:
    population = certificate.population
    if not population.calls:
        return NOT_RECORDED
    calls = _calls(population.calls)
    if certificate.unit == "call" or not population.units:
        return calls
    return f"{calls} in {count(population.units)} units"


def _dates(certificate: Certificate) -> str:
    first, last = day(certificate.population.first), day(certificate.population.last)
    if not first or not last:
        return "dates unknown"
    return f"{first}, UTC" if first == last else f"{first} to {last}, UTC"


def _drawn_at(certificate: Certificate) -> str:
    population = certificate.population
    if population.assumption:
        by = "at random" if population.assumption in _BY_STEPDOWN else "not by stepdown"
        return f"{by}; {_assumption(certificate)}"
    at = f", on {moment(population.drawn_at)}" if population.drawn_at > 0 else ""
    draw = f", draw {clean(population.draw)[:12]}" if population.draw else ""
    return f"by stepdown, at random{at}{draw}"


def journal_sentence(certificate: Certificate) -> str:
    journal = certificate.journal
    return f"It was entered in the journal at {_journal_in_words(certificate)}." if journal.head else ""


def _journal_in_words(certificate: Certificate) -> str:
    journal = certificate.journal
    events = "1 event" if journal.events == 1 else f"{count(journal.events)} events"
    begun = f" since {day(journal.begun_at)}" if day(journal.begun_at) else ""
    return f"head {clean(journal.head)[:12]}, after {events}{begun}"


def _calls(number: int) -> str:
    return "1 call" if number == 1 else f"{count(number)} calls"
