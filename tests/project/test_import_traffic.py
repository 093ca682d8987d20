"""What an import leaves in the store: masked where the contract says so, hashed, and nothing lost."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from stepdown.project.home import open_home
from stepdown.project.import_traffic import ImportRequest, import_traffic

SECRET = "jane.doe@example.org"
SETTINGS = '[tasks.private.contract]\nprivacy = "redact"\n'


def line(number: int, workload: str) -> str:
    request = {"model": "m", "messages": [{"role": "user", "content": f"Mail {SECRET} about order {number}"}]}
    response = {"choices": [{"message": {"role": "assistant", "content": f"to {SECRET}"}}]}
    return json.dumps({"id": str(number), "workload_id": workload, "request": request, "response": response})


def quiet(what: str, share: float) -> None:
    pass


def test_personal_data_never_reach_the_disk_where_the_contract_forbids_it(tmp_path: Path) -> None:
    (tmp_path / "stepdown.toml").write_text(SETTINGS)
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join([line(1, "private"), line(2, "open")]))
    home = open_home(tmp_path)
    import_traffic(home, ImportRequest(paths=[str(log)]), quiet)
    with home.store() as store:
        private, other = sorted(store.calls(), key=lambda call: call.id)
    assert SECRET not in json.dumps([private.request, private.response])
    assert private.content == "to [EMAIL]"
    assert private.request["messages"][0]["role"] == "user"
    assert other.content == f"to {SECRET}"


def test_the_journal_knows_what_was_read(tmp_path: Path) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text(line(1, "open") + "\nnot a call\n")
    home = open_home(tmp_path)
    result = import_traffic(home, ImportRequest(paths=[str(log)]), quiet)
    assert (result.calls.new, result.broken) == (1, 1)
    with home.store() as store:
        event = next(store.events("imported"))
        assert [broken.line for broken in store.broken()] == [2]
    assert event.data["files"] == {str(log): hashlib.sha256(log.read_bytes()).hexdigest()}
