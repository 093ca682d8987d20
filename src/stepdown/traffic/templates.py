"""Finding a prompt template: what stays the same in many prompts, and the slots where they differ.

Affixes common to all texts come first, then runs of whole words common to all in the same order between them (the idea
of log parsers such as Spell, Du and Li, ICDM 2016, with substrings in place of subsequences so that a template cuts a
new prompt by searching). Every template is checked on all the texts that it is mined from.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from stepdown.core.cutting import SPACE, SPACES
from stepdown.core.tasks import MessageTemplate, Part, Template, message_text
from stepdown.traffic.shapes import Shape, cut_shape, typed_shape

ALIGNED = 40
MAX_TOKENS = 600
SURE_CHARACTERS = 24
LABEL_CHARACTERS = 8

_TOKEN = re.compile(r"\w+|[^\w\S]+|[^\w\s]")
# What people set between an instruction and an input: a label with a colon, a tag, a heading, a rule, a fence.
_STRUCTURE = re.compile(r"[:：]|</?\w[^<>]*>|\n\s*#|-{3,}|={3,}|```|\n\s*\n")
_NAME = re.compile(r"(\w[\w \-]{0,30}?)\W*$")


class Prompt(msgspec.Struct, frozen=True):
    """The messages of a request as roles and texts."""

    roles: tuple[str, ...]
    texts: tuple[str, ...]


def prompt_of(request: dict[str, Any]) -> Prompt | None:
    """The messages of a request; None where one holds anything but text."""
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        return None
    texts = tuple(message_text(message) for message in messages)
    if any(text is None for text in texts):
        return None
    roles = tuple(str(message.get("role", "")) for message in messages)
    return Prompt(roles, tuple(text or "" for text in texts))


def mine_template(prompts: Sequence[Prompt]) -> Template:
    """The template of prompts with the same roles. Every one of them fits it. Raises ValueError where roles differ."""
    roles = {prompt.roles for prompt in prompts}
    if len(roles) != 1:
        raise ValueError("Prompts with different roles have no template in common.")
    (shared,) = roles
    columns = [[prompt.texts[place] for prompt in prompts] for place in range(len(shared))]
    shapes = [typed_shape(texts, align) for texts in columns]
    spaces = [_space_slots(shape, texts) for shape, texts in zip(shapes, columns, strict=True)]
    names = iter(_slot_names(shapes, spaces))
    messages = []
    for role, shape in zip(shared, shapes, strict=True):
        parts = tuple(Part(text=piece) if isinstance(piece, str) else Part(slot=next(names)) for piece in shape)
        messages.append(MessageTemplate(role=role, parts=parts))
    return Template(messages=tuple(messages))


def align(texts: Sequence[str]) -> Shape:
    """The constants and slots that all texts share. White space round a text whose ends are constant is dropped."""
    distinct = list(dict.fromkeys(texts))
    if len({text.strip() for text in distinct}) == 1:
        return [distinct[0].strip()] if distinct[0].strip() else [None]
    sample = _spread(distinct, ALIGNED)
    for _ in range(6):
        shape = _settled(_common(sample), distinct, sample)
        if shape is not None:
            return shape
    prefix, suffix, _ = _affixes(distinct)
    return _edged([prefix, None, suffix])


def constants(template: Template) -> str:
    """All constant text of a template, in order."""
    return "\n".join(part.text for message in template.messages for part in message.parts if not part.slot)


def fits(template: Template, prompt: Prompt) -> bool:
    pairs = zip(prompt.roles, prompt.texts, strict=True)
    return template.cut({"messages": [{"role": role, "content": text} for role, text in pairs]}) is not None


def is_sure(text: str) -> bool:
    """Whether shared text is unlikely to be shared by chance: long, or a label, tag or heading."""
    bare = text.strip()
    return len(bare) >= SURE_CHARACTERS or (len(bare) >= LABEL_CHARACTERS and bool(_STRUCTURE.search(text)))


def _settled(shape: Shape, distinct: Sequence[str], sample: list[str]) -> Shape | None:
    """The shape, if it fits every text; otherwise some of those that it does not fit join the sample."""
    shape = _edged(shape)
    failing = [text for text in distinct if cut_shape(shape, text) is None]
    if not failing:
        return shape
    sample.extend(_spread(failing, ALIGNED // 2))
    return None


def _common(sample: Sequence[str]) -> Shape:
    prefix, suffix, middles = _affixes(sample)
    inner: Shape = [None]
    for run in _runs(middles):
        inner += [run, None]
    return [prefix, *inner, suffix]


def _affixes(texts: Sequence[str]) -> tuple[str, str, list[str]]:
    """Common prefix and suffix, neither cutting a word nor overlapping, and what stands between them in each text.

    White space round a text is no part of a prefix or suffix, and where there is none it belongs to the slot.
    """
    bare = [text.lstrip() for text in texts]
    prefix = _whole_words(_prefix(bare), bare)
    rests = [text[len(prefix) :] for text in bare] if prefix else list(texts)
    backwards = [rest.rstrip()[::-1] for rest in rests]
    suffix = _whole_words(_prefix(backwards), backwards)[::-1]
    if suffix:
        rests = [rest.rstrip()[: -len(suffix)] for rest in rests]
    return prefix, suffix, rests


def _edged(shape: Shape) -> Shape:
    """A shape without empty constants and without slots that touch."""
    kept: Shape = []
    for part in shape:
        if part == "" or (part is None and kept and kept[-1] is None):
            continue
        kept.append(part)
    return kept


def _prefix(texts: Sequence[str]) -> str:
    """The longest common prefix, found on the first and last in order."""
    first, last = min(texts), max(texts)
    differ = (place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other)
    return first[: next(differ, min(len(first), len(last)))]


def _whole_words(shared: str, texts: Sequence[str]) -> str:
    """`shared`, a prefix of all texts, shortened until no text goes on with the word that it ends in."""
    end = len(shared)
    if any(len(text) > end and _is_word(text[end]) for text in texts):
        while end and _is_word(shared[end - 1]):
            end -= 1
    return shared[:end]


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _runs(middles: Sequence[str]) -> list[str]:
    """Constants that stand between slots: runs of whole tokens found in every middle, in the same order."""
    base = min(middles, key=len)
    tokens = _TOKEN.findall(base)
    if not tokens:
        return []
    starts = [0]
    for token in tokens:
        starts.append(starts[-1] + len(token))
    places: Sequence[int] = range(len(tokens))
    if len(tokens) > MAX_TOKENS:
        # In long inputs only the beginnings of lines are tried: what separates slots there stands on its own line.
        places = [place for place in places if "\n" in tokens[place] or not place or "\n" in tokens[place - 1]]
    return _chain(_candidates(base, starts, places[:MAX_TOKENS], middles), middles)


def _candidates(
    base: str, starts: Sequence[int], places: Sequence[int], middles: Sequence[str]
) -> list[tuple[int, int]]:
    """(begin, end) in `base` of the longest runs common to all middles, that look like a separator."""
    runs: list[tuple[int, int]] = []
    reached = 0
    for place in places:
        end = place
        while end + 1 < len(starts) and all(base[starts[place] : starts[end + 1]] in middle for middle in middles):
            end += 1
        # A run that ends where the one before it did is only its tail.
        if end > place and starts[end] > reached:
            reached = starts[end]
            if _separates(base[starts[place] : reached]):
                runs.append((starts[place], reached))
    return runs


def _separates(run: str) -> bool:
    has_word = any(character.isalnum() for character in run)
    return has_word and (bool(_STRUCTURE.search(run)) or len(run.strip()) >= 2 * LABEL_CHARACTERS)


def _chain(candidates: Sequence[tuple[int, int]], middles: Sequence[str]) -> list[str]:
    """The heaviest candidates that every middle has in the same order, whole words on both sides."""
    base = min(middles, key=len)
    chosen: list[tuple[int, int]] = []
    for candidate in sorted(candidates, key=lambda span: span[0] - span[1]):
        trial = sorted([*chosen, candidate])
        apart = all(before[1] <= after[0] for before, after in itertools.pairwise(trial))
        if apart and all(_in_order([base[begin:end] for begin, end in trial], middle) for middle in middles):
            chosen = trial
    return [base[begin:end] for begin, end in chosen]


def _in_order(runs: Sequence[str], text: str) -> bool:
    position = 0
    for run in runs:
        at = text.find(run, position)
        if at < 0 or _cuts_word(text, at) or _cuts_word(text, at + len(run)):
            return False
        position = at + len(run)
    return True


def _cuts_word(text: str, at: int) -> bool:
    return 0 < at < len(text) and _is_word(text[at - 1]) and _is_word(text[at])


def _spread(texts: Sequence[str], count: int) -> list[str]:
    """Up to `count` texts of all lengths, the shortest and the longest among them."""
    if len(texts) <= count:
        return list(texts)
    ordered = sorted(texts, key=lambda text: (len(text), text))
    return [ordered[round(place * (len(ordered) - 1) / (count - 1))] for place in range(count)]


def _space_slots(shape: Shape, texts: Sequence[str]) -> list[bool]:
    """For each slot of a shape, whether it never holds anything but white space."""
    cuts = [values for text in texts if (values := cut_shape(shape, text)) is not None]
    return [not any(values) or all(not value.strip() for value in values) for values in zip(*cuts, strict=True)]


def _slot_names(shapes: Sequence[Shape], spaces: Sequence[Sequence[bool]]) -> list[str]:
    """Names for all slots: "input" for a single one, else the label that stands before it, numbered where it recurs."""
    single = sum(not space for slots in spaces for space in slots) == 1
    names: list[str] = []
    for shape, slots in zip(shapes, spaces, strict=True):
        spaced = iter(slots)
        for place, piece in enumerate(shape):
            if isinstance(piece, str):
                continue
            if piece is None:
                before = shape[place - 1] if place else None
                label = "input" if single else _label(before if isinstance(before, str) else "") or "input"
                name = SPACES if next(spaced) else label
            else:
                name = SPACE + piece.kind
            names.append(_numbered(name, names))
    return names


def _numbered(name: str, used: Sequence[str]) -> str:
    number = 1
    while (candidate := name if number == 1 else f"{name}_{number}") in used:
        number += 1
    return candidate


def _label(before: str) -> str:
    """The label at the end of a constant, as a name: "New Question: " is new_question."""
    last = before.rstrip().rsplit("\n", 1)[-1]
    match = _NAME.search(last)
    words = re.findall(r"\w+", match[1].lower()) if match and _STRUCTURE.search(last + "\n\n") else []
    name = "_".join(words[-3:])
    return name if name.isascii() and name[:1].isalpha() else ""
