"""How the tables came to be: an ordered list of functions; a store runs those it has not run. None is ever edited."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from stepdown.core.errors import StoreError
from stepdown.stores.blocks import pack, unpack
from stepdown.stores.dialect import Database


def m001_calls(database: Database) -> None:
    """Calls lie compressed in blocks: a task's prompts repeat, so a block is a hundredth of its calls' size."""
    database.execute("CREATE TABLE blocks (block TEXT PRIMARY KEY, data BLOB NOT NULL)")
    database.execute(
        "CREATE TABLE calls (id TEXT PRIMARY KEY, workload TEXT NOT NULL, at REAL NOT NULL,"
        " block TEXT NOT NULL, slot INTEGER NOT NULL, digest TEXT NOT NULL)"
    )
    database.execute("CREATE INDEX calls_by_workload ON calls (workload, block, slot)")
    database.execute("CREATE INDEX calls_by_block ON calls (block, slot)")
    database.execute(
        "CREATE TABLE broken (source TEXT NOT NULL, line INTEGER NOT NULL, reason TEXT NOT NULL, raw TEXT NOT NULL,"
        " PRIMARY KEY (source, line))"
    )


def m002_answers(database: Database) -> None:
    """Gold and judges' verdicts, keyed by call; the call itself may come later."""
    database.execute(
        "CREATE TABLE gold (id TEXT PRIMARY KEY, gold TEXT NOT NULL, split TEXT NOT NULL, source TEXT NOT NULL)"
    )
    database.execute(
        "CREATE TABLE verdicts (id TEXT NOT NULL, answer TEXT NOT NULL, loss REAL NOT NULL, judge TEXT NOT NULL,"
        " PRIMARY KEY (id, answer))"
    )


def m003_tasks_and_journal(database: Database) -> None:
    database.execute("CREATE TABLE tasks (name TEXT PRIMARY KEY, body TEXT NOT NULL)")
    database.execute(
        "CREATE TABLE events (sequence INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, task TEXT NOT NULL,"
        " data TEXT NOT NULL, previous TEXT NOT NULL UNIQUE, digest TEXT NOT NULL)"
    )
    database.execute("CREATE INDEX events_by_kind ON events (kind, task)")


def m004_gateway(database: Database) -> None:
    """Keys, what was served, and the id by which a client may name a call.

    Calls that lie there already get none: reading every block again would keep the store from opening for minutes.
    """
    database.execute("ALTER TABLE calls ADD COLUMN response_id TEXT NOT NULL DEFAULT ''")
    database.execute("CREATE INDEX calls_by_response ON calls (response_id, at) WHERE response_id <> ''")
    database.execute("CREATE INDEX calls_by_time ON calls (at)")
    database.execute(
        "CREATE TABLE keys (id TEXT PRIMARY KEY, digest TEXT NOT NULL UNIQUE, created_at REAL NOT NULL,"
        " body TEXT NOT NULL)"
    )
    database.execute(
        "CREATE TABLE served (hour INTEGER NOT NULL, task TEXT NOT NULL, key TEXT NOT NULL, rung TEXT NOT NULL,"
        " requests INTEGER NOT NULL, prompt_tokens INTEGER NOT NULL, completion_tokens INTEGER NOT NULL,"
        " cost_usd REAL NOT NULL, saved_usd REAL NOT NULL, latency_s REAL NOT NULL,"
        " PRIMARY KEY (hour, task, key, rung))"
    )


def m005_basis_of_gold(database: Database) -> None:
    """How it came to be that a call was labelled; of what lies there already nobody said."""
    database.execute("ALTER TABLE gold ADD COLUMN basis TEXT NOT NULL DEFAULT ''")


def m006_feedback(database: Database) -> None:
    """What clients say of answers, beside gold and verdicts: a hash chain of its own, as the journal is one."""
    database.execute(
        "CREATE TABLE feedback (sequence INTEGER PRIMARY KEY, at REAL NOT NULL, kind TEXT NOT NULL, task TEXT NOT NULL,"
        " data TEXT NOT NULL, previous TEXT NOT NULL UNIQUE, digest TEXT NOT NULL)"
    )


def m007_segments(database: Database) -> None:
    """How far each of the gateways' segments has been taken, written together with what was taken from it."""
    database.execute("CREATE TABLE segments (name TEXT PRIMARY KEY, taken INTEGER NOT NULL)")


