"""Placeholder until limits land."""
from dataclasses import dataclass
from townsquare.settings import Settings
@dataclass
class Policy:
    name: str; quota: int; window: float
@dataclass
class Policies:
    reads: Policy; writes: Policy; sign_in: Policy; uploads: Policy
    @classmethod
    def of(cls, s: Settings) -> "Policies":
        return cls(Policy("read", s.rate_limit_reads, 60), Policy("write", s.rate_limit_writes, 60), Policy("sign_in", s.rate_limit_sign_in, 300), Policy("upload", s.rate_limit_uploads, 1800))
@dataclass
class Decision:
    allowed: bool = True; retry_after: int = 0
class Limiter:
    def check(self, policy: Policy, key: str, now: float) -> Decision: return Decision()
def headers_of(d: Decision) -> list[tuple[bytes, bytes]]: return []
