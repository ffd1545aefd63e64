"""Whether a store's books are right: looks where only a test may look."""

from townsquare.cache.store import FEWEST_GHOSTS, Store
from townsquare.cache.tag_sets import PER_TAG


def check_books(store: Store) -> None:
    """Raise AssertionError unless every byte is counted once and every entry stands where it should."""
    small, main, entries = store._small, store._main, store._entries
    assert {**small, **main} == entries
    assert not small.keys() & main.keys()
    assert all(entry.in_main == (key in main) for key, entry in entries.items())
    assert store._small_bytes == sum(entry.size for entry in small.values())
    sets = [tags for entry in entries.values() for tags in (entry.watched, entry.lent) if tags is not None]
    assert store.bytes == sum(entry.size for entry in entries.values()) + sum(PER_TAG * len(tags) for tags in set(sets))
    assert len({id(tags) for tags in sets}) == len(set(sets)) == len(store._sets)
    assert store.bytes <= store.capacity
    tags = {tag for entry in entries.values() for tag in entry.tags}
    for tag in tags:
        assert set(store._tagged.holders(tag)) == {entry for entry in entries.values() if tag in entry.tags}
    assert len(store._tagged) == len(tags)
    assert not store._ghosts.keys() & set(map(hash, entries))
    assert len(store._ghosts) <= max(FEWEST_GHOSTS, len(entries) + 1)
