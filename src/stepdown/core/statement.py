"""What a certificate proves, in words: one text for the terminal, the report and the model cards."""

from __future__ import annotations

from collections.abc import Mapping

from stepdown.core.certificate import Certificate, Claim
from stepdown.core.contract import Contract
from stepdown.core.evidence_words import evidence_sentences, journal_sentence
from stepdown.core.family import all_losses
from stepdown.core.figures import clean, count, moment, percent, share, signed, usd

SLICE = "slice:"

_MINUS = "\N{MINUS SIGN}"


def headline(certificate: Certificate) -> str:
    """One short sentence: what is proved, or what could not be shown."""
    claim = f"{_loss(certificate)} at most {signed(margin_of(certificate))} on average"
    sure = f"at {percent(confidence_of(certificate))} confidence"
    if certificate.verdict != "certified":
        return f"Not shown {sure}: {claim}."
    return f"Shown {sure}: {claim}, with {share(certificate.offload)} of the evidence answered without the incumbent."


def statement(certificate: Certificate) -> str:
    """All that is proved and what it rests on, or what could not be shown and on what evidence."""
    return " ".join(paragraphs(certificate))


def paragraphs(certificate: Certificate) -> list[str]:
    """The statement in paragraphs: the claims, the evidence, and what follows from them."""
    if certificate.verdict == "certified":
        claims = [claim_sentence(certificate), _also_proved(certificate)]
        follows = [offload_sentence(certificate), lapse_sentence(certificate)]
    else:
        claims, follows = [claim_sentence(certificate)], [_needed(certificate)]
    parts = claims, evidence_sentences(certificate), [*follows, journal_sentence(certificate)]
    return [" ".join(filter(None, part)) for part in parts if any(part)]


def claim_sentence(certificate: Certificate) -> str:
    """The first sentence of the statement: how much excess loss, on average over what, how surely."""
    return _proved(certificate) if certificate.verdict == "certified" else _not_shown(certificate)


def offload_sentence(certificate: Certificate) -> str:
    """The share answered without the incumbent, its interval and the level of that, and what happens to the rest."""
    sentence = f"{share(certificate.offload)} of the calls in the evidence were answered without the incumbent"
    if certificate.offload_interval is not None:
        low, high = (share(value).removesuffix(" %") for value in certificate.offload_interval)
        sentence += f" (between {low} and {high} % of calls like these, at {percent(level_of(certificate))} confidence)"
    return f"{sentence}. {rest_sentence(certificate)}"


def rest_sentence(certificate: Certificate) -> str:
    """What happens to a call that no rung is sure enough of."""
    if is_local_only(certificate):
        return "What no rung is sure of is left unanswered: the contract is local-only, and nothing leaves the machine."
    return "What no rung is sure of goes to the incumbent."


def lapse_sentence(certificate: Certificate) -> str:
    """When a certificate lapses; renewal is not promised, for there is none yet."""
    return f"It lapses on {moment(certificate.expires_at)}; after that, only a new build brings another."


def margin_of(certificate: Certificate) -> float:
    """The excess loss that the contract allows."""
    claim = certificate.excess_loss
    return claim.limit if claim is not None else _number(certificate.contract, "margin", Contract().margin)


def confidence_of(certificate: Certificate) -> float:
    """The confidence that the contract asks for, over all attempts on this evidence."""
    return _number(certificate.contract, "confidence", Contract().confidence)


def level_of(certificate: Certificate) -> float:
    """The confidence at which this attempt was tested: 1 less its share of the error budget."""
    return 1.0 - certificate.error_share


def is_local_only(certificate: Certificate) -> bool:
    return certificate.contract.get("privacy") == "local-only"


def _proved(certificate: Certificate) -> str:
    claim = certificate.excess_loss
    measured = f" (on the evidence: {signed(claim.estimate)}{_bound(claim)})" if claim is not None else ""
    given = "" if certificate.evidence == "agreement" else ", given that gold is right"
    return (
        f"In place of the incumbent, the cascade's {_loss(certificate)} is at most {signed(margin_of(certificate))} "
        f"on average over calls drawn like these{measured}, shown at "
        f"{percent(confidence_of(certificate))} confidence ({_attempt(certificate)}){given}."
    )


