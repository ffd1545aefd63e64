"""What a service's handlers, jobs and readers share for as long as the process lives."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from joserfc.jwk import OKPKey

from townsquare.cache.cache import Cache
from townsquare.kit.database import Database, DatabaseUnavailable
from townsquare.kit.identity import Signer, Verifier
from townsquare.kit.limits import Limits
from townsquare.kit.metrics import RequestMetrics
from townsquare.kit.outbox import Outbox
from townsquare.kit.readers import wait_until_seen
from townsquare.kit.upstream import Upstream
from townsquare.settings import Settings

MAX_TOKENS = 8


@dataclass(slots=True)
class Context:
    """One service in one process. `upstreams` holds the other services, local or remote, by name."""

    name: str
    settings: Settings
    database: Database
    outbox: Outbox
    verifier: Verifier
    request_metrics: RequestMetrics
    sources: frozenset[str]
    worker: int = 0
    upstreams: Mapping[str, Upstream] = field(default_factory=dict[str, Upstream])
    signing_key: OKPKey | None = None
    cache: Cache | None = None
    """What this process keeps of the service; None where it serves nothing, or keeps nothing."""
    resources: object = None
    """What the service holds besides its database (`Definition.resources`), while it runs."""
    limits: Limits = field(init=False)

    def __post_init__(self) -> None:
        """Begin to count what handlers count."""
        self.limits = Limits(self.settings)

    @property
    def signer(self) -> Signer:
        """The maker of access tokens; only the service that owns accounts may ask for it."""
        if self.signing_key is None:
            raise RuntimeError(f"the service {self.name} holds no signing key")
        return Signer(self.signing_key)

    async def wait_for_token(self, text: str) -> None:
        """Wait until what the `Consistency-Token`s stand for has reached this service's read models.

        A token of this service itself needs no wait: its database is the truth. One that does not come in time is
        not an error: the answer is then as fresh as can be had.
        """
        latest: dict[str, int] = {}  # of each source, so that nobody waits a second for every token that he makes up
        for token in text.replace(",", " ").split()[:MAX_TOKENS]:
            source, _, xid = token.partition(".")
            if source in self.sources and xid.isdecimal() and len(xid) <= 20:
                latest[source] = max(latest.get(source, 0), int(xid))
        for source, xid in latest.items():
            with suppress(TimeoutError, DatabaseUnavailable):
                await wait_until_seen(self.database, source, xid)
