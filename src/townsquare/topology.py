"""The one table of services: names, ports, databases, public prefixes, dependencies and timeouts.

The gateway, the command line, the probes, the manifests and the docs are made from it; there is no second copy.
"""

from dataclasses import dataclass, field

GATEWAY_PORT = 8000


@dataclass(frozen=True, slots=True)
class Service:
    """One service as the rest of the platform sees it.

    `timeout` is in seconds: how long the gateway waits for the service's answer to begin.
    `reads_events_of` names the services whose outbox this one follows.
    """

    name: str
    port: int
    summary: str
    reads_events_of: tuple[str, ...] = field(default=())
    timeout: float = 10.0

    @property
    def database(self) -> str:
        """The name of the service's own database; nobody else connects to it."""
        return self.name

    @property
    def prefix(self) -> str:
        """Where the service's paths stand when they are reached through the gateway."""
        return f"/api/{self.name}"


SERVICES: dict[str, Service] = {
    service.name: service
    for service in (
        Service("users", 8001, "People, skills, follows and accounts", reads_events_of=("content", "media")),
        Service("content", 8002, "Posts, feeds, comments and reactions", reads_events_of=("users", "media")),
        Service("messages", 8003, "Conversations"),
        Service("collaboration", 8004, "Documents, wikis and tasks"),
        Service("media", 8005, "Pictures, videos and files", reads_events_of=("users", "content"), timeout=60.0),
        Service("shop", 8006, "Products, carts and orders"),
    )
}
