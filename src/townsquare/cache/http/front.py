"""The front: from the bytes of a request straight to a kept answer, before anything is routed.

An *alias* says that a request which looks like this (target, who, coding) is answered by that entry. They are learned from
requests that went the whole way, so whatever decides there has decided. An alias ends with any entry that it rests on, and
with the token that it stands for. A *memo* leads from the bytes of a whole request to its alias, and ends with it.
"""

import time
from array import array
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, NamedTuple

from townsquare.cache.cache import Cache
from townsquare.cache.entries import Entry
from townsquare.cache.http.responses import Coding, Headers, StoredResponse, http_date, status_line_and
from townsquare.cache.store import MOST_HITS

MAX_ALIAS_BYTES: Final = 48 << 20
ALIAS_OVERHEAD: Final = 1_800
"""Bytes of an alias beside what it is found by: measured with tracemalloc, the unchanging heads of its answers included."""
MAX_ASKED_BYTES: Final = 8_192
MAX_MEMO_BYTES: Final = 16 << 20
MEMO_OVERHEAD: Final = 250
MAX_REQUEST_BYTES: Final = 4_096
"""A browser's request with a session in its cookie has about 1,300."""
_LAST_SIGHT: Final = (1 << 12) - 1
"""Hashes of the last so many different requests, in 32 kB: what comes again before 4,000 others is remembered."""


Key = tuple[bytes, bytes, bytes, bytes]
"""An `Asked` or as good as one: a plain tuple is equal to it and made in a third of the time."""


class Asked(NamedTuple):
    """What of a GET decides about its answer: the target as it was sent, and three headers (empty when absent)."""

    target: bytes
    authorization: bytes = b""
    cookie: bytes = b""
    accept_encoding: bytes = b""


