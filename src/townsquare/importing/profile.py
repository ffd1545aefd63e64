"""An archive's profile offered to the users service, as if its owner had typed it."""

import re
from typing import Any

import msgspec

from townsquare.importing.mastodon_archive import ArchivedActor
from townsquare.kit.identity import Viewer
from townsquare.kit.upstream import Upstream

MAX_NAME = 100
MAX_BIO = 2_000
MAX_FIELDS = 8
MAX_FIELD_NAME = 60
MAX_FIELD_VALUE = 300

_UNSEEN = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


async def fill_profile(users: Upstream, person: Viewer, token: str, actor: ArchivedActor) -> list[str]:
    """Fill what is still empty in the profile; what somebody has written here stays. Returns the filled fields' names."""
    path = f"/profile/{person.id}"
    current: dict[str, Any] = msgspec.json.decode((await users.call("GET", path, token=token)).body)
    filled: list[str] = []
    for name, value in _offered(actor).items():
        untouched = current[name] == current["handle"] if name == "display_name" else not current[name]
        if value and untouched:
            reply = await users.call("PATCH", path, body=msgspec.json.encode({name: value}), token=token)
            filled += [name] if reply.status == 200 else []
    return filled


def _offered(actor: ArchivedActor) -> dict[str, Any]:
    fields = [(_line(name, MAX_FIELD_NAME), _line(value, MAX_FIELD_VALUE)) for name, value in actor.fields]
    return {
        "bio": _UNSEEN.sub("", actor.bio)[:MAX_BIO].strip(),
        "display_name": _line(actor.display_name, MAX_NAME),
        "fields": [{"name": name, "value": value} for name, value in fields if name and value][:MAX_FIELDS],
    }


def _line(text: str, most: int) -> str:
    return " ".join(_UNSEEN.sub("", text).split())[:most].strip()
