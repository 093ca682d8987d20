"""Worlds in which evidence could be other than it says, each with its exact truth just above the margin.

A unit (a call, a group of near-duplicates, a conversation) draws a difficulty d in [0, 1) and who errs there; all its
calls share both. A student errs with the chance `error(d)`, the incumbent with `incumbent(d)`, independently given d.
The margin is 0.05 unless a world says otherwise; `JUST_ABOVE` times it is the true excess loss where the path ends.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import msgspec
import numpy as np

from benchmarks._evidence.rooms import GoldBasis
from benchmarks._evidence.traffic import (
    SPAN_S,
    START,
    FixedStudent,
    Floats,
    Judgement,
    Population,
    Traffic,
    Writer,
    random_texts,
    reported,
    task_of,
)
from benchmarks.streams import Chance, pieces
from stepdown.core.inputs import Input

LABELS = ("a", "b", "c", "d")
CELLS = 4000
JUST_ABOVE = 1.02
MARGIN = 0.05
UNREADABLE = "I am sorry, this is more than I can say about it in a word. " * 5
HOUR = 3600.0

Procedure = Literal["once", "tasks", "reimport", "pile", "retry", "judges", "relabel", "peek"]


@dataclass(frozen=True)
class World:
    """What is drawn and how it is certified.

    basis: of the gold that was there before anything was drawn, as its owner declares it.
    whole_draw: whether all that was drawn is labelled before the first test, or as much as builds ask for.
    procedure and times: one build, or as many attempts until one is certified. contract: more keys of the contract.
    """

    name: str
    make: Callable[[int], Traffic]
    population: Callable[[], Population]
    point: int
    procedure: Procedure = "once"
    times: int = 1
    basis: GoldBasis = "volunteered"
    whole_draw: bool = False
    contract: dict[str, Any] = field(default_factory=dict)

    @property
    def margin(self) -> float:
        return float(self.contract.get("margin", MARGIN))

    @property
    def is_search(self) -> bool:
        """Whether it ends with the first certificate; otherwise every attempt is one that somebody relies on."""
        return self.procedure in ("retry", "judges", "relabel", "peek")


def level(chance: float) -> Chance:
    return pieces((1.0, chance))


NO_CHANCE = level(0.0)


@dataclass(frozen=True)
class Shape:
    """The chances of error by difficulty, the students who share them, and how calls come in units.

    blank: the students' signal says nothing, so that their path is one point, which accepts everything.
    kept: the share of the month that retention keeps whole; of calls before it, those with gold are left.
    """

    error: Chance
    incumbent: Chance
    students: int = 1
    units: int = 1000
    size: int = 1
    kind: Literal["call", "group", "burst", "conversation", "client"] = "call"
    unreadable: Chance = NO_CHANCE
    blank: bool = False
    kept: float = 1.0

    def signal(self, difficulty: Floats) -> Floats:
        return np.zeros_like(difficulty) if self.blank else reported(difficulty)


def rising(
    margin: float = MARGIN, base: float = 0.06, start: float = 0.5, end: float = 0.85, unit: float = 1.0
) -> Chance:
    """The excess is 0 up to `start`, rises to just above the margin at `end`, and stays there."""
    rise = JUST_ABOVE * margin * unit / (end - start)
    return pieces((start, base), (end, base + rise), (1.0, base))


USUAL = Shape(rising(), level(0.06))


def population_of(shape: Shape) -> Population:
    """Cells of equal weight, one for each difficulty."""
    difficulty = (np.arange(CELLS) + 0.5) / CELLS
    unreadable = shape.unreadable(difficulty)
    excess = (shape.error(difficulty) - shape.incumbent(difficulty)) * (1.0 - unreadable) + unreadable
    alike = (shape.students, 1)
    return Population(np.full(CELLS, 1 / CELLS), np.tile(shape.signal(difficulty), alike), np.tile(excess, alike))


Pick = Callable[[Floats, Floats, np.random.Generator], Floats]
"""The chance that a call had gold before anything was drawn, from its difficulty and the incumbent's loss."""


