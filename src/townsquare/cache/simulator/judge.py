"""The judge: knows what every reader was entitled to, and sees what he got."""

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Final

from townsquare.cache.contact import TRUST_SECONDS

PUBLIC: Final = "-"


class WrongRead(AssertionError):
    """Somebody got what he must not get."""


@dataclass(frozen=True)
class Shown:
    """A cached value: for whom it was made, what it is, and the version of everything that it shows."""

    viewer: str
    key: str
    versions: dict[str, int]


@dataclass
class Reader:
    """A person, who does one thing after the other."""

    name: str
    token: int | None = None
    """The transaction of the last write that was acknowledged."""
    writing: bool = False
    written: dict[tuple[str, str], int] = field(default_factory=dict[tuple[str, str], int])
    """By process and thing: the newest place in the thing's history that the reader has written there."""


@dataclass(frozen=True)
class Reading:
    """A read that has begun: what its reader may expect is settled at that moment."""

    viewer: str
    key: str
    began: float
    at_least: dict[str, int]


class Judge:
    """Keeps each thing's history: when each version came to be the current one."""

    def __init__(self) -> None:
        self.oldest = 0.0
        """Seconds: by how much the oldest value served had been overtaken when its read began."""
        self._times: dict[str, list[float]] = {}
        self._versions: dict[str, list[int]] = {}
        self._first_kept: dict[str, int] = {}
        """Writes before this place, acknowledged late, were lost in a restore."""

    def overwritten(self, thing: str, version: int, now: float) -> None:
        """Note that `version` is the current one from now on."""
        self._times.setdefault(thing, []).append(now)
        self._versions.setdefault(thing, []).append(version)

    def acknowledged(self, reader: Reader, process: str, versions: dict[str, int]) -> None:
        """Note that a writer knows that his write is done."""
        for thing, version in versions.items():
            place = self._place(thing, version)
            if place is not None and place >= self._first_kept.get(thing, 0):
                reader.written[process, thing] = max(place, reader.written.get((process, thing), 0))

    def expects(self, reader: Reader, viewer: str, key: str, process: str | None, now: float) -> Reading:
        """Say what a read that begins now may expect: everything the reader has written, or (without a token) what he has
        written through this very process."""
        at_least: dict[str, int] = {}
        for (where, thing), place in reader.written.items():
            if process is None or where == process:
                at_least[thing] = max(place, at_least.get(thing, 0))
        return Reading(viewer, key, now, at_least)

    def judge(self, reading: Reading, shown: Shown, *, excused: bool) -> None:
        """Raise WrongRead unless the reader was entitled to no more. Excused from the age are marked answers of a failed
        origin; nothing excuses another's answer, or one from before the reader's own write."""
        if shown.viewer != reading.viewer or shown.key != reading.key:
            raise WrongRead(f"{reading.viewer} asked for {reading.key} and got {shown}")
        for thing, version in shown.versions.items():
            place = self._place(thing, version)
            if place is None:
                raise WrongRead(f"{thing} has never been {version}")
            if place < reading.at_least.get(thing, 0):
                raise WrongRead(f"{thing} {version} is older than the reader's own write ({reading})")
            if not excused:
                self._check_age(reading, thing, place)

    def _check_age(self, reading: Reading, thing: str, place: int) -> None:
        times = self._times[thing]
        if place + 1 < len(times):
            age = reading.began - times[place + 1]
            self.oldest = max(self.oldest, age)
            # Equal is allowed: the last moment of trust is not trusted any more.
            if bisect_right(times, reading.began - TRUST_SECONDS - 1e-6) - 1 > place:
                raise WrongRead(f"{thing} {self._versions[thing][place]} had been overtaken {age:.3f} s before {reading}")

    def restored(self, readers: list[Reader]) -> None:
        """The database was restored: acknowledged writes may be gone, which is not the cache's doing."""
        self._first_kept = {thing: len(versions) for thing, versions in self._versions.items()}
        for reader in readers:
            reader.written.clear()
            reader.token = None

    def _place(self, thing: str, version: int) -> int | None:
        versions = self._versions[thing]
        for place in range(len(versions) - 1, -1, -1):
            if versions[place] == version:
                return place
        return None
