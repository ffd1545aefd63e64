"""What a strategy is: how long an answer of one kind is fresh, and what may be done with it afterwards."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Strategy:
    """One kind of answer. Times are in seconds.

    After `lifetime` an entry may still be served for `grace`, marked stale: while a newer one is fetched, or when the
    origin fails. An invalidated entry is never served, whatever the grace.
    """

    name: str
    lifetime: float
    grace: float
    eager: float = 0.9
    """The share of the lifetime after which a hit refreshes the entry in the background."""
    jitter: float = 0.1
    """Lifetimes are shortened by a random share up to this, so that entries made together do not end together."""
    soft_deadline: float = 0.1
    """How long a caller waits for a fill when a stale entry is at hand."""
    hard_deadline: float = 10.0
    """How long a fill may take at all."""
    shared: bool = True
    """Whether entries go to the second level too."""
