"""Commands that act for a person: found by handle in the users database, with an access token of their own making."""

from uuid import UUID

import msgspec
from msgspec import Struct

from townsquare.commands.shared import CommandError
from townsquare.hosting import Host
from townsquare.kit.identity import Viewer
from townsquare.kit.user_ids import read_user_id


class _Profile(Struct):
    id: UUID
    handle: str
    display_name: str


async def acting_as(host: Host, handle: str) -> tuple[Viewer, str]:
    """Return the person and an access token; ends the command with a sentence when there is no such person."""
    known = read_user_id(f"@{handle}")
    reply = None if known is None else await host.upstreams["users"].call("GET", f"/profile/@{known}")
    if reply is None or reply.status == 404:
        raise CommandError(f"there is nobody called @{handle} here; register first")
    if reply.status != 200:
        raise CommandError(f"who @{handle} is cannot be asked right now: the answer was {reply.status}")
    profile = msgspec.json.decode(reply.body, type=_Profile)
    token = host.services["users"].context.signer.sign(profile.id, profile.handle, profile.display_name, None)
    context = host.services["users"].context
    return await context.verifier.viewer(token), token
