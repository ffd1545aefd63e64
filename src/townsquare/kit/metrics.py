"""Interim."""
class RequestMetrics:
    def __init__(self, service: str) -> None: self.in_flight = 0
    def observe(self, method: str, route: str, status: int, seconds: float) -> None: ...
class Metrics:
    def add_service(self, name: str) -> RequestMetrics: return RequestMetrics(name)
    content_type = "text/plain"
    async def gathered(self) -> bytes: return b""
