"""How it came to be that calls were labelled: as declared, else as the journal and the calls show."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec
import pytest

from stepdown.core.draw import DRAWN, Draw, pack_keys
from stepdown.core.errors import InputError
from stepdown.project.home import Home, open_home
from stepdown.project.import_traffic import ImportRequest, ImportResult, import_traffic

CALLS = 30


def line(number: int, workload: str = "t", provider: str = "") -> str:
    request = {"model": "m", "messages": [{"role": "user", "content": f"question {number}"}]}
    response = {"choices": [{"message": {"role": "assistant", "content": "ab"[number % 2]}}]}
    call = {"id": f"c{number}", "workload_id": workload, "request": request, "response": response}
    return json.dumps({**call, "provider": provider})


@pytest.fixture
def home(tmp_path: Path) -> Home:
    (tmp_path / "calls.jsonl").write_text("\n".join(line(number) for number in range(CALLS)))
    found = open_home(tmp_path)
    import_traffic(found, ImportRequest(paths=[str(tmp_path / "calls.jsonl")]), lambda what, share: None)
    return found


@pytest.fixture
def give(home: Home) -> Callable[..., ImportResult]:
    """Import gold for calls by their numbers."""

    def gold(numbers: Iterable[int], gold_is: str = "", answer: str = "a") -> ImportResult:
        path = home.folder / "gold.csv"
        path.write_text("id,gold\n" + "".join(f"c{number},{answer}\n" for number in numbers))
        request = ImportRequest(paths=(), gold=[str(path)], gold_is=gold_is)  # type: ignore[arg-type]
        return import_traffic(home, request, lambda what, share: None)

    return gold


def draw(home: Home, numbers: Iterable[int]) -> None:
    found = Draw(
        task="t",
        scope="traffic",
        unit="call",
        salt="t 0",
        calls=CALLS,
        units=CALLS,
        first=0.0,
        last=0.0,
        keys=pack_keys(f"c{number}" for number in numbers),
    )
    with home.store() as store:
        store.append(DRAWN, "t", msgspec.to_builtins(found), at=1.0)


def bases(home: Home) -> dict[str, str]:
    with home.store() as store:
        return {name: one.basis for name, one in store.gold().items()}


def test_gold_for_some_calls_is_volunteered(home: Home, give: Callable[..., ImportResult]) -> None:
    assert give(range(10)).gold_is == {"volunteered": 10}
    assert set(bases(home).values()) == {""}  # whether it is for every call may still change


def test_gold_for_every_call_is_for_all(home: Home, give: Callable[..., ImportResult]) -> None:
    assert give(range(10)).gold_is == {"volunteered": 10}
    assert give(range(10, CALLS)).gold_is == {"all": CALLS - 10}
    assert give(range(CALLS)).gold_is == {"all": CALLS}


def test_gold_for_drawn_calls_is_known_by_their_ids(home: Home, give: Callable[..., ImportResult]) -> None:
    draw(home, range(5, 12))
    assert give(range(10)).gold_is == {"drawn": 5, "volunteered": 5}
    assert {name for name, basis in bases(home).items() if basis == "drawn"} == {f"c{n}" for n in range(5, 10)}


@pytest.mark.parametrize("basis", ["random-sample", "all", "volunteered"])
def test_what_is_declared_is_taken_for_it(home: Home, give: Callable[..., ImportResult], basis: str) -> None:
    draw(home, range(5))
    assert give(range(10), basis).gold_is == {basis: 10}
    assert set(bases(home).values()) == {basis}


def test_gold_declared_drawn_for_calls_that_were_not_is_refused_whole(
    home: Home, give: Callable[..., ImportResult]
) -> None:
    draw(home, range(5))
    with pytest.raises(InputError, match="'c7' was declared drawn"):
        give([0, 1, 2, 7], "drawn")
    assert bases(home) == {}
    assert give(range(5), "drawn").gold_is == {"drawn": 5}


def test_volunteered_gold_never_makes_a_task_complete(home: Home, give: Callable[..., ImportResult]) -> None:
    """Feedback may cover every call, and is still what somebody chose to say."""
    give([3], "volunteered")
    others = [number for number in range(CALLS) if number != 3]
    assert give(others).gold_is == {"volunteered": CALLS - 1}


def test_a_declaration_can_be_taken_back_by_whoever_imports(home: Home, give: Callable[..., ImportResult]) -> None:
    """Only feedback yields to what is there: who imports a file says what it is."""
    draw(home, range(5))
    give(range(5))
    give(range(5), "volunteered", answer="b")
    with home.store() as store:
        assert {(one.gold, one.basis) for one in store.gold().values()} == {("b", "volunteered")}


def test_calls_that_a_student_answered_need_no_gold(home: Home, give: Callable[..., ImportResult]) -> None:
    path = home.folder / "more.jsonl"
    path.write_text("\n".join(line(number, provider="stepdown/linear") for number in range(CALLS, CALLS + 9)))
    import_traffic(home, ImportRequest(paths=[str(path)]), lambda what, share: None)
    assert give(range(CALLS)).gold_is == {"all": CALLS}


def test_a_task_is_complete_by_its_own_calls(home: Home, give: Callable[..., ImportResult]) -> None:
    path = home.folder / "more.jsonl"
    path.write_text("\n".join(line(number, "other") for number in range(CALLS, CALLS + 9)))
    import_traffic(home, ImportRequest(paths=[str(path)]), lambda what, share: None)
    assert give(range(CALLS + 2)).gold_is == {"all": CALLS, "volunteered": 2}


def test_gold_for_calls_that_are_not_here_is_counted(give: Callable[..., ImportResult]) -> None:
    assert give([1, 2, 999]).gold_is == {"volunteered": 2, "without call": 1}


def test_the_journal_knows_the_gold_and_what_it_was_taken_for(home: Home, give: Callable[..., ImportResult]) -> None:
    give(range(4))
    give(range(4))
    give(range(4), answer="b")
    with home.store() as store:
        events = [event.data for event in store.events("imported")][1:]
    assert [event["gold_is"] for event in events] == [{"volunteered": 4}] * 3
    rows = [event["gold_rows"] for event in events]
    assert rows[0] == rows[1] != rows[2]
