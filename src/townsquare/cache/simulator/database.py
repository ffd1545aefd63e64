"""The simulated source of truth: things with versions, transactions that end in any order, an outbox, crashes, restores.

It keeps PostgreSQL's promises and no others. Transaction numbers are given out at the first write; a snapshot tells which
have ended; a statement sees what was committed before it; after a crash, numbers whose trace never reached the disk are
given out again.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from townsquare.cache.cache import Change
from townsquare.cache.contact import Beginning, Look
from townsquare.cache.snapshots import Snapshot

FIRST_XID: Final = 100
HISTORY: Final = 10
"""Transactions whose changes a beginning can still be told: fewer than end within the life of a shared entry."""


class DatabaseDown(Exception):
    """It does not take connections."""


@dataclass
class Transaction:
    """A transaction that is open; `writes` are the things' new versions."""

    xid: int
    writes: dict[str, int] = field(default_factory=dict[str, int])


@dataclass(frozen=True)
class Copy:
    """A backup."""

    next_xid: int
    versions: dict[str, int]
    outbox: tuple[Change, ...]


def tags_of(thing: str) -> list[str]:
    """Return what a write to `thing` invalidates: itself, the list of all, and the feeds in which it stands."""
    family, _, name = thing.partition(":")
    return [thing] if family == "follows" else [thing, "things", f"posts:{name}"]


class Database:
    """`overwritten` is told of each thing that has a new version, which a restore may bring about as well as a commit."""

    def __init__(self, things: list[str], overwritten: Callable[[str, int], None]) -> None:
        self.frozen = False
        self.down = False
        self.dead = False
        self.commits = 0
        self.versions = dict.fromkeys(things, 0)
        self._outbox: list[Change] = []
        self._running: dict[int, Transaction] = {}
        self._next_xid = FIRST_XID
        self._next_xid_on_disk = FIRST_XID
        self._last_version = 0
        self._incarnation = 1
        self._overwritten = overwritten
        for thing in things:
            overwritten(thing, 0)

    @property
    def identity(self) -> str:
        """Another one whenever transaction numbers may be given out again."""
        return f"database {self._incarnation}"

    # --- transactions --------------------------------------------------------------------------------------------

    def open(self) -> Transaction:
        """Begin a transaction that has a number."""
        self._check()
        transaction = Transaction(self._next_xid)
        self._next_xid += 1
        self._running[transaction.xid] = transaction
        return transaction

    def write(self, transaction: Transaction, thing: str) -> None:
        """Change a thing; others see it after the commit."""
        self._check()
        if self.runs(transaction):
            self._last_version += 1
            transaction.writes[thing] = self._last_version

    def changing(self, thing: str) -> Transaction:
        """Begin a transaction that has changed `thing`."""
        transaction = self.open()
        self.write(transaction, thing)
        return transaction

    def commit(self, transaction: Transaction) -> Change:
        """Make a transaction's writes true, and tell them; raises DatabaseDown when it was cut off before."""
        self._check()
        if not self.runs(transaction):
            raise DatabaseDown
        del self._running[transaction.xid]
        change = Change(transaction.xid, [tag for thing in transaction.writes for tag in tags_of(thing)])
        self._outbox.append(change)
        self._next_xid_on_disk = self._next_xid  # the commit's flush takes along all that stands before it in the log
        self.commits += 1
        for thing, version in transaction.writes.items():
            self._show(thing, version)
        return change

    def runs(self, transaction: Transaction) -> bool:
        """True while a transaction can still be committed."""
        return self._running.get(transaction.xid) is transaction

    def roll_back(self, transaction: Transaction) -> None:
        """Undo a transaction; nobody waits until that is on disk."""
        if self.runs(transaction):
            del self._running[transaction.xid]

    # --- what a cache asks ---------------------------------------------------------------------------------------

    def begin(self) -> Beginning:
        """Answer a beginning."""
        self._check()
        known_from = min(self._snapshot().xmin, max(FIRST_XID, self._next_xid - HISTORY))
        return Beginning(self.identity, str(self._incarnation), known_from)

    def look(self, before: Snapshot) -> Look:
        """Answer a look: what is visible now and was not in `before`."""
        self._check()
        told = [change for change in self._outbox if not before.sees(change.xid)]
        return Look(str(self._incarnation), self._snapshot(), told)

    def read(self, things: list[str]) -> dict[str, int]:
        """Answer one query."""
        self._check()
        return {thing: self.versions[thing] for thing in things}

    def _snapshot(self) -> Snapshot:
        running = frozenset(self._running)
        return Snapshot(min(running, default=self._next_xid), self._next_xid, running)

    # --- what happens to it --------------------------------------------------------------------------------------

    def crash(self) -> None:
        """Die and recover: open transactions are gone, and so is the memory of numbers that left no trace on disk."""
        self._running.clear()
        self._next_xid = self._next_xid_on_disk
        self._incarnation += 1

    def copy(self) -> Copy:
        """Make a backup."""
        return Copy(self._next_xid_on_disk, dict(self.versions), tuple(self._outbox))

    def restore(self, copy: Copy) -> None:
        """Put a backup in the place of what is there."""
        self.crash()
        self._next_xid = self._next_xid_on_disk = copy.next_xid
        self._outbox = list(copy.outbox)
        for thing, version in copy.versions.items():
            if self.versions[thing] != version:
                self._show(thing, version)

    def _show(self, thing: str, version: int) -> None:
        self.versions[thing] = version
        self._overwritten(thing, version)

    def _check(self) -> None:
        if self.down:
            raise DatabaseDown
