"""A person's profile: what everybody may see of them, and what only they may change.

Nobody sees the profile of somebody who is hidden or has blocked them: it is not there. `GET` is one query by a unique
index, whoever asks.
"""

from datetime import datetime
from typing import Annotated, Final, TypeAlias
from uuid import UUID

import asyncpg
import msgspec
from litestar import get, patch, put
from litestar.params import FromPath, JSONBody
from msgspec import UNSET, Meta, Struct, UnsetType

from townsquare.kit.asgi import AnyRequest
from townsquare.kit.cached_routes import cached, changes
from townsquare.kit.clock import now
from townsquare.kit.conditional import require_match
from townsquare.kit.dependencies import Db, DependsOn, MaybeViewer, SignedIn, Transaction
from townsquare.kit.identity import Viewer
from townsquare.kit.problems import Problem, not_found
from townsquare.kit.text_types import LINE, TEXT
from townsquare.kit.writes import Write
from townsquare.services.users.people import PERSON_TAGS, Source, person_key, tell_person
from townsquare.strategies import USER_PROFILE

DisplayName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=100, pattern=r"^(?=[\s\S]*\S)" + LINE[1:])]
Bio: TypeAlias = Annotated[str, Meta(max_length=2_000, pattern=TEXT)]
Location: TypeAlias = Annotated[str, Meta(max_length=100, pattern=LINE)]
Website: TypeAlias = Annotated[
    str, Meta(max_length=200, pattern=r"^https?://[^\s/?#\x00-\x1f\x7f-\x9f][^\s\x00-\x1f\x7f-\x9f]*(?![\s\S])")
]
# A picture stands on this site or elsewhere; `//host` would be elsewhere without saying how.
PictureUrl: TypeAlias = Annotated[
    str,
    Meta(max_length=500, pattern=r"^(https?://[^\s/?#\\]|/(?![/\\]))[^\s\\\x00-\x1f\x7f-\x9f]*(?![\s\S])"),
]
FieldName: TypeAlias = Annotated[str, Meta(min_length=1, max_length=60, pattern=LINE)]
FieldValue: TypeAlias = Annotated[str, Meta(max_length=300, pattern=LINE)]


class ProfileField(Struct, frozen=True, forbid_unknown_fields=True):
    """Something people say about themselves, such as `Pronouns: she`."""

    name: FieldName
    value: FieldValue


Fields: TypeAlias = Annotated[list[ProfileField], Meta(max_length=8)]


class Counts(Struct, frozen=True):
    """How many follow a person, how many they follow, and how many posts they have written."""

    followers: int
    following: int
    posts: int


class Profile(Struct, frozen=True, omit_defaults=True):
    """A person as everybody may see them."""

    id: UUID
    handle: str
    display_name: str
    bio: str
    fields: list[ProfileField]
    counts: Counts
    created_at: datetime
    avatar: str | None = None
    banner: str | None = None
    location: str | None = None
    website: str | None = None


class WholeProfile(Struct, frozen=True, forbid_unknown_fields=True):
    """A profile as its owner writes it; what is left out is empty from then on."""

    display_name: DisplayName
    bio: Bio = ""
    avatar: PictureUrl | None = None
    banner: PictureUrl | None = None
    location: Location | None = None
    website: Website | None = None
    fields: Fields = []


class ProfilePatch(Struct, frozen=True, forbid_unknown_fields=True):
    """What is to change of a profile (RFC 7396): what is left out stays, null empties."""

    display_name: DisplayName | UnsetType = UNSET
    bio: Bio | UnsetType | None = UNSET
    avatar: PictureUrl | UnsetType | None = UNSET
    banner: PictureUrl | UnsetType | None = UNSET
    location: Location | UnsetType | None = UNSET
    website: Website | UnsetType | None = UNSET
    fields: Fields | UnsetType | None = UNSET


_decode_fields: Final = msgspec.json.Decoder(list[ProfileField]).decode
_EMPTY: Final[dict[str, object]] = {"bio": "", "fields": []}
"""What stands where nothing does; for everything else that is null."""

_COLUMNS = """p.id, p.handle, p.display_name, p.bio, p.avatar, p.banner, p.location, p.website, p.fields,
    p.followers, p.following, p.posts, p.created_at"""

# Each reads one row by a unique index: people_pkey or people_handle_idx. For somebody who is signed in, one look into
# the primary key of blocks is added.
READ_BY_ID: Final = f"""
SELECT {_COLUMNS}
FROM people AS p
WHERE p.id = $1 AND p.hidden_at IS NULL
"""

READ_BY_HANDLE: Final = f"""
SELECT {_COLUMNS}
FROM people AS p
WHERE p.handle = $1 AND p.hidden_at IS NULL
"""

