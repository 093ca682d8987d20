"""What cannot be undone unseen: events that were deleted, builds that were changed, heads kept elsewhere or signed."""

from __future__ import annotations

import json
import shutil
import sqlite3
import stat
from pathlib import Path

import pytest

from stepdown.certificate.files import read_certificate
from stepdown.project.home import open_home
from tests.cli.conftest import Said, stepdown
from tests.cli.tickets import TASK
from tests.gateway.serving import copied, issue

TEXT = "where is my parcel"


@pytest.fixture
def home(certified: Path, tmp_path: Path) -> Path:
    return copied(certified, tmp_path / "home")


def run(home: Path, *words: str | Path) -> Said:
    return stepdown(*map(str, words), "--home", str(home), "--json")


def sql(home: Path, *statements: str) -> None:
    with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
        for statement in statements:
            database.execute(statement)


def stands(home: Path) -> str:
    (task,) = run(home, "status").json["tasks"]
    reason: str = task["stands"]
    return reason


def test_a_whole_project_has_no_findings(home: Path) -> None:
    said = run(home, "status")
    assert (said.code, said.json["findings"], stands(home)) == (0, [], "")
    verified = run(home, "audit", "verify")
    assert (verified.code, verified.json["findings"]) == (0, [])
    assert verified.json["events"] == said.json["events"] > 0
    shown = run(home, "certificate", "show", TASK)
    assert (shown.json["in_force"], shown.json["why_not"]) == (True, "")


DELETED = {
    "the last": "DELETE FROM events WHERE sequence = (SELECT MAX(sequence) FROM events)",
    "the last two": "DELETE FROM events WHERE sequence > (SELECT MAX(sequence) FROM events) - 2",
    "one in the middle": "DELETE FROM events WHERE sequence = 2",
    "all": "DELETE FROM events",
}


@pytest.mark.parametrize("which", DELETED)
def test_deleted_events_are_seen(home: Path, which: str) -> None:
    sql(home, DELETED[which])
    said = run(home, "status")
    assert said.code == 1
    assert "journal" in said.json["findings"][0]
    assert stands(home) == "the journal is not whole"
    assert run(home, "certificate", "show", TASK).json["why_not"] == "the journal is not whole"
    assert run(home, "certificate", "verify", TASK).code == 1
    assert run(home, "answer", TASK, TEXT).json["rung"] == "incumbent"


def test_an_anchor_kept_elsewhere_sees_what_the_folder_cannot(home: Path, tmp_path: Path) -> None:
    """Who may write everything can cut the journal and the head beside it; not the head that is elsewhere."""
    kept = tmp_path / "elsewhere" / "anchor.json"
    made = run(home, "audit", "anchor", "--out", kept)
    assert made.code == 0, made.err
    assert json.loads(kept.read_text()) == made.json
    assert made.json.keys() == {"version", "events", "head", "at"}
    assert run(home, "audit", "verify", "--anchor", kept).code == 0
    issue(home)
    assert run(home, "status", "--anchor", kept).code == 0, "a journal that went on is fine"
    sql(home, f"DELETE FROM events WHERE sequence >= {made.json['events']}")
    (home / ".stepdown/journal-head").unlink()
    assert run(home, "status").json["findings"] == [] or "journal" not in run(home, "status").json["findings"][0]
    for command in (("status", "--anchor", kept), ("audit", "verify", "--anchor", kept)):
        said = run(home, *command)
        assert said.code == 1
        assert "does not continue the anchor" in said.err
    again = run(home, "audit", "anchor", "--out", kept)
    assert (again.code, "does not continue the head in" in again.err) == (1, True)
    assert json.loads(kept.read_text()) == made.json, "what shows it is not overwritten"


