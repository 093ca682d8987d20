"""The journal as a process has checked it: whole, continuing every head that was kept or signed, and what it issued."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec

from stepdown.core.canonical import digest
from stepdown.core.errors import InputError, MissingExtra, StepdownError, TamperedError
from stepdown.core.events import Anchor, Event, anchor_of, continue_chain
from stepdown.core.store import Store
from stepdown.project.builds import BuildFolder
from stepdown.project.home import Home
from stepdown.project.signing import SignedHead, can_check, check_signature, read_signed
from stepdown.stores.sql_store import REMEMBERED, TASK_FORGOTTEN

BUILT, RENDERED, IMPORTED = "built", "rendered", "build-imported"
"""Events: a build with its files' hashes; a report of one that was drawn anew; a build that another project's journal
issued, with that one's word of it (`issued`, `attempt`)."""
PROMOTED, ROLLED_BACK = "promoted", "rolled-back"
"""Events: another build of a task answers from now on, because somebody said so. data: `build`, `certificate`, and
`before`, the build that answered until then. "built" has `serves` (whether it answers from now on) and `before`."""
FEEDBACK = "feedback"
"""The event that says how much feedback there is, and the hash of the last piece."""
NOTE_EVERY_S = 60.0
NOT_WHOLE = "the journal is not whole"
LARGEST_ANCHOR = 1 << 16
KEPT_HERE = "the head that is kept in .stepdown/journal-head"