READ_BY_ID_AS: Final = f"""
SELECT {_COLUMNS}
FROM people AS p
WHERE p.id = $1
  AND p.hidden_at IS NULL
  AND NOT EXISTS (SELECT FROM blocks AS b WHERE b.blocked = $2 AND b.blocker = p.id)
"""

READ_BY_HANDLE_AS: Final = f"""
SELECT {_COLUMNS}
FROM people AS p
WHERE p.handle = $1
  AND p.hidden_at IS NULL
  AND NOT EXISTS (SELECT FROM blocks AS b WHERE b.blocked = $2 AND b.blocker = p.id)
"""

LOCK: Final = f"""
SELECT {_COLUMNS}
FROM people AS p
WHERE p.id = $1 AND p.hidden_at IS NULL
FOR NO KEY UPDATE
"""

CHANGE: Final = f"""
UPDATE people AS p
SET display_name = $2, bio = $3, avatar = $4, banner = $5, location = $6, website = $7, fields = $8::jsonb,
    updated_at = $9
WHERE p.id = $1
RETURNING {_COLUMNS}
"""


@get("/profile/{user_id:str}", opt=cached(USER_PROFILE, "plain", tags=("profile:{person}",)))
async def read_profile(user_id: FromPath[str], db: Db, viewer: MaybeViewer, depends: DependsOn) -> Profile:
    """Read a person's profile."""
    found = await _find(db, user_id, viewer)
    depends.on(f"profile:{found.id}")
    return found


@put("/profile/{user_id:str}", opt=changes(*PERSON_TAGS))
async def replace_profile(
    request: AnyRequest, user_id: FromPath[str], person: SignedIn, write: Transaction, data: JSONBody[WholeProfile]
) -> Profile:
    """Write your whole profile; what you leave out is empty from then on."""
    current = await _lock_own(request, write, user_id, person)
    return await _change(write, current, data)


@patch("/profile/{user_id:str}", opt=changes(*PERSON_TAGS))
async def change_profile(
    request: AnyRequest, user_id: FromPath[str], person: SignedIn, write: Transaction, data: JSONBody[ProfilePatch]
) -> Profile:
    """Change a part of your profile; what you leave out stays, null empties (RFC 7396)."""
    current = await _lock_own(request, write, user_id, person)
    return await _change(write, current, _merge(current, data))


async def _find(source: Source, user_id: str, viewer: Viewer | None) -> Profile:
    by_id, handle = person_key(user_id)
    if viewer is None:
        row = await source.fetchrow(READ_BY_ID if handle is None else READ_BY_HANDLE, by_id or handle)
    else:
        row = await source.fetchrow(READ_BY_ID_AS if handle is None else READ_BY_HANDLE_AS, by_id or handle, viewer.id)
    if row is None:
        raise not_found()
    return _profile(row)


async def _lock_own(request: AnyRequest, write: Write, user_id: str, person: Viewer) -> Profile:
    found = await _find(write, user_id, person)
    if found.id != person.id:
        raise Problem("forbidden", "Only its owner can change a profile.")
    row = await write.fetchrow(LOCK, found.id)
    if row is None:
        raise not_found()
    current = _profile(row)
    require_match(request, current)
    return current


def _merge(current: Profile, change: ProfilePatch) -> WholeProfile:
    merged: dict[str, object] = {}
    for name in WholeProfile.__struct_fields__:
        new = getattr(change, name)
        if new is UNSET:
            new = getattr(current, name)
        merged[name] = _EMPTY.get(name) if new is None else new
    return msgspec.convert(merged, WholeProfile)


async def _change(write: Write, current: Profile, new: WholeProfile) -> Profile:
    row = await write.fetchrow(
        CHANGE,
        current.id,
        new.display_name,
        new.bio,
        new.avatar,
        new.banner,
        new.location,
        new.website,
        msgspec.json.encode(new.fields).decode(),
        now(),
    )
    if row is None:
        raise not_found()
    changed = _profile(row)
    if (changed.display_name, changed.avatar) != (current.display_name, current.avatar):
        tell_person(write, changed.id, changed.handle, changed.display_name, changed.avatar)
    else:
        write.emit("profile", changed.id, {"id": changed.id}, [f"profile:{changed.id}"])
    return changed


def _profile(row: asyncpg.Record) -> Profile:
    fields = row["fields"]
    return Profile(
        id=row["id"],
        handle=row["handle"],
        display_name=row["display_name"],
        bio=row["bio"],
        fields=[] if fields == "[]" else _decode_fields(fields),
        counts=Counts(row["followers"], row["following"], row["posts"]),
        created_at=row["created_at"],
        avatar=row["avatar"],
        banner=row["banner"],
        location=row["location"],
        website=row["website"],
    )


ROUTES: Final = (read_profile, replace_profile, change_profile)
