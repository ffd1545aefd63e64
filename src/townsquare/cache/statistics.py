"""What happened, counted by strategy: plain additions, so that a hit costs neither a lock nor a look-up of labels."""

from dataclasses import dataclass, fields


@dataclass(slots=True)
class Counts:
    """The outcomes of one strategy since the process began."""

    hit: int = 0
    """Served fresh from the process."""
    hit_shared: int = 0
    """Served fresh from the second level."""
    stale: int = 0
    """Served in the grace, while a newer one is fetched or because the origin failed."""
    miss: int = 0
    """Answered by a fill of one's own."""
    joined: int = 0
    """Answered by a fill that somebody else had begun."""
    bypass: int = 0
    """Sent to the origin without a look: the caller must see a write that is not known here yet, or contact is lost."""
    refused: int = 0
    """Filled, but not kept: something had changed meanwhile."""
    refreshed: int = 0
    """Filled in the background, before anybody had to wait for it."""
    failed: int = 0
    """The origin failed."""
    invalidated: int = 0
    """Entries removed because what they depend on changed."""

    def count(self, result: str) -> None:
        """Count an outcome by its name."""
        setattr(self, result, getattr(self, result) + 1)

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


class Statistics:
    """The counts of all strategies of one cache."""

    def __init__(self) -> None:
        self._counts: dict[str, Counts] = {}

    def of(self, strategy: str) -> Counts:
        """Return the strategy's counts, made at the first call."""
        counts = self._counts.get(strategy)
        if counts is None:
            counts = self._counts[strategy] = Counts()
        return counts

    def by_strategy(self) -> dict[str, Counts]:
        """Return all counts."""
        return dict(self._counts)