class Alias:
    """Leads to one entry, in one coding. `who` is who counts as asking for the rate limits, None for the address."""

    __slots__ = (
        "body", "cache", "coding", "counted", "counted_unchanged", "entry", "head", "head_unchanged", "memos", "reply",
        "response", "rests_on", "unchanged", "until", "who",
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
        self.until = until
        self.who = who
        self.counted = counted
        """The histogram's series for this route's 200s: a hit is a count in its first bucket."""
        self.counted_unchanged = counted_unchanged
        self.rests_on: tuple[Entry, ...] = (entry,)
        self.memos: list[bytes] = []
        self.body = b""
        self.head = self.head_unchanged = b""
        """What of both answers' heads is the same in every second; made when somebody asks."""
        self.reply = self.unchanged = b""
        """Both answers as they are in this second, empty until somebody asks."""


Limit = Callable[[int | None, str], bytes | None]
"""Counts a read by person or address; returns header lines to add, or None when it is one too many."""
Memo = tuple[Alias, bool, str]
"""The alias, whether the client has its answer already, and whom the proxies on the way name as the client."""


def _size(asked: Key) -> int:
    return sum(map(len, asked)) + ALIAS_OVERHEAD


def _nobody(_: bytes) -> str:
    return ""


def prepare(cache: Cache, entry: Entry, coding: Coding) -> None:
    """Have the answer that an entry holds in a coding, its bytes counted where the entry is kept."""
    assert isinstance(entry.value, StoredResponse)  # noqa: S101  (only such entries are asked for so)
    if more := entry.value.make(coding):
        cache.store.grown(entry, more)


class Front:
    """Aliases of all caches of one process.

    `headers` are added to every answer; `limit` is None where nothing is limited. A request from one of `proxies`
    (addresses) counts as that of the address which `named` reads from its X-Forwarded-For, if any.
    """

    def __init__(
        self,
        *,
        headers: Headers | None = None,
        limit: Limit | None = None,
        proxies: frozenset[str] = frozenset(),
        named: Callable[[bytes], str] = _nobody,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._headers = headers or []
        self.proxies = proxies
        self.named = named
        self._limit = limit
        self._clock = clock
        self._aliases: OrderedDict[Key, Alias] = OrderedDict()
        self._alias_bytes = 0
        self._leading: dict[Entry, set[Key]] = {}
        self._memos: dict[bytes, Memo] = {}
        self._memo_bytes = 0
        # Bound methods of the dictionaries, because each saves a call of 60 ns, of 4,800 for a whole request.
        self.recall: Callable[[bytes], Memo | None] = self._memos.get
        """Returns what was remembered of exactly these bytes."""
        self.find: Callable[[Key], Alias | None] = self._aliases.get
        """Returns what leads to the answer of such a request."""
        self._sights = array("q", bytes(8 * (_LAST_SIGHT + 1)))
        self._second: object = None
        self._date = b""
        self._rendered: list[Alias] = []

    # --- learning ------------------------------------------------------------------------------------------------

    def learn(self, asked: Asked, alias: Alias, ends_with: Iterable[Entry] = ()) -> None:
        """Note that such a request is answered so, until one of the entries it rests on is gone."""
        alias.rests_on = (alias.entry, *ends_with)
        alias.until = min(alias.until, *(entry.look_again_at for entry in alias.rests_on))
        size = _size(asked)
        # One of them may have gone while the answer was being made: then nothing would end the alias any more.
        if self._clock() >= alias.until or size > MAX_ASKED_BYTES or not all(map(alias.cache.store.holds, alias.rests_on)):
            return
        self._forget(asked)
        while self._alias_bytes + size > MAX_ALIAS_BYTES:
            self._forget(next(iter(self._aliases)))
        self._aliases[asked] = alias
        self._alias_bytes += size
        for entry in alias.rests_on:
            self._leading_to(entry).add(asked)

    def remember(self, request: bytes, alias: Alias, *, unchanged: bool, named: str) -> None:
        """Note that a request of exactly these bytes (one whole GET without a body) was answered so.

        Only at their second sight: where no two requests are the same, because of a trace's number say, none is kept.
        """
        seen = hash(request)  # which `recall` has worked out already
        place = seen & _LAST_SIGHT
        if self._sights[place] != seen:
            self._sights[place] = seen
            return
        size = len(request) + MEMO_OVERHEAD
        if request in self._memos or size > MAX_REQUEST_BYTES:
            return
        if self._memo_bytes + size > MAX_MEMO_BYTES:
            self._forget_memos()
        self._memos[request] = (alias, unchanged, named)
        self._memo_bytes += size
        alias.memos.append(request)

    def _leading_to(self, entry: Entry) -> set[Key]:
        # One mark on the entry however many lead to it: whoever varies a cookie at will makes no entry heavier.
        leading = self._leading.get(entry)
        if leading is None:
            leading = self._leading[entry] = set()
            entry.on_removal.append(partial(self._ended, entry))
        return leading

    def _ended(self, entry: Entry) -> None:
        for asked in self._leading.pop(entry):
            self._forget(asked)

    def _forget(self, asked: Key) -> None:
        alias = self._aliases.pop(asked, None)
        if alias is None:
            return
        alias.until = float("-inf")
        self._alias_bytes -= _size(asked)
        for entry in alias.rests_on:
            if entry in self._leading:
                self._leading[entry].discard(asked)
        for request in alias.memos:
            del self._memos[request]
            self._memo_bytes -= len(request) + MEMO_OVERHEAD

    def _forget_memos(self) -> None:
        for alias, _, _ in self._memos.values():
            alias.memos.clear()
        self._memos.clear()
        self._memo_bytes = 0

    # --- answering -----------------------------------------------------------------------------------------------

    def answer(self, alias: Alias, second: object, address: str, *, unchanged: bool) -> bytes | None:
        """Return the finished answer, counted; None when the request must go the whole way.

        `second` is any object that is another one in the next second.
        """
        now, entry = self._clock(), alias.entry
        if now >= alias.until or now >= alias.cache.trusted_until:
            return None
        if entry.watched is not None and not alias.cache.store.holds(entry):
            return None
        more = b""
        if self._limit is not None and (more := self._limit(alias.who, address)) is None:
            return None
        if entry.hits < MOST_HITS:
            entry.hits += 1
        entry.counts.hit += 1
        if second is not self._second:
            self._turn(second)
        if unchanged:
            alias.counted_unchanged[0] += 1
            reply = alias.unchanged or self._render_unchanged(alias)
            return reply if self._limit is None else b"%b%b\r\n" % (reply, more)
        alias.counted[0] += 1
        reply = alias.reply or self._render(alias)
        return reply if self._limit is None else b"%b%b\r\n%b" % (reply, more, alias.body)

    def _turn(self, second: object) -> None:
        """Begin another second; what was rendered for the last one goes, so that only what is hot has copies."""
        self._second = second
        self._date = http_date(time.time())
        for alias in self._rendered:
            alias.reply = alias.unchanged = b""
        self._rendered.clear()

    def _render(self, alias: Alias) -> bytes:
        """Make the whole answer where nothing is added to it, else its head up to where something is."""
        if not alias.head:
            prepare(alias.cache, alias.entry, alias.coding)
            alias.body = alias.response.body(alias.coding)
            alias.head = status_line_and(200, alias.response.head(alias.coding, self._headers))
        reply = self._with_time(alias, alias.head)
        alias.reply = reply if self._limit is not None else b"%b\r\n%b" % (reply, alias.body)
        return alias.reply

    def _render_unchanged(self, alias: Alias) -> bytes:
        if not alias.head_unchanged:
            alias.head_unchanged = status_line_and(304, alias.response.head_unchanged(alias.coding, self._headers))
        reply = self._with_time(alias, alias.head_unchanged)
        alias.unchanged = reply if self._limit is not None else reply + b"\r\n"
        return alias.unchanged

    def _with_time(self, alias: Alias, head: bytes) -> bytes:
        self._rendered.append(alias)
        ttl = int(alias.entry.fresh_until - self._clock())
        return b"%bcache-status: townsquare; hit; ttl=%d; detail=l1\r\ndate: %b\r\n" % (head, ttl, self._date)