def _bound(claim: Claim) -> str:
    """A bound tighter than the limit, where there is one."""
    return f", bound {signed(claim.bound)}" if claim.bound < claim.limit else ""


def _attempt(certificate: Certificate) -> str:
    return f"attempt {count(certificate.attempt)} on this evidence, tested at {percent(level_of(certificate))}"


def _also_proved(certificate: Certificate) -> str:
    """The claims beside the excess loss, which were shown at once with it."""
    held = [claim for claim in certificate.claims if claim.holds]
    slices = [claim for claim in held if claim.name.startswith(SLICE)]
    parts = [_other_claim(claim, certificate) for claim in held if claim.name in _OTHER]
    if slices:
        limit = signed(max(claim.limit for claim in slices))
        each = "1 slice has" if len(slices) == 1 else f"each of {count(len(slices))} slices has"
        parts.append(f"{each} at most {limit} on average")
    return f"Shown with it, at the same confidence: {'; '.join(parts)}." if parts else ""


_OTHER = ("latency-p95", "cost-per-1k")


def _other_claim(claim: Claim, certificate: Certificate) -> str:
    if claim.name == "latency-p95":
        limit = f"{claim.limit:.4g} {clean(claim.unit) or 'ms'}"
        return f"95 % of the answers given without the incumbent take at most {limit} on this machine, at rest"
    ceiling = certificate.dearest_call_usd
    given = "" if ceiling is None else f", if no call to the incumbent costs more than {usd(ceiling)}"
    return f"1,000 calls cost at most {usd(claim.limit)} on average, those to the incumbent included{given}"


def _not_shown(certificate: Certificate) -> str:
    failed = [claim for claim in certificate.claims if not claim.holds]
    wanted = [_wanted(claim, certificate) for claim in failed if not claim.name.startswith(SLICE)]
    slices = [claim for claim in failed if claim.name.startswith(SLICE)]
    if slices:
        number = "1 slice keeps" if len(slices) == 1 else f"{count(len(slices))} slices keep"
        wanted.append(f"that {number} to {signed(max(claim.limit for claim in slices))}")
    sure = f"at {percent(confidence_of(certificate))} confidence ({_attempt(certificate)})"
    if not wanted:
        why = clean(certificate.reasons[0]).rstrip(".") if certificate.reasons else "no claim could be tested"
        if not certificate.attempt and certificate.reasons:
            return f"Nothing was tested, and no attempt on this evidence is spent: {why}. {_kept(certificate)}"
        return f"Nothing was shown {sure}: {why}. {_kept(certificate)}"
    return f"It could not be shown {sure} {' nor '.join(wanted)}. {_kept(certificate)}"


def _kept(certificate: Certificate) -> str:
    """What a refusal means for the calls to come: it takes no earlier certificate out of force."""
    before = "what answered before" if is_local_only(certificate) else "the incumbent, or what answered before,"
    return f"Nothing changes: {before} goes on answering."


def _wanted(claim: Claim, certificate: Certificate) -> str:
    if claim.name in _OTHER:
        return f"that {_other_claim(claim, certificate)}"
    estimate = f" (on the evidence: {signed(claim.estimate)})" if claim.n else ""
    return (
        f"that the cascade's {_loss(certificate)} is at most {signed(claim.limit)} on average over calls "
        f"drawn like these{estimate}"
    )


def _needed(certificate: Certificate) -> str:
    if not certificate.labels_needed:
        return ""
    if not certificate.attempt:
        return f"{count(certificate.labels_needed)} labels are needed."
    more = "calls" if certificate.evidence == "agreement" else "labels"
    return f"About {count(certificate.labels_needed)} more {more} would be needed, if the evidence at hand is typical."


def _loss(certificate: Certificate) -> str:
    """ "excess loss", and of which loss where the contract names it."""
    name = certificate.contract.get("loss")
    if not isinstance(name, str) or not name:
        return "excess loss"
    loss = all_losses().get(name)
    return f"excess loss ({f'1 {_MINUS} {loss.noun}' if loss and loss.measure else clean(name)})"


def _number(table: Mapping[str, object], key: str, otherwise: float) -> float:
    value = table.get(key)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else otherwise