def make(shape: Shape, seed: int, pick: Pick | None = None) -> Traffic:
    """The calls of one seed."""
    generator = np.random.default_rng([seed, 31])
    units, students = shape.units, shape.students
    difficulty = generator.random(units)
    wrong = generator.random((students, units)) < shape.error(difficulty)
    incumbent_wrong = generator.random(units) < shape.incumbent(difficulty)
    right = generator.integers(0, len(LABELS), units)
    said = (right + wrong * generator.integers(1, len(LABELS), (students, units))) % len(LABELS)
    answered = (right + incumbent_wrong * generator.integers(1, len(LABELS), units)) % len(LABELS)
    unreadable = generator.random(units) < shape.unreadable(difficulty)
    signal = shape.signal(difficulty)
    writer = Writer(generator)
    tables: tuple[dict[str, tuple[Any, float]], ...] = tuple({} for _ in range(students))
    times = _times(shape, generator)
    texts = _texts(shape, generator)
    unit_of: list[int] = []
    for at, unit, place in sorted(
        (float(times[unit, place]), unit, place) for unit in range(units) for place in range(shape.size)
    ):
        text = texts[unit][place]
        content = UNREADABLE if unreadable[unit] else LABELS[answered[unit]]
        talk = f"talk-{unit}" if shape.kind == "conversation" else ""
        client = f"client-{unit if shape.kind == 'client' else unit % 50}"
        writer.add(text, content, LABELS[right[unit]], at, talk, client)
        unit_of.append(unit)
        for student, table in enumerate(tables):
            table[text] = (LABELS[said[student, unit]], float(signal[unit]))
    given: frozenset[str] = frozenset()
    if pick is not None:
        row = np.array(unit_of)
        picked = generator.random(len(row)) < pick(difficulty[row], incumbent_wrong[row].astype(np.float64), generator)
        given = frozenset(call.id for call, chosen in zip(writer.calls, picked, strict=True) if chosen)
    return Traffic(
        task=task_of("classify", LABELS),
        calls=[
            call for call in writer.calls if call.id in given or call.timestamp >= START + SPAN_S * (1.0 - shape.kept)
        ],
        right=writer.right,
        students=tuple(FixedStudent(f"student-{j}", f"{j:064x}", table) for j, table in enumerate(tables)),
        given=given,
        whole_since=START + SPAN_S * (1.0 - shape.kept) if shape.kept < 1.0 else 0.0,
    )


def _times(shape: Shape, generator: np.random.Generator) -> Floats:
    begun = START + SPAN_S * generator.random((shape.units, 1))
    if shape.kind in ("conversation", "burst"):
        return np.asarray(begun + HOUR * generator.random((shape.units, shape.size)))
    return START + SPAN_S * generator.random((shape.units, shape.size))


def _texts(shape: Shape, generator: np.random.Generator) -> list[list[str]]:
    if shape.kind not in ("group", "burst"):
        flat = random_texts(shape.units * shape.size, 24, generator)
        return [flat[unit * shape.size : (unit + 1) * shape.size] for unit in range(shape.units)]
    stems = random_texts(shape.units, 24, generator)
    return [[f"{stem} {chr(ord('a') + place)}" for place in range(shape.size)] for stem in stems]


def plain(name: str, point: int, shape: Shape = USUAL, pick: Pick | None = None, **more: Any) -> World:
    return World(name, lambda seed: make(shape, seed, pick), cache(lambda: population_of(shape)), point, **more)


def only_errors(share: float) -> Pick:
    return lambda _, incumbent_wrong, __: share * incumbent_wrong


def easy_first(difficulty: Floats, _: Floats, __: np.random.Generator) -> Floats:
    return np.asarray((1.0 - difficulty) ** 2)


def unsure_first(difficulty: Floats, _: Floats, __: np.random.Generator) -> Floats:
    return np.asarray(difficulty**2)


# --- exact repeats ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Repeats:
    """A fixed set of texts with their frequencies. wrong: those that the student gets wrong, at which difficulty.

    incumbent: its chance of error at every call of a text that the student gets right or wrong; it does not repeat.
    fresh: the share of calls whose text never comes again, with an own chance of error of the student.
    """

    frequency: tuple[float, ...]
    wrong: tuple[bool, ...]
    difficulty: tuple[float, ...]
    incumbent: float
    fresh: float = 0.0
    fresh_error: float = 0.0
    calls: int = 1200


def repeats_population(world: Repeats) -> Population:
    difficulty = np.array(world.difficulty)
    weight = np.array(world.frequency) * (1.0 - world.fresh)
    excess = np.array(world.wrong, dtype=np.float64) - world.incumbent
    if world.fresh:
        spread = (np.arange(CELLS) + 0.5) / CELLS
        difficulty = np.concatenate([difficulty, spread])
        weight = np.concatenate([weight, np.full(CELLS, world.fresh / CELLS)])
        excess = np.concatenate([excess, np.full(CELLS, world.fresh_error - world.incumbent)])
    return Population(weight, reported(difficulty)[None], excess[None])


