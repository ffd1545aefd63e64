"""Personal tokens (`pat_...`) at services that do not own accounts: exchanged for an access token and remembered."""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from townsquare.kit.identity import Exchange
from townsquare.kit.problems import Problem
from townsquare.kit.upstream import Upstream

OWNER_OF_ACCOUNTS = "users"
EXCHANGE_PATH = "/tokens/exchange"


class ExchangeRequest(Struct, frozen=True, forbid_unknown_fields=True):
    """What a service asks the owner of accounts."""

    token: str


class ExchangeAnswer(Struct, frozen=True):
    """The access token that a personal token stands for."""

    access_token: str


def exchange_through(upstreams: Mapping[str, Upstream]) -> Exchange:
    """Return the function that the verifier exchanges personal tokens with."""

    async def exchange(token: str) -> str:
        if (owner := upstreams.get(OWNER_OF_ACCOUNTS)) is None:
            raise Problem("upstream_unavailable", headers={"Retry-After": "1"})
        reply = await owner.call("POST", EXCHANGE_PATH, body=msgspec.json.encode(ExchangeRequest(token)))
        if reply.status >= 500:
            raise Problem("upstream_unavailable", headers={"Retry-After": "1"})
        if reply.status != 200:
            raise Problem("invalid_token")
        return msgspec.json.decode(reply.body, type=ExchangeAnswer).access_token

    return exchange