class Journal:
    """`read` it, then ask. Only what was appended since the last reading is read again.

    why_not: "" where certificates may rest on the journal, else why not, as a client may be told; detail: the same for
    those who run the project. signed: up to which event there is a signature, None where none is asked for. remembered:
    the digest of each task's row in the store, by name.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self.last: Event | None = None
        self.why_not = self.detail = ""
        self.signed: int | None = None
        self._built: dict[tuple[str, str], list[Event]] = {}
        self._rendered: dict[str, dict[str, str]] = {}
        self._changes: dict[str, list[Event]] = {}
        self._issues = 0
        self.remembered: dict[str, str] = {}

    @property
    def state(self) -> tuple[object, ...]:
        """Changes when what certificates rest on does."""
        return self._issues, self.why_not, self.signed

    @property
    def events(self) -> int:
        return self.last.sequence if self.last else 0

    def read(self, store: Store) -> None:
        """Check what is new, and the heads. Damage is said in `why_not`, not raised; raises StoreError, ResourceError
        where the store cannot be read."""
        try:
            # The head first: an event that comes in between is then in the journal and not yet expected.
            heads = self._heads()
            self._continue(store)
            for head, source in heads:
                check_anchor(store, head, source)
        except (TamperedError, InputError, MissingExtra) as error:
            self.why_not, self.detail = NOT_WHOLE, str(error)
        else:
            self.why_not = self.detail = ""

    def issued(self, task: str, certificate: str) -> list[Event]:
        """The events that issued the certificate of that digest for a task, the newest first."""
        return self._built.get((task, certificate), [])[::-1]

    @property
    def answered(self) -> set[str]:
        """The tasks that a build ever answered."""
        return set(self._changes)

    def served(self, task: str) -> tuple[str, ...]:
        """The names of the builds that answered one after the other, the one that answers now last; what was rolled
        back is left out. () where no event says which, as in journals of earlier versions. Where a signature is asked
        for, what was not signed yet has changed nothing."""
        names: list[str] = []
        for event in self._changes.get(task, ()):
            if self.signed is not None and event.sequence > self.signed:
                break
            build, before = (str(event.data.get(key) or "") for key in ("build", "before"))
            if not names and before:
                names.append(before)
            if event.kind == ROLLED_BACK and build in names:
                del names[len(names) - names[::-1].index(build) :]
            elif names[-1:] != [build]:
                names.append(build)
        return tuple(names)

    def was_set_aside(self, task: str, build: str) -> bool:
        """Whether a build was made to answer nothing: a refusal, or for another contract than the settings had."""
        mine = [event for event in self._of(task) if event.data.get("build") == build]
        return any(event.data.get("serves") is False for event in mine)

    def certified(self, task: str) -> set[str]:
        """The names of the builds of a task that were certified."""
        return {str(event.data.get("build")) for event in self._of(task) if event.data.get("verdict") == "certified"}

    def _of(self, task: str) -> Iterable[Event]:
        return (event for (name, _), events in self._built.items() for event in events if name == task)

    def files(self, event: Event) -> dict[str, str]:
        """The sha256 of every file of the build that an event speaks of, by name; {} of builds of earlier versions."""
        digests: dict[str, str] = event.data.get("files") or {}
        return digests | self._rendered.get(str(event.data.get("build")), {}) if digests else {}

    def _continue(self, store: Store) -> None:
        if self.last is not None and store.event_at(self.last.sequence) != self.last:
            # Another store, or one out of a backup, is in the place of the one that was read.
            self._forget()
        try:
            self.last = continue_chain(self._noted(store.events(after=self.events)), after=self.last)
        except StepdownError:
            self._forget()
            raise

    def _forget(self) -> None:
        self.last, self._built, self._rendered, self._changes = None, {}, {}, {}
        self.remembered = {}

    def _noted(self, events: Iterable[Event]) -> Iterable[Event]:
        for event in events:
            yield event  # the chain is checked up to here before anything is believed
            self._issues += event.kind in (BUILT, IMPORTED, RENDERED, PROMOTED, ROLLED_BACK)
            if event.kind in (BUILT, IMPORTED):
                self._built.setdefault((event.task, str(event.data.get("certificate"))), []).append(event)
            if event.kind == REMEMBERED:
                self.remembered[event.task] = str(event.data.get("row"))
            if event.kind == TASK_FORGOTTEN:
                self.remembered.pop(event.task, None)
            if event.kind == RENDERED:
                self._rendered.setdefault(str(event.data.get("build")), {}).update(event.data.get("files") or {})
            if event.kind in (PROMOTED, ROLLED_BACK) or (event.kind in (BUILT, IMPORTED) and event.data.get("serves")):
                self._changes.setdefault(event.task, []).append(event)

    def _heads(self) -> list[tuple[Anchor, str]]:
        """The heads that are kept in the project's folder: the one of the last append, and the one that was signed."""
        heads = []
        if self._home.head.exists():
            heads.append((read_anchor(self._home.head), KEPT_HERE))
        pinned = self._home.settings.audit.public_key
        signed = read_signed(self._home.signature)
        self.signed = (signed.anchor.events if signed else 0) if pinned else None
        if signed is not None:
            if pinned or can_check():
                check_signature(signed, pinned)
            heads.append((signed.anchor, "the head that was signed"))
        return heads


def read_journal(home: Home, store: Store) -> Journal:
    """The journal, read whole."""
    journal = Journal(home)
    journal.read(store)
    return journal


def note_feedback(store: Store, now: float, every_s: float = NOTE_EVERY_S) -> None:
    """Enter the newest feedback in the journal, unless an event within the last `every_s` seconds did.

    One event stands for many pieces of feedback, each of which carries the hash of the one before.
    """
    last = store.last_feedback()
    noted = store.last_event(FEEDBACK)
    known, told_at = (noted.data.get("events"), noted.at) if noted else (0, float("-inf"))
    if last is not None and last.sequence != known and not 0 <= now - told_at < every_s:
        store.append(FEEDBACK, "", {"events": last.sequence, "head": last.digest}, at=now)