def make_repeats(world: Repeats, seed: int) -> Traffic:
    generator = np.random.default_rng([seed, 37])
    kinds = len(world.frequency)
    fixed = np.random.default_rng(37)
    known, right_of = random_texts(kinds, 24, fixed), fixed.integers(0, len(LABELS), kinds)
    table: dict[str, tuple[Any, float]] = {}
    for kind, text in enumerate(known):
        said = (right_of[kind] + world.wrong[kind]) % len(LABELS)
        table[text] = (LABELS[said], float(reported(np.array(world.difficulty[kind]))))
    drawn = generator.choice(kinds, world.calls, p=np.array(world.frequency))
    once = generator.random(world.calls) < world.fresh
    new = random_texts(world.calls, 24, generator)
    writer = Writer(generator)
    slips = generator.random(world.calls) < world.incumbent
    for row, at in enumerate(np.sort(writer.times(world.calls)).tolist()):
        right = int(right_of[drawn[row]])
        text = known[drawn[row]]
        if once[row]:
            right, text = int(generator.integers(0, len(LABELS))), new[row]
            wrong = generator.random() < world.fresh_error
            table[text] = (LABELS[(right + wrong) % len(LABELS)], float(reported(np.array(generator.random()))))
        content = LABELS[(right + (2 if slips[row] else 0)) % len(LABELS)]
        writer.add(text, content, LABELS[right], at, client=f"client-{row % 50}")
    student = FixedStudent("student-0", f"{0:064x}", table)
    return Traffic(task_of("classify", LABELS), writer.calls, writer.right, (student,))


def zipf(exponent: float, wrong_ranks: tuple[int, ...], texts: int = 400, incumbent: float = 0.02) -> Repeats:
    """Zipf frequencies. The ranks named are wrong, and rarer texts until the excess is just above the margin; where the
    ranks named are more than that already, the incumbent errs as much more."""
    frequency = 1.0 / np.arange(1, texts + 1) ** exponent
    frequency /= frequency.sum()
    generator = np.random.default_rng(41)
    wrong = np.zeros(texts, dtype=bool)
    wrong[[rank - 1 for rank in wrong_ranks]] = True
    incumbent = max(incumbent, float(frequency[wrong].sum()) - JUST_ABOVE * MARGIN)
    for text in generator.permutation(np.arange(5, texts)).tolist():
        if frequency[wrong].sum() + frequency[text] <= JUST_ABOVE * MARGIN + incumbent:
            wrong[text] = True
    difficulty = generator.random(texts)
    difficulty[wrong] = generator.uniform(0.2, 0.7, int(wrong.sum()))
    return Repeats(tuple(frequency.tolist()), tuple(wrong.tolist()), tuple(difficulty.tolist()), incumbent)


def repeating(name: str, world: Repeats) -> World:
    return World(name, lambda seed: make_repeats(world, seed), cache(lambda: repeats_population(world)), 2)


HEAD = 0.06
ONE_TEXT = Repeats(
    frequency=(1.0,),
    wrong=(True,),
    difficulty=(0.02,),
    incumbent=0.12,
    fresh=1.0 - HEAD,
    # The text costs 0.06 × 0.88; the others win back what is above the margin.
    fresh_error=0.12 - (HEAD * 0.88 - JUST_ABOVE * MARGIN) / (1.0 - HEAD),
    calls=3000,
)

# --- judges ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Judging:
    """Judges of one student: each misses an error with the chance `misses` and sees one that is none with `sees`.

    gold: the share of the calls that has gold, drawn at random.
    """

    margin: float
    gold: float
    misses: float
    sees: float
    judges: int = 1
    calls: int = 800
    incumbent: float = 0.0

    @property
    def shape(self) -> Shape:
        error = level(self.incumbent + JUST_ABOVE * self.margin)
        return Shape(error, level(self.incumbent), units=self.calls, blank=True)


def make_judged(world: Judging, seed: int) -> Traffic:
    traffic = make(world.shape, seed, lambda difficulty, _, __: np.full(difficulty.size, world.gold))
    generator = np.random.default_rng([seed, 43])
    student = traffic.students[0]
    judges = []
    for _ in range(world.judges):
        verdicts = []
        luck = generator.random((len(traffic.calls), 2))
        for call, mine in zip(traffic.calls, luck.tolist(), strict=True):
            right, said = traffic.right[call.id], student.answer(Input(call.request["messages"][0]["content"]))[0]
            for answer, heard, chance in ((None, call.content, mine[0]), (said, said, mine[1])):
                loss = float(heard != right)
                if chance < (world.misses if loss else world.sees):
                    loss = 1.0 - loss
                verdicts.append(Judgement(call.id, loss, answer))
        judges.append(verdicts)
    return Traffic(traffic.task, traffic.calls, traffic.right, traffic.students, traffic.given, tuple(judges))