def m008_task_of_a_call(database: Database) -> None:
    """The task that the gateway matched a call to, apart from what the client called it.

    What lies there already keeps its task's name as its workload, as its block says; a name of a task's is read as one.
    """
    database.execute("ALTER TABLE calls ADD COLUMN task TEXT NOT NULL DEFAULT ''")
    database.execute("CREATE INDEX calls_by_task ON calls (task, block, slot)")


def m009_who_answered(database: Database) -> None:
    """Who answered is a field of a call, `served`, and no part of its provider's name; selection and its probability
    are in it too. Of calls that are there already nobody kept more. Only blocks with such a call are written anew."""
    for (block,) in list(database.rows("SELECT block FROM blocks ORDER BY block")):
        try:
            encoded = unpack(block, next(database.rows("SELECT data FROM blocks WHERE block = ?", (block,)))[0])
        except StoreError:
            continue  # `stepdown audit` names it, once the store is open.
        found = {slot: _m009_call(bytes(raw)) for slot, raw in enumerate(encoded)}
        changed = {slot: one for slot, one in found.items() if one is not None}
        if not changed:
            continue
        whole = pack(changed[slot][0] if slot in changed else raw for slot, raw in enumerate(encoded))
        database.execute("UPDATE blocks SET data = ? WHERE block = ?", (whole, block))
        database.execute_many(
            "UPDATE calls SET digest = ? WHERE block = ? AND slot = ?",
            [(digest, block, slot) for slot, (_, digest) in changed.items()],
        )


_M009_MARKS = (b"stepdown/", b"\xa8provider\xa5cache", b'"provider":"cache"', b"holdback", b"escalated")
_M009_FIRST = (
    *("id", "request", "response", "timestamp", "client_id", "workload_id", "latency_s", "cost_usd", "provider"),
    *("error", "source"),
)


def _m009_call(raw: bytes) -> tuple[bytes, str] | None:
    """A call as it is encoded from now on, and its digest; None where nothing of it changes. Some are encoded as a
    string of bytes that is their JSON."""
    if not any(mark in raw for mark in _M009_MARKS):
        return None
    try:
        call: Any = msgspec.msgpack.decode(raw)
        call = msgspec.json.decode(call) if isinstance(call, bytes) else call
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not isinstance(call, dict):
        return None
    said = str(call.get("provider", ""))
    selection, probability = call.pop("selection", ""), call.pop("selection_probability", 1.0)
    served: dict[str, Any] = {"cached": True} if said in ("cache", "stepdown/cache") else {}
    if said.startswith("stepdown/") and said != "stepdown/":
        served = {"rung": said.removeprefix("stepdown/"), **served}
    if selection:
        served |= {"selection": selection} | ({"probability": probability} if probability != 1.0 else {})
    if not served:
        return None
    call |= {"provider": "" if served.keys() & {"rung", "cached"} else said, "served": served}
    defaults = {"timestamp": 0.0, "latency_s": None, "cost_usd": None}
    first = {name: call.get(name, defaults.get(name, "")) for name in _M009_FIRST}
    content = first | {name: call[name] for name in ("account", "task", "served") if call.get(name)} | {"source": ""}
    return msgspec.msgpack.encode(call), hashlib.sha256(msgspec.msgpack.encode(content)).hexdigest()[:32]


MIGRATIONS = (
    m001_calls,
    m002_answers,
    m003_tasks_and_journal,
    m004_gateway,
    m005_basis_of_gold,
    m006_feedback,
    m007_segments,
    m008_task_of_a_call,
    m009_who_answered,
)


def migrate(database: Database) -> None:
    """Bring a database to this version. Raises StoreError when a newer stepdown has written it.

    One that is at this version is only read, so that it opens while others write.
    """
    if not database.has_table("schema_version"):
        with database.transaction():
            database.execute("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL)")
    if _version(database) == len(MIGRATIONS):
        return
    with database.serialised("schema_version"):
        version = _version(database)
        if version > len(MIGRATIONS):
            raise StoreError(
                f"The store is at version {version}.",
                f"This stepdown reads versions up to {len(MIGRATIONS)}.",
                "Install a newer stepdown, or use another project folder.",
            )
        for step in MIGRATIONS[version:]:
            step(database)
        database.execute("DELETE FROM schema_version")
        database.execute("INSERT INTO schema_version VALUES (?)", (len(MIGRATIONS),))


def _version(database: Database) -> int:
    found = next(database.rows("SELECT MAX(version) FROM schema_version"), None)
    return int(found[0]) if found and found[0] is not None else 0
