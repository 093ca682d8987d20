"""Tasks whose prompt says little: "Spam? win a prize". A few shared words may be chance; with few different answers
they are an instruction.

What tells an instruction of one short line from a greeting is what comes back: a label out of a few or objects with the
same keys against free text.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import msgspec

from stepdown.core.calls import Call
from stepdown.core.ownership import LEAST_LETTERS, tells
from stepdown.traffic.clusters import Cluster, features
from stepdown.traffic.templates import Prompt, mine

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
    whole = _cluster(left, answers)
    if whole is not None:
        return [whole]
    found: list[Cluster] = []
    # Where every answer is one of a few these may be inputs alone, many of which begin alike.
    needs_sign = is_closed([answers[prompt] for prompt in left])
    while (chosen := _instruction(left, answers, needs_sign)) is not None:
        cluster = _cluster(chosen, answers)
        if cluster is None:
            break
        found.append(cluster)
        taken = set(chosen)
        left = [prompt for prompt in left if prompt not in taken]
    return found


def answer_kind(call: Call) -> str:
    """What an answer has in common with others of its task: a short text itself, of an object its keys, of tools their
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
    """Whether answers are a few, given again and again."""
    return len(answers) >= LEAST_PROMPTS and len(set(answers)) <= max(2, _MOST_ANSWERS * len(answers))


def _cluster(prompts: list[Prompt], answers: Mapping[Prompt, str]) -> Cluster | None:
    if not is_closed([answers[prompt] for prompt in prompts]):
        return None
    template = mine(prompts)
    return Cluster(template, tuple(prompts)) if tells(template) else None


def _instruction(prompts: list[Prompt], answers: Mapping[Prompt, str], needs_sign: bool) -> list[Prompt] | None:
    """The prompts with the beginning or end that most have and that comes with few answers; the longest of such."""
    holders: dict[tuple[int, str, str], list[Prompt]] = defaultdict(list)
    for prompt in prompts:
        for place, text in enumerate(prompt.texts):
            for side, feature in set(features(text)):
                holders[place, side, feature].append(prompt)
    least = max(LEAST_PROMPTS, round(_LEAST_SHARE * len(prompts)))
    counted = Counter({key: len(having) for key, having in holders.items() if least <= len(having)})
    for key in sorted(counted, key=lambda key: (-counted[key], -len(key[2]), key)):
        may_be = _may_be_one(key[1], key[2], counted[key] / len(prompts), needs_sign)
        if may_be and is_closed([answers[prompt] for prompt in holders[key]]):
            return holders[key]
    return None


def _may_be_one(side: str, text: str, share: float, needs_sign: bool) -> bool:
    if sum(character.isalnum() for character in text) < LEAST_LETTERS:
        return False
    ends, words = text.rstrip().endswith(_SIGNS), len(text.split())
    if side == "ends":
        ends = ends and words > 1 and share >= _END_SHARE  # Questions end in the same words by themselves.
    return ends or (not needs_sign and share >= _WORDS_SHARE and words > 1)