def judged(name: str, point: int, world: Judging, **more: Any) -> World:
    contract = {"against": "judged", "margin": world.margin}
    return World(
        name,
        lambda seed: make_judged(world, seed),
        cache(lambda: population_of(world.shape)),
        point,
        basis="random-sample",
        contract=contract,
        **more,
    )


# --- a loss without the triangle inequality --------------------------------------------------------------------------

SWAPPED = Shape(rising(unit=1.5, base=0.0), level(0.0))
"""Of these rows the incumbent adds a field, which costs it a third; the student gives that field alone, and loses all.
It differs from the incumbent by a third, and its excess is two thirds."""


def make_fields(seed: int) -> Traffic:
    traffic = make(SWAPPED, seed)
    plain_student = traffic.students[0]
    calls, table, right = [], {}, {}
    for call in traffic.calls:
        text = call.request["messages"][0]["content"]
        truth = traffic.right[call.id]
        said, signal = plain_student.answer(Input(text))
        swapped = said != truth
        right[call.id] = {"a": truth}
        content = json.dumps({"a": truth, "b": truth} if swapped else {"a": truth})
        table[text] = ({"b": truth} if swapped else {"a": truth}, signal[0])
        message = {"role": "assistant", "content": content}
        response = {**(call.response or {}), "choices": [{"index": 0, "message": message}]}
        calls.append(msgspec.structs.replace(call, response=response))
    student = FixedStudent("student-0", plain_student.artefact, table)
    return Traffic(task_of("extract", ()), calls, right, (student,))


def fields_population() -> Population:
    found = population_of(SWAPPED)
    return Population(found.weight, found.signal, found.excess * 2 / 3)


# --- units of unequal size ------------------------------------------------------------------------------------------

BUSY_CLIENTS, CALLS_OF_THE_BUSY = 250, 6
"""Clients who call all month; there the student is as right as the incumbent."""

RARE_CALLS = 1500
RARE_ERROR = 2 * JUST_ABOVE * 0.10
"""As many calls come from clients who call once; only those does the student answer worse than the incumbent."""


def make_unequal(seed: int) -> Traffic:
    generator = np.random.default_rng([seed, 47])
    writer = Writer(generator)
    sizes = [CALLS_OF_THE_BUSY] * BUSY_CLIENTS + [1] * RARE_CALLS
    texts = iter(random_texts(sum(sizes), 24, generator))
    table: dict[str, tuple[Any, float]] = {}
    rows = []
    for client, size in enumerate(sizes):
        wrong = size == 1 and generator.random() < RARE_ERROR
        difficulty = generator.random()
        rows += [(float(at), client, next(texts), wrong, difficulty) for at in writer.times(size)]
    for at, client, text, wrong, difficulty in sorted(rows):
        right = int(generator.integers(0, len(LABELS)))
        writer.add(text, LABELS[right], LABELS[right], at, client=f"client-{client}")
        table[text] = (LABELS[(right + wrong) % len(LABELS)], float(reported(np.array(difficulty))))
    student = FixedStudent("student-0", f"{0:064x}", table)
    return Traffic(task_of("classify", LABELS), writer.calls, writer.right, (student,))


def unequal_population() -> Population:
    difficulty = (np.arange(CELLS) + 0.5) / CELLS
    excess = np.full(CELLS, RARE_ERROR * RARE_CALLS / (RARE_CALLS + BUSY_CLIENTS * CALLS_OF_THE_BUSY))
    return Population(np.full(CELLS, 1 / CELLS), reported(difficulty)[None], excess[None])


# --- all of them -----------------------------------------------------------------------------------------------------

POOR = Shape(rising(base=0.20), level(0.20))
CONFIDENT = Shape(rising(start=0.10, end=0.45), level(0.06))
GROUPS = Shape(rising(0.10, 0.02), level(0.02), units=250, size=5, kind="group")
BURSTS_5 = replace(GROUPS, kind="burst")
BURSTS_20 = Shape(rising(0.20, 0.02), level(0.02), units=100, size=20, kind="burst")
TALKS = Shape(rising(0.10, 0.02), level(0.02), units=200, size=8, kind="conversation")
CLIENTS = Shape(rising(0.10, 0.02), level(0.02), units=200, size=10, kind="client")
KEPT = replace(USUAL, units=2400, kept=0.4)
FLAT = Shape(level(0.06 + JUST_ABOVE * MARGIN), level(0.06), units=1000, blank=True)
SEVERAL = replace(FLAT, students=10, units=600)
UNREAD = Shape(level(0.01), level(0.0), unreadable=level(0.08))

