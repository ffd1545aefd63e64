"""What an answer depends on, named by the handler while it reads: the tags under which its cached copy is found."""

from collections.abc import Iterable


class Depends:
    """The tags of one answer. A write that emits one of them makes the cached answer vanish."""

    __slots__ = ("tags", "watched")

    def __init__(self) -> None:
        self.tags: set[str] = set()
        self.watched: frozenset[str] | None = None

    def on(self, *tags: str) -> None:
        """Say that the answer changes when one of these tags does."""
        self.tags.update(tags)

    def watch(self, tags: Iterable[str]) -> None:
        """Say the same of very many tags, of a family that the service's cache watches; they are not indexed."""
        self.watched = frozenset(tags)