def note_report(home: Home, folder: BuildFolder, page: str) -> None:
    """Enter a report that was drawn anew, where it is not the one that the journal has."""
    certificate, files = folder.read_certificate(), {folder.report.name: digest(page.encode())}
    with home.store() as store:
        journal = read_journal(home, store)
        for event in journal.issued(certificate.task, certificate.digest):
            if event.data.get("build") == folder.path.name and journal.files(event).get(folder.report.name) not in (
                None,
                files[folder.report.name],
            ):
                data = {"build": folder.path.name, "files": files}
                store.append(RENDERED, certificate.task, data, at=home.clock())
                return


def check_anchor(store: Store, anchor: Anchor, source: str) -> None:
    """Raises TamperedError where the journal of now does not continue the one that had this head."""
    there = store.event_at(anchor.events) if anchor.events else None
    if anchor_of(there) == anchor:
        return
    difference = "another event is in its place" if there else "the journal ends before it"
    raise TamperedError(
        f"The journal does not continue {source}: event {anchor.events}, hash {anchor.head[:16]}…; {difference}.",
        "The journal only ever grows.",
        "Events were deleted, or the store is an older copy. Where you put it there yourself, remove the head that no "
        "longer holds (.stepdown/journal-head, .stepdown/journal-signature.json).",
    )


def check_replaceable(store: Store, path: Path) -> None:
    """Nothing is lost where a later head takes the place of one that the journal continues: it vouches for all that
    came before. Raises InputError for a file that is no head, TamperedError for one that the journal does not continue.
    """
    try:
        check_anchor(store, read_anchor(path), f"the head in {path}")
    except InputError as error:
        raise InputError(
            f"{path} exists, and is no head of the journal.", "It was left as it is.", "Name another file."
        ) from error
    except TamperedError as error:
        raise TamperedError(error.got, "It was left as it is, for it is the proof.", error.next_step) from None


def read_anchor(path: Path) -> Anchor:
    """The head in a file that `stepdown audit anchor` wrote. Raises InputError."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(LARGEST_ANCHOR), type=Anchor)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.", "Expected a head of the journal.", "") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is no head of the journal: {error}.",
            "Expected the JSON that `stepdown audit anchor` writes.",
            "Take the one that was kept elsewhere.",
        ) from None


def head_to_sign(home: Home, store: Store, public_key: str) -> Anchor:
    """The journal's head, when the chain is whole and continues the head that is kept in the folder and the one that
    this key signed before. Raises StepdownError."""
    pinned = home.settings.audit.public_key
    if pinned and pinned != public_key:
        raise InputError(
            f"This is the key {public_key[:16]}…, and [audit] public_key in stepdown.toml names {pinned[:16]}….",
            "A signature by another key would put every certificate out of force.",
            "Sign with the key that is named, or name this one first.",
        )
    last = continue_chain(store.events())
    if home.head.exists():
        check_anchor(store, read_anchor(home.head), KEPT_HERE)
    signed = _valid(home, public_key)
    if signed is not None:
        check_anchor(store, signed.anchor, "the head that this key signed before")
    return anchor_of(last)


def _valid(home: Home, public_key: str) -> SignedHead | None:
    """The signature in the folder; None where it is none, or somebody else's, and binds nobody."""
    try:
        signed = read_signed(home.signature)
        if signed is not None:
            check_signature(signed, public_key)
    except (InputError, TamperedError):
        return None
    return signed


def check_present(home: Home, store: Store, anchor: Anchor | None = None, public_key: str = "") -> Event | None:
    """The last event, when the chain is whole and continues every head: those kept in the folder, and `anchor`; with
    `public_key`, when that key signed one. Raises StepdownError."""
    journal = read_journal(home, store)
    if journal.why_not:
        raise TamperedError(journal.detail)
    if public_key:
        signed = read_signed(home.signature)
        if signed is None:
            raise InputError("No head of the journal was signed.", "", "Run: stepdown audit sign --key FILE")
        check_signature(signed, public_key)
    if anchor is not None:
        check_anchor(store, anchor, "the anchor that you gave")
    return journal.last