TEN_JUDGES = Judging(0.10, 0.08125, 0.3, 0.1, judges=10, incumbent=0.10)

WIDE = {"margin": 0.10}
BY_TALK = {**WIDE, "unit": "metadata.conversation"}
BY_CLIENT = {**WIDE, "unit": "client_id"}
BY_LIKENESS = {**WIDE, "unit": "near-duplicate"}

WORLDS: tuple[World, ...] = (
    plain("gold only where the incumbent erred", 1, POOR, only_errors(1.0)),
    plain("gold where a person looked: the easy calls", 1, USUAL, easy_first),
    plain("the easy calls, declared a random sample", 1, USUAL, easy_first, basis="random-sample"),
    plain("gold where the student is unsure", 1, CONFIDENT, unsure_first),
    plain("feedback of corrections only", 1, POOR, only_errors(0.3)),
    plain("old calls kept only where the easy ones had gold", 1, KEPT, easy_first),
    plain("independent calls", 2),
    plain("independent calls, the whole draw labelled at once", 2, whole_draw=True),
    plain("independent calls, a signal that says nothing", 2, FLAT),
    plain("near-duplicates in bursts of 5, unit inferred", 2, BURSTS_5, whole_draw=True, contract=WIDE),
    plain("near-duplicates in bursts of 20, unit inferred", 2, BURSTS_20, whole_draw=True, contract={"margin": 0.20}),
    plain("near-duplicates of 5 over the month, unit named", 2, GROUPS, whole_draw=True, contract=BY_LIKENESS),
    plain("near-duplicates of 5 over the month, unit not named", 2, GROUPS, whole_draw=True, contract=WIDE),
    plain("conversations of 8 calls, unit inferred", 2, TALKS, whole_draw=True, contract=WIDE),
    plain("conversations of 8 calls, unit inferred, labels as builds ask", 2, TALKS, contract=WIDE),
    plain("conversations of 8 calls, unit named", 2, TALKS, whole_draw=True, contract=BY_TALK),
    plain("clients of 10 calls, unit named", 2, CLIENTS, whole_draw=True, contract=BY_CLIENT),
    World(
        "busy clients and rare ones, the rare answered worse, unit named",
        make_unequal,
        cache(unequal_population),
        2,
        whole_draw=True,
        contract=BY_CLIENT,
    ),
    repeating("Zipf, exponent 1.0, errors spread", zipf(1.0, ())),
    repeating("Zipf, exponent 1.0, one frequent text wrong", zipf(1.0, (4,))),
    repeating("Zipf, exponent 1.5, errors spread", zipf(1.5, ())),
    repeating("Zipf, exponent 1.5, the second text wrong", zipf(1.5, (2,))),
    repeating("one text of 6 % answered wrongly and surely", ONE_TEXT),
    plain("four tasks over the same calls", 3, SEVERAL, procedure="tasks", times=4),
    plain("the same calls imported four times under new ids", 3, SEVERAL, procedure="reimport", times=4),
    plain("new ids beside the old ones, four exports in one store", 3, SEVERAL, procedure="pile", times=4),
    plain("ten students until one is certified", 3, SEVERAL, procedure="retry", times=10),
    judged(
        "ten judges, 65 gold rows, until one certifies",
        3,
        Judging(0.05, 0.25, 0.3, 0.05, 10, 800, 0.04),
        procedure="judges",
        times=10,
    ),
    judged("judged, 150 gold rows, margin 0.03, a blind judge", 4, Judging(0.03, 0.1875, 1.0, 0.0)),
    judged("judged, 150 gold rows, a fair judge", 4, Judging(0.05, 0.1875, 0.3, 0.1)),
    judged("judged, 65 gold rows, margin 0.10", 4, Judging(0.10, 0.08125, 0.7, 0.0)),
    plain("50 labels more and another build, until certified", 5, FLAT, procedure="relabel", times=8),
    plain("50 labels more and a look at them, until they would do", 5, FLAT, procedure="peek", times=8),
    plain("agreement, 8 % of the incumbent's answers unreadable", 7, UNREAD, contract={"against": "agreement"}),
    World(
        "agreement by field F1, which has no triangle inequality",
        make_fields,
        cache(fields_population),
        7,
        contract={"against": "agreement", "loss": "field-f1"},
    ),
)
