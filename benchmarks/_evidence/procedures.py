"""How people go about certifying: one build, or another and another until one is certified."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import msgspec

from benchmarks._evidence.rooms import Order, Rooms
from benchmarks._evidence.traffic import Traffic
from benchmarks._evidence.worlds import World
from stepdown.core.certificate import Certificate
from stepdown.core.dataset import Answer

LABELS_A_TIME = 50


def certificates(world: World, traffic: Traffic, rooms: Rooms, seed: int) -> Iterator[Certificate | None]:
    """Every certificate or refusal, in order. Whoever reads them stops where the procedure would.

    A look at labels beside answers, which nobody journals, is a build in a journal that nobody keeps.
    """
    journal = rooms.new_journal(seed)
    for order in _orders(world, traffic):
        if world.procedure == "peek":
            journal = rooms.new_journal(seed)
        yield journal.build(order)


def _orders(world: World, traffic: Traffic) -> Iterator[Order]:
    first = _order(world, traffic)
    match world.procedure:
        case "once":
            yield first
        case "tasks" | "retry":
            for number in range(world.times):
                name = f"made-up-{number}" if world.procedure == "tasks" else traffic.task.name
                task = msgspec.structs.replace(traffic.task, name=name)
                yield replace(first, task=task, students=(traffic.students[number],))
        case "reimport":
            for number in range(world.times):
                yield replace(_order(world, _renamed(traffic, number)), students=(traffic.students[number],))
        case "pile":
            pile = traffic
            for number in range(world.times):
                pile = _together(pile, _renamed(traffic, number)) if number else pile
                yield replace(_order(world, pile), students=(traffic.students[number],))
        case "judges":
            for number in range(world.times):
                yield replace(first, verdicts=traffic.judges[number], judge=f"judge-{number}")
        case "relabel" | "peek":
            for number in range(world.times):
                yield replace(first, most_labels=LABELS_A_TIME * (number + 1))


def _order(world: World, traffic: Traffic) -> Order:
    right = traffic.right

    def ask(ids: Sequence[str]) -> dict[str, Answer]:
        return {name: right[name] for name in ids}

    against = world.contract.get("against", "gold")
    return Order(
        task=traffic.task,
        calls=traffic.calls,
        given={name: right[name] for name in traffic.given},
        given_basis=world.basis,
        ask=None if against == "agreement" else ask,
        students=traffic.students[:1],
        contract={"margin": world.margin, **world.contract},
        verdicts=traffic.judges[0] if traffic.judges else (),
        judge="judge-0" if traffic.judges else "",
        whole_draw=world.whole_draw,
        whole_since=traffic.whole_since,
    )


def _renamed(traffic: Traffic, number: int) -> Traffic:
    """The same calls as another export has them: other ids, the same requests, responses and times."""
    if not number:
        return traffic
    prefix = f"export-{number}-"
    return Traffic(
        task=traffic.task,
        calls=[msgspec.structs.replace(call, id=prefix + call.id) for call in traffic.calls],
        right={prefix + name: answer for name, answer in traffic.right.items()},
        students=traffic.students,
        given=frozenset(prefix + name for name in traffic.given),
    )


def _together(one: Traffic, other: Traffic) -> Traffic:
    return Traffic(one.task, [*one.calls, *other.calls], one.right | other.right, one.students, one.given | other.given)
