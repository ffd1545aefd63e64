"""What a process remembers of answers that are gone."""

import tracemalloc

from townsquare.cache.events import EntryEvicted
from townsquare.kit.cache_operations import MAX_REMEMBERED, LastHeard


def test_why_an_answer_is_gone_is_remembered_in_little_room() -> None:
    heard = LastHeard()
    tracemalloc.start()
    for number in range(MAX_REMEMBERED):
        heard.hear(EntryEvicted("KIND", f"{number}".ljust(10_000, ".")))
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert taken < 300 * MAX_REMEMBERED
    assert heard.of("7".ljust(10_000, ".")).startswith("thrown out")
    assert heard.of("another").startswith("nobody has asked")
