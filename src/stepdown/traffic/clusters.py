"""Clusters of prompts of one shape: the tasks that came over one endpoint, each with its template.

Divisive: the prompts are aligned; where the values of a slot share instructions of their own (a long common beginning
or end that only some have), they are split there and each part is examined again.

Prompts that say little ("Spam? win a prize") are clustered by their answers too: a few shared words may be chance, but
with few different answers (labels out of a small set, or objects with the same keys) they are an instruction.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from stepdown.core.calls import Call
from stepdown.core.ownership import LEAST_LETTERS, tells
from stepdown.core.tasks import Template
from stepdown.traffic.shapes import cut_shape, shape_of
from stepdown.traffic.templates import Prompt, constants, is_sure, mine_template

MAX_CLUSTERS = 50
MIN_DISTINCT = 6

# Text that a whole free message begins or ends with must be longer to count as an instruction: people greet alike.
_INSTRUCTION_CHARACTERS = 40
_PREFIX_WORDS = 16
_PREFIX_LINES = 4
_FEATURE_CHARACTERS = 400
_SMALLEST_SHARE = 0.05
_COVERED = 0.95
_VARIANTS = 5
_WORD_END = re.compile(r"\S+\s*")


class Cluster(msgspec.Struct, frozen=True):
    """Prompts that share a template. broad: a whole message of it is one slot, so that it fits nearly anything."""

    template: Template
    prompts: tuple[Prompt, ...]

    @property
    def broad(self) -> bool:
        return is_broad(self.template)

    @property
    def sure(self) -> bool:
        """Whether the constants are unlikely to be shared by chance."""
        return is_sure(constants(self.template)) and len(set(self.prompts)) > 1


def is_broad(template: Template) -> bool:
    """Whether a message of a template is nothing but a slot."""
    return template.broad


def clusters(prompts: Sequence[Prompt]) -> list[Cluster]:
    """Prompts of the same roles, split by template; largest first. Every prompt is in exactly one."""
    waiting: list[list[Prompt]] = [list(prompts)] if prompts else []
    settled: list[Cluster] = []
    while waiting:
        group = waiting.pop()
        template = mine_template(group)
        room = len(waiting) + len(settled) + 1 < MAX_CLUSTERS
        parts = _split(template, group) if room else None
        if parts is None:
            settled.append(Cluster(template, tuple(group)))
        else:
            waiting.extend(parts)
    return sorted(settled, key=lambda cluster: -len(cluster.prompts))


def _split(template: Template, prompts: Sequence[Prompt]) -> tuple[list[Prompt], list[Prompt]] | None:
    """Two parts of the prompts that ask different things, or None where they all ask the same."""
    for place, message in enumerate(template.messages):
        shape = shape_of(message)
        whole = shape == [None]
        cuts = [cut_shape(shape, prompt.texts[place]) for prompt in prompts]
        slots = zip(*(cut for cut in cuts if cut is not None), strict=True)
        for values in slots:
            chosen = _instruction(values, whole)
            if chosen is not None:
                inside = [prompt for prompt, value in zip(prompts, values, strict=True) if value in chosen]
                outside = [prompt for prompt, value in zip(prompts, values, strict=True) if value not in chosen]
                return inside, outside
    return None


def _instruction(values: Sequence[str], whole: bool) -> set[str] | None:
    """The values of a slot that share an instruction which the others lack; None where there is none.

    whole: the slot is the whole message. Otherwise constants stand round it and its values are inputs, unless nearly
    all of them belong to one of a few instructions.
    """
    distinct = set(values)
    if not whole and 1 < len(distinct) <= _VARIANTS and len(values) >= 10 * len(distinct):
        # A few long texts that recur are instructions, not inputs.
        longest = max(distinct, key=lambda value: (len(value), value))
        return {longest} if min(map(len, distinct)) >= _INSTRUCTION_CHARACTERS else None
    if len(distinct) < MIN_DISTINCT:
        return None
    groups = list(_shared(distinct, whole))
    if not groups:
        return None
    if whole:
        return groups[0]
    covered: set[str] = set().union(*groups)
    return groups[0] if len(covered) >= _COVERED * len(distinct) else None


def _shared(distinct: set[str], whole: bool) -> Iterator[set[str]]:
    """Sets of values with a sure beginning or end in common, largest first, none of them all of the values."""
    least = max(3, round(_SMALLEST_SHARE * len(distinct)))
    holders: dict[tuple[str, str], set[str]] = defaultdict(set)
    for value in distinct:
        for feature in features(value):
            holders[feature].add(value)
    counted = Counter({feature: len(having) for feature, having in holders.items()})
    order = sorted(counted, key=lambda feature: (-counted[feature], -len(feature[1]), feature))
    taken: set[str] = set()
    for feature in order:
        having = holders[feature]
        fits = least <= len(having) < len(distinct) and _is_instruction(feature[1], whole)
        if fits and len(having - taken) >= least:
            taken |= having
            yield having


def features(value: str) -> Iterator[tuple[str, str]]:
    """Beginnings and ends of a value at word and line ends: ("begins", text) and ("ends", text)."""
    head = value.lstrip()[:_FEATURE_CHARACTERS]
    ends = [match.end() for match in _WORD_END.finditer(head)][:_PREFIX_WORDS]
    ends += [place for place, character in enumerate(head) if character == "\n"][:_PREFIX_LINES]
    yield from (("begins", head[:end].rstrip()) for end in set(ends) if end < len(head))
    tail = value.rstrip()[-_FEATURE_CHARACTERS:]
    starts = [match.start() for match in _WORD_END.finditer(tail)][-_PREFIX_WORDS:]
    starts += [place for place, character in enumerate(tail) if character == "\n"][-_PREFIX_LINES:]
    yield from (("ends", tail[start:].lstrip()) for start in set(starts) if start > 0)


def _is_instruction(text: str, whole: bool) -> bool:
    return len(text) >= _INSTRUCTION_CHARACTERS or (not whole and is_sure(text)) or (whole and _is_labelled(text))


def _is_labelled(text: str) -> bool:
    """Whether a shared text ends as instructions do where the input follows."""
    return len(text.strip()) >= 8 and text.rstrip().endswith((":", "：", ">", "```", "==", "--"))


LEAST_PROMPTS = 10
_LEAST_SHARE = 0.05
_WORDS_SHARE = 0.2
"""What ends in no sign that instructions end in is one only if so many prompts have it."""
_END_SHARE = 0.1
_MOST_ANSWERS = 0.2
"""Of the answers so many at most may differ."""
_LONGEST_LABEL = 60
_SIGNS = tuple(":?!.>-=)]|：？。")


def short_clusters(prompts: Sequence[Prompt], answers: Mapping[Prompt, str]) -> list[Cluster]:
    """Of prompts of the same roles, those that share a short instruction; what is left over is in none of them.
    answers: as `answer_kind` has them."""
    left = list(dict.fromkeys(prompts))
    whole = _closed_cluster(left, answers)
    if whole is not None:
        return [whole]
    settled: list[Cluster] = []
    # Where every answer is one of a few these may be inputs alone, many of which begin alike.
    needs_sign = is_closed([answers[prompt] for prompt in left])
    while (chosen := _short_instruction(left, answers, needs_sign)) is not None:
        cluster = _closed_cluster(chosen, answers)
        if cluster is None:
            break
        settled.append(cluster)
        taken = set(chosen)
        left = [prompt for prompt in left if prompt not in taken]
    return settled


def answer_kind(call: Call) -> str:
    """A key that an answer shares with others of its task: a short text itself, of an object its keys, of tools their
    names; for anything else something that no other answer has."""
    message = call.message or {}
    tools = message.get("tool_calls")
    if isinstance(tools, list) and tools:
        return "tools"
    text = (call.content or "").strip()
    if text.startswith("{"):
        try:
            return ",".join(sorted(msgspec.json.decode(text, type=dict[str, msgspec.Raw])))
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return text
    return text.casefold() if len(text) <= _LONGEST_LABEL else f"{text[:_LONGEST_LABEL]}… {call.id}"


def is_closed(answers: Sequence[str]) -> bool:
    """Whether a few answers are given again and again."""
    return len(answers) >= LEAST_PROMPTS and len(set(answers)) <= max(2, _MOST_ANSWERS * len(answers))


def _closed_cluster(prompts: list[Prompt], answers: Mapping[Prompt, str]) -> Cluster | None:
    if not is_closed([answers[prompt] for prompt in prompts]):
        return None
    template = mine_template(prompts)
    return Cluster(template, tuple(prompts)) if tells(template) else None


def _short_instruction(prompts: list[Prompt], answers: Mapping[Prompt, str], needs_sign: bool) -> list[Prompt] | None:
    """The prompts with the beginning or end that most have and that comes with few answers; the longest of such."""
    holders: dict[tuple[int, str, str], list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        for place, text in enumerate(prompt.texts):
            for side, feature in set(features(text)):
                holders[place, side, feature].append(prompt)
    least = max(LEAST_PROMPTS, round(_LEAST_SHARE * len(prompts)))
    counted = Counter({key: len(having) for key, having in holders.items() if least <= len(having)})
    for key in sorted(counted, key=lambda key: (-counted[key], -len(key[2]), key)):
        may_be = _may_be_instruction(key[1], key[2], counted[key] / len(prompts), needs_sign)
        if may_be and is_closed([answers[prompt] for prompt in holders[key]]):
            return holders[key]
    return None


def _may_be_instruction(side: str, text: str, share: float, needs_sign: bool) -> bool:
    if sum(character.isalnum() for character in text) < LEAST_LETTERS:
        return False
    ends, words = text.rstrip().endswith(_SIGNS), len(text.split())
    if side == "ends":
        ends = ends and words > 1 and share >= _END_SHARE  # Questions end in the same words by themselves.
    return ends or (not needs_sign and share >= _WORDS_SHARE and words > 1)
