"""The front: from the bytes of a request straight to a kept answer, before anything is routed or parsed any further.

An *alias* says that a request which looks like this (target, who, coding) is answered by that entry. They are learned from
requests that went the whole way, so whatever decides there has decided. An alias ends with its entry, with whatever else it
was learned from (`ends_with`), and with the token that it stands for (`until`).
"""

import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from townsquare.cache.cache import Cache
from townsquare.cache.entries import Entry
from townsquare.cache.http.responses import Coding, Headers, StoredResponse, http_date, status_line_and
from townsquare.cache.store import MOST_HITS

MAX_ALIASES: Final = 50_000
MAX_MEMOS: Final = 20_000
MAX_MEMO_BYTES: Final = 2_048


class Asked(NamedTuple):
    """What of a GET decides about its answer: the target as it was sent, and three headers (empty when absent)."""

    target: bytes
    authorization: bytes = b""
    cookie: bytes = b""
    accept_encoding: bytes = b""


class Alias:
    """Leads to one entry, in one coding. `who` is who counts as asking for the rate limits, None for the address."""

    __slots__ = (
        "cache", "coding", "counted", "counted_unchanged", "entry", "extra", "made_at", "reply", "response", "unchanged",
        "until", "who",
    )  # fmt: skip

    def __init__(
        self,
        cache: Cache,
        entry: Entry,
        coding: Coding,
        *,
        until: float,
        who: int | None,
        counted: list[float],
        counted_unchanged: list[float],
    ) -> None:
        assert isinstance(entry.value, StoredResponse)  # noqa: S101  (only such entries have aliases)
        self.cache = cache
        self.entry = entry
        self.response = entry.value
        self.coding: Coding = coding
        self.until = min(until, entry.look_again_at)
        self.who = who
        self.counted = counted
        """The histogram's series for this route's 200s: a hit is a count in its first bucket."""
        self.counted_unchanged = counted_unchanged
        self.made_at: object = None
        self.reply = b""
        self.unchanged = b""

    def render(self, second: object, clock: float, fixed: Headers) -> None:
        """Make both answers for this second; `second` is any object that is another one in the next."""
        ttl = int(self.entry.fresh_until - clock)
        extra: Headers = [
            *fixed,
            (b"cache-status", b"townsquare; hit; ttl=%d; detail=l1" % ttl),
            (b"date", http_date(time.time())),
        ]
        response, coding = self.response, self.coding
        self.reply = status_line_and(200, response.head(coding, extra))
        self.unchanged = status_line_and(304, response.head_unchanged(coding, extra))
        self.made_at = second


Limit = Callable[[int | None, str], bytes | None]
"""Counts a read by person or address; returns header lines to add, or None when it is one too many."""


class Front:
    """Aliases of all caches of one process.

    `headers` are added to every answer; `limit` is None where nothing is limited.
    """

    def __init__(
        self, *, headers: Headers | None = None, limit: Limit | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._headers = headers or []
        self._aliases: dict[Asked, Alias] = {}
        self._memos: dict[bytes, tuple[Alias, bool]] = {}
        self._limit = limit
        self._clock = clock

    def learn(self, asked: Asked, alias: Alias, ends_with: Iterable[Entry] = ()) -> None:
        """Note that such a request is answered so, until one of the entries it rests on is gone."""
        if len(self._aliases) >= MAX_ALIASES:
            self._aliases.pop(next(iter(self._aliases)))
        self._aliases[asked] = alias

        def forget() -> None:
            alias.until = float("-inf")
            if self._aliases.get(asked) is alias:
                del self._aliases[asked]

        for entry in (alias.entry, *ends_with):
            entry.on_removal.append(forget)

    def find(self, asked: Asked) -> Alias | None:
        """Return what leads to the answer of such a request."""
        return self._aliases.get(asked)

    def remember(self, request: bytes, alias: Alias, *, unchanged: bool) -> None:
        """Note that a request of exactly these bytes (one whole GET without a body) is answered so."""
        if len(request) > MAX_MEMO_BYTES:
            return
        if len(self._memos) >= MAX_MEMOS:
            self._memos.clear()
        self._memos[request] = (alias, unchanged)

    def recall(self, request: bytes) -> tuple[Alias, bool] | None:
        """Return what was remembered of exactly these bytes."""
        return self._memos.get(request)

    def answer(self, alias: Alias, second: object, address: str, *, unchanged: bool) -> bytes | None:
        """Return the finished answer, counted; None when the request must go the whole way."""
        now = self._clock()
        entry = alias.entry
        if now >= alias.until or now >= alias.cache.trusted_until:
            return None
        if entry.watched is not None and not alias.cache.store.holds(entry):
            return None
        more = b""
        if self._limit is not None:
            limited = self._limit(alias.who, address)
            if limited is None:
                return None
            more = limited
        if entry.hits < MOST_HITS:
            entry.hits += 1
        entry.counts.hit += 1
        if alias.made_at is not second:
            alias.render(second, now, self._headers)
        if unchanged:
            alias.counted_unchanged[0] += 1
            return alias.unchanged + more + b"\r\n"
        alias.counted[0] += 1
        return alias.reply + more + b"\r\n" + alias.response.body(alias.coding)
