"""Students answer while a certificate stands for exactly what is served; else the incumbent does, and it is said why.
Where privacy forbids that, nothing leaves."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from stepdown.certificate.files import read_certificate, write_certificate
from tests.cli.conftest import stepdown
from tests.cli.tickets import SYSTEM, TASK
from tests.gateway.large_model import SAID, LargeModel
from tests.gateway.serving import SETTINGS, copied, issue, kept, serving, soon, sure, unsure

SURE = sure()[0]
PERSONAL = ("jane.doe@example.com", "+44 20 7946 0958", "4111 1111 1111 1111")


def build_file(home: Path, name: str) -> Path:
    newest = (home / f".stepdown/builds/{TASK}/latest").read_text()
    return home / ".stepdown/builds" / TASK / newest / name


def lapse(home: Path) -> None:
    issue(home, issued_at=time.time() - 100, expires_at=time.time() - 1)


def refuse(home: Path) -> None:
    issue(home, verdict="refused")


def come_too_early(home: Path) -> None:
    issue(home, issued_at=time.time() + 1000, expires_at=time.time() + 2000)


def forge(home: Path) -> None:
    path = build_file(home, "certificate.json")
    certificate = read_certificate(path)
    write_certificate(path, msgspec.structs.replace(certificate, expires_at=certificate.expires_at + 1e6))


def ask_for_a_narrower_margin(home: Path) -> None:
    (home / "stepdown.toml").write_text(SETTINGS.replace("0.05", "0.02"))


def ask_for_gold_no_more(home: Path) -> None:
    (home / "stepdown.toml").write_text(f'{SETTINGS}against = "agreement"\nexpires_after = "7d"\n')


def lose_the_certificate(home: Path) -> None:
    build_file(home, "certificate.json").unlink()


def break_the_seal(home: Path) -> None:
    path = build_file(home, "certificate.json")
    path.write_text(path.read_text().replace('"margin":0.05', '"margin":0.06'))


def change_the_cascade(home: Path) -> None:
    path = build_file(home, "cascade.json")
    spec = json.loads(path.read_bytes())
    spec["rungs"][0]["threshold"] = 0.0
    path.write_text(json.dumps(spec))


def flip_the_artefact(home: Path) -> None:
    rung = json.loads(build_file(home, "cascade.json").read_bytes())["rungs"][0]
    folder = home / ".stepdown/artefacts" / rung["artefact"]
    path = max(folder.glob("*"), key=lambda path: (path.name != "manifest.json", path.stat().st_size))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def garble_the_task(home: Path) -> None:
    build_file(home, "task.json").write_text("{")


def lose_the_build(home: Path) -> None:
    (home / f".stepdown/builds/{TASK}/latest").unlink()


BEFALLEN: list[tuple[Callable[[Path], None], str]] = [
    (lapse, "lapsed"),
    (refuse, "refused"),
    (come_too_early, "not in force yet"),
    (forge, "the journal knows no such certificate"),
    (ask_for_a_narrower_margin, "is for another contract: margin = 0.05; stepdown.toml asks for margin = 0.02"),
    (ask_for_gold_no_more, 'against = "gold", expires_after = "30d"; stepdown.toml asks for against = "agreement", '),
    (lose_the_certificate, "cannot be read"),
    (break_the_seal, "cannot be read"),
    (change_the_cascade, "another cascade"),
    (flip_the_artefact, "cannot be opened"),
    (garble_the_task, "cannot be read"),
    (lose_the_build, "not built"),
]


@pytest.mark.parametrize(("befall", "reason"), BEFALLEN, ids=[befall.__name__ for befall, _ in BEFALLEN])
def test_without_a_certificate_in_force_the_incumbent_answers(
    certified: Path, upstream: LargeModel, tmp_path: Path, befall: Callable[[Path], None], reason: str
) -> None:
    """And a task that may not leave does not: by its template too, whatever has become of its build."""
    home = copied(certified, tmp_path / "home")
    befall(home)
    with serving(home, "--upstream", upstream.url) as gateway:
        got = gateway.ask(SURE)
        assert got.json()["choices"][0]["message"]["content"] == SAID
        assert got.headers["x-stepdown-rung"] == "incumbent"
        assert reason in got.headers["x-stepdown-reason"]
        assert str(home) not in got.headers["x-stepdown-reason"], "a client need not know our folders"
        assert "x-stepdown-certificate" not in got.headers
        assert gateway.client.get("/readyz").status_code == 200
        before = len(upstream.seen)
        assert gateway.ask(SURE, headers={"x-stepdown-route": "students"}).status_code == 422
        assert len(upstream.seen) == before


@pytest.mark.parametrize("befall", [lapse, flip_the_artefact, garble_the_task])
def test_what_may_not_leave_does_not_whatever_befell_the_build(
    certified: Path, upstream: LargeModel, tmp_path: Path, befall: Callable[[Path], None]
) -> None:
    home = copied(certified, tmp_path / "home", SETTINGS + 'privacy = "local-only"\n')
    befall(home)
    before = len(upstream.seen)
    with serving(home, "--upstream", upstream.url) as gateway:
        for headers in ({}, {"x-stepdown-workload": TASK}, {"x-stepdown-route": "incumbent"}):
            assert gateway.ask(SURE, headers=headers).status_code == 422
    assert len(upstream.seen) == before


def test_a_certificate_lapses_while_it_is_served(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home")
    with serving(home, "--upstream", upstream.url) as gateway:
        assert gateway.ask(SURE).headers["x-stepdown-rung"] == "linear"
        issue(home, expires_at=time.time() + 1.5)
        assert soon(lambda: "lapsed" in gateway.ask(SURE).headers.get("x-stepdown-reason", ""))
        assert gateway.ask(SURE).headers["x-stepdown-rung"] == "incumbent"


def test_a_build_that_is_tampered_with_while_it_is_served(
    certified: Path, upstream: LargeModel, tmp_path: Path
) -> None:
    home = copied(certified, tmp_path / "home")
    with serving(home, "--upstream", upstream.url) as gateway:
        assert gateway.ask(SURE).headers["x-stepdown-rung"] == "linear"
        break_the_seal(home)
        assert soon(lambda: gateway.ask(SURE).headers["x-stepdown-rung"] == "incumbent")
        garble_the_task(home)
        time.sleep(1.2)
        stepdown("key", "create", "later", "--home", str(home))
        assert soon(lambda: gateway.ask(SURE).status_code == 401), "it no longer looks"


def test_local_only(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home", SETTINGS + 'privacy = "local-only"\n')
    before = len(upstream.seen)
    with serving(home, "--upstream", upstream.url) as gateway:
        assert gateway.ask(SURE).headers["x-stepdown-rung"] == "linear"
        for text, headers, more in (
            (unsure(), {}, {}),
            (SURE, {"x-stepdown-route": "incumbent"}, {}),
            (SURE, {}, {"tools": [{"type": "function", "function": {"name": "f"}}]}),
            (SURE, {}, {"stream": True, "logprobs": True}),
        ):
            got = gateway.ask(text, headers=headers, **more)
            assert got.status_code == 422
            assert got.json()["error"]["code"] == "abstained"
            assert "local-only" in got.json()["error"]["message"]
            assert got.headers["x-stepdown-rung"] == "abstained"
        messages = [{"role": "user", "content": unsure()}]
        body = {"model": "m", "max_tokens": 9, "system": SYSTEM, "messages": messages}
        got = gateway.client.post("/v1/messages", json=body)
        assert got.status_code == 422
        assert got.json()["type"] == "error"
        assert gateway.client.post("/v1/responses", json={"input": unsure()}).status_code == 403
        assert gateway.ask(unsure(), headers={"x-stepdown-route": "students"}).status_code == 200
    assert len(upstream.seen) == before, "something left the machine"


def test_redact(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home", SETTINGS + 'privacy = "redact"\n')
    text = f"{unsure()} {' or '.join(PERSONAL)}"
    before = len(upstream.seen)
    more = {
        "user": PERSONAL[0],
        "metadata": {"who": PERSONAL[0], "workload": TASK},
        "prediction": {"type": "content", "content": text},
        "zz_unknown": [PERSONAL[0]],
    }
    with serving(home, "--upstream", upstream.url) as gateway:
        names = []
        for said in (text, [{"type": "text", "text": text}]):
            for headers in ({}, {"x-stepdown-route": "incumbent"}):
                messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": said}]
                got = gateway.ask("", messages=messages, headers=headers, **more)
                assert got.status_code == 200
                names.append(got.headers["x-stepdown-id"])
        claude = {"model": "m", "max_tokens": 9, "system": SYSTEM, "messages": [{"role": "user", "content": text}]}
        names.append(gateway.client.post("/v1/messages", json=claude).headers["x-stepdown-id"])
        local = gateway.ask(f"{SURE} {PERSONAL[0]}")
        names.append(local.headers["x-stepdown-id"])
        image = [{"type": "text", "text": SURE}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}]
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": image}]
        unreadable = gateway.ask("", messages=messages, headers={"x-stepdown-workload": TASK})
        assert unreadable.status_code == 422
        assert unreadable.json()["error"]["code"] == "cannot_be_masked"
        for name in names:
            assert kept(home, name).request["messages"][-1]["content"]
    sent = "".join(seen.everything for seen in upstream.seen[before:])
    assert unsure() in sent
    written = b"".join(path.read_bytes() for path in sorted(home.rglob("*")) if path.is_file())
    for piece in PERSONAL:
        assert piece not in sent
        assert piece.encode() not in written
