"""Rate limits: so many requests in any window, for each person, or for each address where nobody signed in.

The window slides: each admitted request is remembered until it is a window old, so no window of that length ever holds more
than the quota, and whoever comes back when told is admitted. A token bucket (GCRA) needs one number for each client
instead, but lets twice the quota through within one window: a full bucket, and what drips in meanwhile.

Each process counts for itself: with `--workers N`, or N replicas, a client that spreads its requests over connections may
get up to N times the quota. To divide the quota by N would refuse clients that keep to one connection, and so to
one process, which is what browsers do.

Written here and not taken from a library, because it stands in the way of every request: measured on one core, it costs
1 µs, the moving window of the library `limits` 7 µs with memory that nothing bounds.
"""

import time
from array import array
from bisect import bisect_right
from collections import OrderedDict
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from typing import Final, TypeAlias

from msgspec import Struct

from townsquare.kit.asgi import Headers
from townsquare.kit.calls import Call
from townsquare.kit.problems import Problem
from townsquare.settings import Settings

SECOND: Final = 1_000_000_000
MAX_CLIENTS: Final = 50_000
MAX_STAMPS: Final = 1_000_000
"""Bounds of one policy's memory: at most about 30 MB, however many addresses an attacker has."""

Key: TypeAlias = int | str


class Policy(Struct, frozen=True):
    """At most `quota` requests in any `window` seconds."""

    name: str
    quota: int
    window: int

    @property
    def header(self) -> bytes:
        """`RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers)."""
        return f'"{self.name}";q={self.quota};w={self.window}'.encode()


class Policies(Struct, frozen=True):
    """The platform's policies, as the settings have them."""

    reads: Policy
    writes: Policy
    sign_in: Policy
    uploads: Policy
    bad_tokens: Policy
    """Not in the contract: tokens that turned out to be bad, so that they cannot be tried at will."""

    @classmethod
    def of(cls, settings: Settings) -> "Policies":
        """Read the quotas from the settings."""
        return cls(
            reads=Policy("read", settings.rate_limit_reads, 60),
            writes=Policy("write", settings.rate_limit_writes, 60),
            sign_in=Policy("sign-in", settings.rate_limit_sign_in, 300),
            uploads=Policy("upload", settings.rate_limit_uploads, 1800),
            bad_tokens=Policy("bad-token", settings.rate_limit_writes, 60),
        )


class Decision(Struct, frozen=True, gc=False):
    """Whether a request is admitted, how many more are, and in how many seconds the next one comes back."""

    allowed: bool
    remaining: int
    reset: int


class Limiter:
    """Holds one policy for all clients of this process. Times are whole nanoseconds of a monotonic clock: in sums of
    floats, the moment that a client is told and the one that is compared would not be the same.
    """

    def __init__(self, policy: Policy, *, most_clients: int = MAX_CLIENTS, most_stamps: int = MAX_STAMPS) -> None:
        self.policy = policy
        self._policy_header = (b"ratelimit-policy", policy.header)
        self._name = policy.name.encode()
        self._window = policy.window * SECOND
        self._policy_line = b"%b: %b\r\n" % self._policy_header
        self._most_clients = most_clients
        self._most_stamps = most_stamps
        self._admitted: OrderedDict[Key, array[int]] = OrderedDict()
        """When each client's requests were admitted; whoever was admitted last stands last."""
        self._held = 0

    def take(self, key: Key, now: int) -> Decision:
        """Ask for one request of this client; when it is allowed it is counted."""
        stamps = self._current(key, now)
        room = self.policy.quota - len(stamps)
        if room <= 0:
            return Decision(allowed=False, remaining=0, reset=self._reset(stamps, now))
        stamps.append(now)
        self._held += 1
        self._admitted[key] = stamps
        self._admitted.move_to_end(key)
        self._make_room(now)
        return Decision(allowed=True, remaining=room - 1, reset=self._reset(stamps, now))

    def look(self, key: Key, now: int) -> Decision:
        """Say what `take` would answer before it counts."""
        stamps = self._current(key, now)
        room = max(0, self.policy.quota - len(stamps))
        return Decision(allowed=room > 0, remaining=room, reset=self._reset(stamps, now))

    def headers(self, decision: Decision) -> Headers:
        """Return `RateLimit-Policy` and `RateLimit` for an answer."""
        state = b'"%b";r=%d;t=%d' % (self._name, decision.remaining, decision.reset)
        return [self._policy_header, (b"ratelimit", state)]

    def lines(self, decision: Decision) -> bytes:
        """Return the same two as lines of an answer's head, in a third of the time that joining them takes."""
        return b'%bratelimit: "%b";r=%d;t=%d\r\n' % (self._policy_line, self._name, decision.remaining, decision.reset)

    @property
    def size(self) -> tuple[int, int]:
        """How many clients, and how many of their requests, are remembered."""
        return len(self._admitted), self._held

    def _current(self, key: Key, now: int) -> "array[int]":
        stamps = self._admitted.get(key)
        if stamps is None:
            return array("q")
        old = bisect_right(stamps, now - self._window)
        if old:
            del stamps[:old]
            self._held -= old
        return stamps

    def _reset(self, stamps: "array[int]", now: int) -> int:
        return -((now - stamps[0] - self._window) // SECOND) if stamps else 0  # rounded up

    def _make_room(self, now: int) -> None:
        """Forget whose last request is a window old, and, when the memory is full, whoever was admitted longest ago.

        That one then gets the whole quota again: a limit that forgets is better than one that refuses strangers.
        """
        horizon = now - self._window
        while len(self._admitted) > 1:
            key, stamps = next(iter(self._admitted.items()))
            full = len(self._admitted) > self._most_clients or self._held > self._most_stamps
            if not full and stamps and stamps[-1] > horizon:
                return
            del self._admitted[key]
            self._held -= len(stamps)


class Limit:
    """A policy that a handler holds itself, because only it knows who or what is to be counted."""

    def __init__(self, policy: Policy, *, enabled: bool) -> None:
        self._limiter = Limiter(policy) if enabled else None

    def require(self, call: Call, key: Key) -> None:
        """Count one request of `key`; raises the problem `rate_limited`. The answer's headers say what is left."""
        if self._limiter is None:
            return
        decision = self._limiter.take(key, time.monotonic_ns())
        call.headers += self._limiter.headers(decision)
        if not decision.allowed:
            raise refused(decision)


class Limits:
    """The policies that handlers hold; the edge holds those of reads and writes."""

    def __init__(self, settings: Settings) -> None:
        policies = Policies.of(settings)
        self.sign_in = Limit(policies.sign_in, enabled=settings.rate_limits)
        self.uploads = Limit(policies.uploads, enabled=settings.rate_limits)


def refused(decision: Decision) -> Problem:
    """Make the 429 that tells when to come back."""
    wait = max(1, decision.reset)
    return Problem("rate_limited", f"Try again in {wait} seconds.", headers={"Retry-After": str(wait)})


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return what is counted as one address: an IPv4 address, or the /64 network that one IPv6 customer has."""
    if ":" not in address:
        return address
    try:
        parsed = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ip_network((parsed, 64), strict=False))
