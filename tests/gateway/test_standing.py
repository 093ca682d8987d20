"""Students answer while a certificate stands for exactly what is served; else the incumbent does, and it is said why.
Where privacy forbids that, nothing leaves."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from stepdown.certificate.files import read_certificate, write_certificate
from stepdown.core.canonical import canonical_json
from stepdown.core.keys import Key, token_digest
from stepdown.runtime.cascade import CascadeSpec
from tests.cli.conftest import stepdown
from tests.cli.tickets import SYSTEM, TASK
from tests.gateway.large_model import SAID, LargeModel
from tests.gateway.serving import SETTINGS, build_home, copied, issue, kept, serving, soon, sure, unsure

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


def garble_the_manifest(home: Path) -> None:
    """As a damaged byte does: no UTF-8 any more."""
    rung = json.loads(build_file(home, "cascade.json").read_bytes())["rungs"][0]
    path = home / ".stepdown/artefacts" / rung["artefact"] / "manifest.json"
    data = bytearray(path.read_bytes())
    data[20] = 0xFF
    path.write_bytes(bytes(data))


def change(name: str, old: str, new: str) -> Callable[[Path], None]:
    """Changes one file of the build, sealed or not."""

    def changed(home: Path) -> None:
        path = build_file(home, name)
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    changed.__name__ = f"change_{name}"
    return changed


def lose_the_template(home: Path) -> None:
    build_file(home, "response-template.json").unlink()


def forge_another_student(home: Path) -> None:
    """A certificate resealed by hand for a cascade that accepts everything."""
    path = build_file(home, "cascade.json")
    spec = msgspec.json.decode(path.read_bytes(), type=CascadeSpec)
    rungs = tuple(msgspec.structs.replace(rung, threshold=0.0) for rung in spec.rungs)
    spec = msgspec.structs.replace(spec, rungs=rungs)
    path.write_bytes(canonical_json(spec))
    certificate = read_certificate(build_file(home, "certificate.json"))
    table = msgspec.to_builtins(spec)
    resealed = msgspec.structs.replace(certificate, cascade=table, cascade_hash=spec.digest)
    write_certificate(build_file(home, "certificate.json"), resealed)


def sql(*statements: str) -> Callable[[Path], None]:
    def done(home: Path) -> None:
        with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
            for statement in statements:
                database.execute(statement)

    done.__name__ = statements[0].replace(" ", "_").lower()
    return done


def enter_a_forged_event(home: Path) -> None:
    """The journal is told of a forged certificate, by one who does not know how events are chained."""
    forge(home)
    certificate = read_certificate(build_file(home, "certificate.json"))
    with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
        database.execute(
            "INSERT INTO events SELECT MAX(sequence) + 1, MAX(at), 'built', ?, ?, 'link', 'seal' FROM events",
            (TASK, json.dumps({"certificate": certificate.digest})),
        )


def garble_the_task(home: Path) -> None:
    build_file(home, "task.json").write_text("{")


def lose_the_build(home: Path) -> None:
    shutil.rmtree(build_file(home, "certificate.json").parent)


BEFALLEN: list[tuple[Callable[[Path], None], str]] = [
    (lapse, "lapsed"),
    (refuse, "refused"),
    (come_too_early, "not in force yet"),
    (forge, "the journal knows no such certificate"),
    (ask_for_a_narrower_margin, "is for another contract: margin = 0.05; stepdown.toml asks for margin = 0.02"),
    (ask_for_gold_no_more, 'against = "gold", expires_after = "30d"; stepdown.toml asks for against = "agreement", '),
    (lose_the_certificate, "cannot be read"),
    (break_the_seal, "cannot be read"),
    (change_the_cascade, "cascade.json of the build is not what the journal has"),
    (flip_the_artefact, "cannot be opened"),
    (garble_the_manifest, "cannot be opened"),
    (forge_another_student, "the journal knows no such certificate"),
    (change("record.json", '"value":', '"value": '), "record.json of the build is not what the journal has"),
    (change("evidence.jsonl", ":", ": "), "evidence.jsonl of the build is not what the journal has"),
    (change("response-template.json", '"assistant"', '"user"'), "response-template.json of the build is not"),
    (lose_the_template, "response-template.json of the build is not what the journal has"),
    (sql("UPDATE events SET at = at + 1 WHERE sequence = 1"), "the journal is not whole"),
    (sql("DELETE FROM events WHERE sequence = 2"), "the journal is not whole"),
    (sql("DELETE FROM events WHERE sequence = (SELECT MAX(sequence) FROM events)"), "the journal is not whole"),
    (sql("DELETE FROM events"), "the journal is not whole"),
    (enter_a_forged_event, "the journal is not whole"),
    (garble_the_task, "cannot be read"),
    (lose_the_build, "the build is not here"),
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


def test_a_revoked_key_ends_whatever_befell_a_task(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home")
    token = stepdown("key", "create", "web", "--home", str(home), "--json").json["token"]
    headers = {"authorization": f"Bearer {token}"}
    garble_the_manifest(home)
    with serving(home, "--upstream", upstream.url) as gateway:
        assert gateway.ask(SURE, headers=headers).headers["x-stepdown-rung"] == "incumbent"
        assert "task_not_read" in gateway.log
        build_file(home, "certificate.json").write_bytes(b"\xff")
        with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
            database.execute("UPDATE tasks SET body = x'ff' || body")
        assert stepdown("key", "revoke", "web", "--home", str(home)).code == 0
        assert soon(lambda: gateway.ask(SURE, headers=headers).status_code == 401)


def test_a_key_whose_row_is_damaged_opens_nothing(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home")
    token = stepdown("key", "create", "web", "--home", str(home), "--json").json["token"]
    with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
        database.execute("UPDATE keys SET body = '{'")
    with serving(home, "--upstream", upstream.url) as gateway:
        for headers in ({}, {"authorization": f"Bearer {token}"}):
            assert gateway.ask(SURE, headers=headers).status_code == 401
    assert "is not what the journal has" in stepdown("status", "--home", str(home)).err


def test_how_answers_are_phrased_is_the_builds_and_not_the_stores(
    certified: Path, upstream: LargeModel, tmp_path: Path
) -> None:
    """Calls that are forgotten or changed after the build change no answer."""
    home = copied(certified, tmp_path / "home")
    with serving(home, "--upstream", upstream.url) as gateway:
        before = gateway.ask(SURE).json()
    with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
        database.execute("DELETE FROM calls")
        database.execute("DELETE FROM blocks")
    with serving(home, "--upstream", upstream.url) as gateway:
        got = gateway.ask(SURE)
        assert got.headers["x-stepdown-rung"] == "linear"
        assert got.json()["choices"] == before["choices"]
        assert (got.json()["model"], got.json()["usage"]) == (before["model"], before["usage"])


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


@pytest.mark.parametrize("harm", ["gone", "empty", "cut"])
def test_settings_that_go_loosen_nothing(certified: Path, upstream: LargeModel, tmp_path: Path, harm: str) -> None:
    """A file that is gone, empty or cut off before the contract says nothing of what may leave."""
    home = copied(certified, tmp_path / "home", SETTINGS + 'privacy = "local-only"\n')
    settings, before = home / "stepdown.toml", len(upstream.seen)
    with serving(home, "--upstream", upstream.url) as gateway:
        assert gateway.ask(unsure()).status_code == 422
        if harm == "gone":
            settings.unlink()
        else:
            settings.write_text("" if harm == "empty" else "[gateway]\n")
        assert soon(lambda: "privacy_not_loosened" in gateway.log)
        time.sleep(1.2)
        assert gateway.ask(unsure()).status_code == 422
    assert len(upstream.seen) == before, "something left the machine"


def test_keys_that_vanish_from_the_store_open_nothing(certified: Path, upstream: LargeModel, tmp_path: Path) -> None:
    home = copied(certified, tmp_path / "home")
    stepdown("key", "create", "web", "--home", str(home))
    with serving(home, "--upstream", upstream.url) as gateway:
        assert gateway.ask(SURE).status_code == 401
        with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
            database.execute("DELETE FROM keys")
        time.sleep(2.5)
        assert gateway.ask(SURE).status_code == 401


def test_key_rows_that_the_journal_did_not_issue_open_nothing(
    certified: Path, upstream: LargeModel, tmp_path: Path
) -> None:
    """Inserted by hand, or edited: given more rights, or taken back from among the revoked."""
    home = copied(certified, tmp_path / "home")
    made = {name: stepdown("key", "create", name, "--home", str(home), "--json").json for name in ("web", "old", "own")}
    tokens = {name: {"authorization": f"Bearer {one['token']}"} for name, one in made.items()}
    stepdown("key", "revoke", "old", "--home", str(home))
    forged = tokens["own"]["authorization"].removeprefix("Bearer ") + "x"
    with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
        body = database.execute("SELECT body FROM keys WHERE body LIKE '%\"own\"%'").fetchone()[0]
    row = msgspec.json.decode(body, type=Key)
    row = msgspec.structs.replace(row, id="key-aaaaaaaaaaaa", name="forged", digest=token_digest(forged))
    with serving(home, "--upstream", upstream.url) as gateway:
        assert gateway.ask(SURE, headers=tokens["web"]).status_code == 200
        assert gateway.ask(SURE, headers=tokens["old"]).status_code == 401
        with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
            columns = [name for _, name, *_ in database.execute("PRAGMA table_info(keys)")]
            values = {"id": row.id, "digest": row.digest, "body": canonical_json(row).decode()}
            given = [values.get(name, row.created_at) for name in columns]
            database.execute(f"INSERT INTO keys VALUES ({', '.join('?' * len(columns))})", given)
            database.execute("UPDATE keys SET body = replace(body, '\"revoked_at\":', '\"x\":')")
            database.execute(
                'UPDATE keys SET body = replace(body, \'"name":"web"\', \'"may_label":true,"name":"web"\')'
            )
        assert soon(lambda: "keys_not_issued" in gateway.log)
        assert gateway.ask(SURE, headers={"authorization": f"Bearer {forged}"}).status_code == 401
        assert gateway.ask(SURE, headers=tokens["old"]).status_code == 401
        assert gateway.ask(SURE, headers=tokens["web"]).status_code == 401, "nobody issued it with more rights"
        assert gateway.ask(SURE, headers=tokens["own"]).status_code == 200
        later = stepdown("key", "create", "later", "--home", str(home), "--json").json["token"]
        assert soon(lambda: gateway.ask(SURE, headers={"authorization": f"Bearer {later}"}).status_code == 200)


@pytest.mark.parametrize("renames", ["the row", "all of it"])
def test_a_task_whose_row_is_renamed_keeps_its_contract(upstream: LargeModel, tmp_path: Path, renames: str) -> None:
    """Found by its prompt, for its settings go by the name that it had."""
    home = build_home(tmp_path / "home", SETTINGS + 'privacy = "local-only"\n', build=False)
    assert stepdown("tasks", "--home", str(home)).code == 0
    with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
        database.execute("UPDATE tasks SET name = 'other'")
        if renames == "all of it":
            database.execute('UPDATE tasks SET body = replace(body, \'"name":"tickets"\', \'"name":"other"\')')
    before = len(upstream.seen)
    with serving(home, "--upstream", upstream.url) as gateway:
        for headers in ({}, {"x-stepdown-workload": "other"}):
            assert gateway.ask(unsure(), headers=headers).status_code == 422
    assert len(upstream.seen) == before, "something left the machine"