def test_an_anchor_takes_the_place_of_an_earlier_one_alone(home: Path, tmp_path: Path) -> None:
    kept = tmp_path / "anchor.json"
    first = run(home, "audit", "anchor", "--out", kept).json
    assert run(home, "audit", "anchor", "--out", kept).code == 0
    issue(home)
    later = run(home, "audit", "anchor", "--out", kept)
    assert (later.code, later.json["events"]) == (0, first["events"] + 1)
    assert json.loads(kept.read_text()) == later.json
    for content in (b"notes of mine", b"", b"{}"):
        kept.write_bytes(content)
        refused = run(home, "audit", "anchor", "--out", kept)
        assert (refused.code, kept.read_bytes()) == (1, content)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff", b'{"events":1}', b'{"version":1,"events":-1,"head":"x","at":0}']
)
def test_what_is_no_anchor_is_said(home: Path, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "anchor"
    path.write_bytes(content)
    said = run(home, "status", "--anchor", path)
    assert said.code == 1
    assert len(said.err.strip().splitlines()[-1:]) == 1
    assert run(home, "status", "--anchor", tmp_path / "absent").code == 2


def test_a_damaged_head_is_seen(home: Path) -> None:
    head = home / ".stepdown/journal-head"
    data = bytearray(head.read_bytes())
    data[data.index(b'"head":"') + 10] ^= 1
    head.write_bytes(bytes(data))
    assert run(home, "status").code == 1
    issue(home)
    assert run(home, "status").code == 1, "the next event does not hide it"


@pytest.mark.parametrize(
    "name", ["record.json", "evidence.jsonl", "report.html", "model-card.md", "dataset/manifest.json"]
)
def test_a_changed_file_of_a_build_is_named(home: Path, name: str) -> None:
    (path,) = home.glob(f".stepdown/builds/{TASK}/0*/{name}")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    said = run(home, "status")
    assert said.code == 1
    assert name in said.err
    assert len(said.out.splitlines()) == 1


def test_a_report_that_is_drawn_again_is_no_damage(home: Path) -> None:
    (path,) = home.glob(f".stepdown/builds/{TASK}/0*/report.html")
    assert run(home, "report", TASK).code == 0
    assert run(home, "status").code == 0
    path.write_text("something else")
    assert run(home, "status").code == 1
    assert run(home, "report", TASK).code == 0
    assert run(home, "status").code == 0


CHANGED_ROWS = {
    "gold": ("UPDATE gold SET gold = '\"other\"' WHERE id = (SELECT MIN(id) FROM gold)", "'gold'"),
    "unreadable gold": ("UPDATE gold SET gold = '{' WHERE id = (SELECT MIN(id) FROM gold)", "'gold'"),
    "gold of bytes": ("UPDATE gold SET id = x'ff' WHERE id = (SELECT MIN(id) FROM gold)", "'gold'"),
    "less gold": ("DELETE FROM gold WHERE id = (SELECT MIN(id) FROM gold)", "'gold'"),
    "basis": ("UPDATE gold SET basis = 'drawn' WHERE id = (SELECT MIN(id) FROM gold)", "'gold'"),
    "verdicts": ("INSERT INTO verdicts VALUES ('x', 'null', 0.5, 'judge')", "'verdicts'"),
    "task": ('UPDATE tasks SET body = replace(body, \'"labels":[\', \'"labels":["x",\')', "remembered"),
}


@pytest.mark.parametrize("what", CHANGED_ROWS)
def test_rows_that_decide_are_held_against_the_journal(home: Path, what: str) -> None:
    statement, said = CHANGED_ROWS[what]
    sql(home, statement)
    found = run(home, "status")
    assert found.code == 1
    assert said in found.err
    if "task" not in what:
        built = run(home, "build", TASK)
        assert (built.code, built.json["error"]["kind"]) == (1, "TamperedError"), "nothing is learned from them"


def test_keys_are_held_against_the_journal(home: Path) -> None:
    for name in ("web", "shop"):
        assert run(home, "key", "create", name).code == 0
    assert run(home, "key", "revoke", "web").code == 0
    assert run(home, "status").code == 0
    sql(home, "UPDATE keys SET body = replace(body, '\"revoked_at\":', '\"x\":') WHERE body LIKE '%web%'")
    assert "is not what the journal has" in run(home, "status").err
    sql(home, "INSERT INTO keys SELECT 'key-x', 'd', 1.0, replace(body, 'key-', 'key-x') FROM keys LIMIT 1")
    assert "does not know the key" in run(home, "status").err
    assert [one["standing"] for one in run(home, "key", "list").json if one["name"] == "(damaged)"] == ["revoked"]


def test_an_import_does_not_vouch_for_what_it_did_not_bring(home: Path) -> None:
    """It heals an import that was cut short, and the journal keeps that rows were there that none had brought."""
    sql(home, "UPDATE gold SET gold = '\"other\"' WHERE id = (SELECT MIN(id) FROM gold)")
    again = run(home, "import", home / "calls.jsonl", "--gold", home / "gold.csv")
    assert again.code == 0, again.err
    said = run(home, "status")
    assert said.code == 1
    assert "no import had brought" in said.err
    assert run(home, "build", TASK, "--budget", "1s").json.get("error", {}).get("kind") != "TamperedError"


def test_every_call_is_read(home: Path) -> None:
    sql(home, "UPDATE calls SET workload = 'other', at = at + 1 WHERE id = (SELECT MIN(id) FROM calls)")
    said = run(home, "audit", "verify")
    assert said.code == 1
    assert "call " in said.json["findings"][0]
    sql(home, "UPDATE blocks SET data = CAST(substr(data, 1, 100) || x'00' || substr(data, 102) AS BLOB)")
    assert "cannot be read" in run(home, "audit", "verify").err


class TestSigning:
    """Where a public key is pinned, nothing is in force that its holder has not signed."""

    @pytest.fixture
    def key(self, tmp_path: Path) -> Path:
        pytest.importorskip("cryptography", reason="signing needs the extra 'sign'")
        return tmp_path / "key.pem"

    def pinned(self, home: Path, key: Path) -> str:
        made = run(home, "audit", "keygen", key)
        assert made.code == 0, made.err
        public: str = made.json["public_key"]
        settings = home / "stepdown.toml"
        settings.write_text(f'{settings.read_text()}\n[audit]\npublic_key = "{public}"\n')
        return public

    def test_a_certificate_is_in_force_once_it_is_signed(self, home: Path, key: Path) -> None:
        public = self.pinned(home, key)
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
        assert run(home, "audit", "keygen", key).code == 2, "a key is never written over"
        assert "not signed" in stands(home)
        assert run(home, "status").code == 0, "nothing is damaged"
        assert run(home, "answer", TASK, TEXT).json["rung"] == "incumbent"
        signed = run(home, "audit", "sign", "--key", key)
        assert signed.code == 0, signed.err
        assert signed.json["public_key"] == public
        assert stands(home) == ""
        assert run(home, "answer", TASK, TEXT).json["rung"] == "linear"
        assert run(home, "audit", "verify", "--public-key", public).code == 0
        issue(home, seed=7)
        assert "not signed up to this certificate" in stands(home)

    def test_events_under_a_signature_cannot_go(self, home: Path, key: Path) -> None:
        self.pinned(home, key)
        run(home, "audit", "sign", "--key", key)
        sql(home, DELETED["the last"])
        (home / ".stepdown/journal-head").unlink()
        assert "does not continue the head that was signed" in run(home, "status").err
        assert stands(home) == "the journal is not whole"
        assert run(home, "audit", "sign", "--key", key).code == 1, "nobody signs that unseen"

    def test_a_signature_of_another_key_or_head_is_none(self, home: Path, key: Path, tmp_path: Path) -> None:
        public = self.pinned(home, key)
        other = tmp_path / "other.pem"
        run(home, "audit", "keygen", other)
        path = home / ".stepdown/journal-signature.json"
        run(home, "audit", "sign", "--key", key)
        before = path.read_bytes()
        refused = run(home, "audit", "sign", "--key", other)
        assert (refused.code, path.read_bytes()) == (1, before), "a wrong key takes nothing out of force"
        assert "[audit] public_key" in refused.err
        signed = json.loads(path.read_text())
        for harm in (
            {"signature": signed["signature"][::-1]},
            {"public_key": "x"},
            {"anchor": {**signed["anchor"], "at": 1}},
        ):
            path.write_text(json.dumps({**signed, **harm}))
            assert stands(home) == "the journal is not whole"
        path.write_text("{")
        assert stands(home) == "the journal is not whole"
        path.write_text(json.dumps(signed))
        assert stands(home) == ""
        assert run(home, "audit", "verify", "--public-key", public[::-1]).code == 1

    @pytest.mark.parametrize(
        "content", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n"]
    )
    def test_what_is_no_key_is_said(self, home: Path, key: Path, content: bytes) -> None:
        key.write_bytes(content)
        said = run(home, "audit", "sign", "--key", key)
        assert (said.code, said.json["error"]["kind"]) == (1, "InputError")
        (home / "stepdown.toml").write_text('[audit]\npublic_key = "short"\n')
        assert run(home, "status").code == 2


def test_everything_is_its_owners_alone(certified: Path, tmp_path: Path) -> None:
    home = tmp_path / "new"
    assert run(home, "init").code == 0 or home.exists()
    calls, gold = certified / "calls.jsonl", certified / "gold.csv"
    assert run(home, "import", calls, "--gold", gold).code == 0
    assert run(home, "build", TASK, "--kinds", "linear", "--budget", "40s").code == 0
    for path in [home / "stepdown.toml", home / ".stepdown", *(home / ".stepdown").rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), path
    assert not [note for note in run(home, "status").json["notes"] if "may read" in note]
    (home / ".stepdown").chmod(0o755)
    (home / ".stepdown/store.sqlite").chmod(0o644)
    assert [note for note in run(home, "status").json["notes"] if "store.sqlite" in note]


def test_a_store_of_an_earlier_version_is_no_damage(certified: Path, tmp_path: Path) -> None:
    """Its builds are in force, with their template read from the store, and `status` says so."""
    home = tmp_path / "old"
    shutil.copytree(certified, home)
    with sqlite3.connect(home / ".stepdown/store.sqlite") as database:
        database.execute("DELETE FROM events")
    (home / ".stepdown/journal-head").unlink()
    (path,) = home.glob(f".stepdown/builds/{TASK}/0*/certificate.json")
    with open_home(home).store() as store:
        store.append("built", TASK, {"certificate": read_certificate(path).digest}, at=1.0)
    said = run(home, "status")
    assert (said.code, stands(home)) == (0, ""), said.err
    assert any("earlier version" in note for note in said.json["notes"])
    assert run(home, "answer", TASK, TEXT).json["rung"] == "linear"
