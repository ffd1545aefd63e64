"""The cache's rules, each broken on purpose: the proof that they are held is worth what it says when one is not."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from townsquare.cache.cache import Cache
from townsquare.cache.contact import Contact
from townsquare.cache.ledger import Ledger
from townsquare.cache.store import Store

_admits, _begin = Ledger.admits, Cache.begin


def _admits_anything(self: Ledger, tags: Any, snapshot: Any) -> bool:
    return snapshot.xmax >= self.known_from


def _admits_what_is_too_old_to_tell(self: Ledger, tags: Any, snapshot: Any) -> bool:
    known = self.known_from, self._listed_from
    self.known_from = self._listed_from = 0
    try:
        return _admits(self, tags, snapshot)
    finally:
        self.known_from, self._listed_from = known


def _forgets_what_was_running(self: Ledger, tags: Any, xid: int) -> bool:
    return True


def _removes_nothing(self: Store, tag: str, xid: int) -> list[Any]:
    self.ledger.record(tag, xid)
    return []


def _trusts_for_ever(self: Cache) -> bool:
    return True


def _never_changed(self: Ledger, position: int, tags: Any, snapshot: Any) -> bool:
    return False


def _does_not_count_sources(self: Cache, snapshot: Any, known_from: int) -> None:
    source = self._source
    _begin(self, snapshot, known_from)
    self._source = source


async def _never_notices_another_source(self: Contact) -> bool:
    sent = self._cache.now
    look = await self._source.look(self._before)
    self._before = look.snapshot
    self._cache.looked(look.snapshot, look.changes, sent + 1.0)
    return True


async def _trusts_from_the_answer_on(self: Contact) -> bool:
    look = await self._source.look(self._before)
    if look.incarnation != self._incarnation or look.snapshot.xmax < self._before.xmax:
        return False
    self._before = look.snapshot
    self._cache.looked(look.snapshot, look.changes, self._cache.now + 1.0)
    return True


async def _joins_anything(self: Cache, flight: Any, wanted: Any, *, joined: bool) -> Any:
    import asyncio

    await asyncio.wait([flight.landed])
    return flight.landed.result()


RULES: dict[str, tuple[type, str, Any]] = {
    "what a fill or a second level brings is checked against the ledger": (Ledger, "admits", _admits_anything),
    "what the ledger cannot tell any more is refused": (Ledger, "admits", _admits_what_is_too_old_to_tell),
    "of two transactions the larger may end first": (Ledger, "_left_alone", _forgets_what_was_running),
    "a commit removes what has not seen it": (Store, "invalidate", _removes_nothing),
    "a watched tag is compared at each read": (Ledger, "changed_since", _never_changed),
    "out of touch, nothing is fresh": (Cache, "trusted_until", property(lambda _: 1e18, lambda *_: None)),
    "trust is counted from before the look": (Contact, "_look", _trusts_from_the_answer_on),
    "a fill of another source is not kept": (Cache, "begin", _does_not_count_sources),
    "another source is noticed": (Contact, "_look", _never_notices_another_source),
    "a fill that began before we came is checked": (Cache, "_landed", _joins_anything),
    "the process's own commit is known before its writer is answered": (Cache, "changed", lambda *_: None),
}
"""By the rule, in words: whose attribute is replaced, and by what."""


@contextmanager
def broken(rule: str) -> Iterator[None]:
    """Break a rule for a while."""
    owner, name, replacement = RULES[rule]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(owner, name, replacement, raising=False)
        yield
