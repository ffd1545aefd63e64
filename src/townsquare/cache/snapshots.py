"""What a reader of the database has seen: PostgreSQL's snapshots, as text and as a question.

An entry carries the snapshot of a look that was taken before its first query. A change whose transaction that snapshot
sees is in the entry, however late its invalidation arrives; any other may not be, however early. No clock decides.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Snapshot:
    """`pg_current_snapshot()`: every transaction below `xmin` has ended, none from `xmax` on, and `active` had not.

    https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-PG-SNAPSHOT
    """

    xmin: int
    xmax: int
    active: frozenset[int] = frozenset()

    @classmethod
    def parse(cls, text: str) -> "Snapshot":
        """Read `xmin:xmax:xip,xip,...`; raises ValueError."""
        xmin, xmax, active = text.split(":")
        snapshot = cls(int(xmin), int(xmax), frozenset(int(xid) for xid in active.split(",") if xid))
        if not 0 <= snapshot.xmin <= snapshot.xmax:
            raise ValueError("a snapshot ends before it begins")
        return snapshot

    def __str__(self) -> str:
        return f"{self.xmin}:{self.xmax}:{','.join(map(str, sorted(self.active)))}"

    def sees(self, xid: int) -> bool:
        """True when transaction `xid` had ended: what it committed is visible to whoever reads from now on."""
        return xid < self.xmin or (xid < self.xmax and xid not in self.active)


NOTHING_SEEN = Snapshot(0, 0)
