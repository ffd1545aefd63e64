"""Each write of media, and what it changes of what is kept, there and elsewhere: all of that, and nothing else.

How it is tried: `testbed/invalidation.py`.
"""

from typing import Final

from testbed.imports import arrives, taken_up
from testbed.invalidation import TableOfWrites
from testbed.kept_world import (
    ADAS_FILES,
    POST,
    PROFILES,
    PUBLIC_FILES,
    SHOWN,
    Call,
    Case,
    Upload,
    World,
)
from testbed.pieces import PIECE, begin, begun, send_piece
from testbed.uploads import small_photo

TEXT: Final = b"In pieces\n"


async def ada_sends_all_at_once(world: World) -> None:
    assert (await begin(world.town.media, world.people["ada"], len(TEXT), TEXT)).status == 201


async def ada_begins(world: World) -> None:
    world.names["begun"] = await begun(world.town.media, world.people["ada"], len(TEXT))


async def ada_sends_a_part(world: World) -> None:
    answer = await send_piece(world.town.media, world.people["ada"], world.names["begun"], 0, TEXT[:4])
    assert answer.status == 204, answer.body


async def ada_sends_the_rest(world: World) -> None:
    answer = await send_piece(world.town.media, world.people["ada"], world.names["begun"], 4, TEXT[4:])
    assert "Location" in answer.headers, answer.body


async def ada_sends_the_rest_by_post(world: World) -> None:
    headers = {**PIECE, "X-HTTP-Method-Override": "PATCH", "Upload-Offset": "4"}
    media, path = world.town.media, world.names["begun"]
    answer = await media.post(path, as_=world.people["ada"], headers=headers, data=TEXT[4:])
    assert "Location" in answer.headers, answer.body


async def somebody_asks_for_a_png(world: World) -> None:
    answer = await world.town.media.get(f"/files/{world.names['scratch']}/small.png")
    assert answer.status == 200, answer.body


async def an_avatar_arrives(world: World) -> None:
    medium = await arrives(world.town, world.people["ada"].id, small_photo("olive"), purpose="avatar")
    await taken_up(world.town)
    world.names["avatar"] = str(medium)


FILE: Final = "/files/{file_id}"
PIECES: Final = "/uploads/{upload_id}"
SCRATCH: Final = Upload("ada", small_photo("navy"), "scratch")
UNLISTED: Final = Upload("ada", small_photo("navy"), "scratch", {"visibility": "unlisted"})
PRIVATE: Final = Upload("ada", small_photo("navy"), "scratch", {"visibility": "private"})
IN_A_POST: Final = Call("ada", "content POST /posts", {"text": "{word} #{tag}", "media_ids": ["{scratch}"]})
AS_AVATAR: Final = Call("ada", "users PATCH /profile/{ada}", {"avatar": "/api/media/files/{scratch}/small.webp"})
AS_BANNER: Final = Call("ada", "users PATCH /profile/{ada}", {"banner": "/api/media/files/{scratch}/large.webp"})

ADAS_LOOKS: Final = PROFILES | POST | SHOWN | {"people found", "whom bob follows", "a post for followers", "its comments"}
"""What shows ada's avatar."""

CASES: Final = (
    Case("a public file", "media POST /upload", SCRATCH, ADAS_FILES | PUBLIC_FILES),
    Case("a file for whoever has its address", "media POST /upload", UNLISTED, ADAS_FILES),
    Case("a private file", "media POST /upload", PRIVATE, ADAS_FILES),
    Case("a file in one piece", "media POST /uploads", ada_sends_all_at_once, ADAS_FILES | PUBLIC_FILES),
    Case("a piece of a file", f"media PATCH {PIECES}", ada_sends_a_part, set(), [ada_begins]),
    Case(
        "the last piece",
        f"media PATCH {PIECES}",
        ada_sends_the_rest,
        ADAS_FILES | PUBLIC_FILES,
        [ada_begins, ada_sends_a_part],
    ),
    Case(
        "the last piece of a client that cannot patch",
        f"media POST {PIECES}",
        ada_sends_the_rest_by_post,
        ADAS_FILES | PUBLIC_FILES,
        [ada_begins, ada_sends_a_part],
    ),
    Case(
        "another description, in the post that shows it too",
        f"media PATCH {FILE}",
        Call("ada", "media PATCH /files/{picture}", {"alt": "{unique}"}),
        ADAS_FILES | PUBLIC_FILES | POST | SHOWN | {"ada's file"},
    ),
    Case(
        "another description of a private file",
        f"media PATCH {FILE}",
        Call("ada", "media PATCH /files/{secret}", {"alt": "{unique}"}),
        ADAS_FILES | {"ada's private file"},
    ),
    Case(
        "a file out of the lists",
        f"media PATCH {FILE}",
        Call("ada", "media PATCH /files/{picture}", {"visibility": "unlisted"}),
        ADAS_FILES | PUBLIC_FILES | {"ada's file"},
    ),
    Case(
        "a file back in the lists",
        f"media PATCH {FILE}",
        Call("ada", "media PATCH /files/{picture}", {"visibility": "public"}),
        ADAS_FILES | PUBLIC_FILES | {"ada's file"},
    ),
    Case(
        "a file for nobody else any more, of which a post tells no more",
        f"media PATCH {FILE}",
        Call("ada", "media PATCH /files/{scratch}", {"visibility": "private"}),
        ADAS_FILES | PUBLIC_FILES | SHOWN,
        [SCRATCH, IN_A_POST],
    ),
    Case(
        "a private file for everybody",
        f"media PATCH {FILE}",
        Call("ada", "media PATCH /files/{scratch}", {"visibility": "public"}),
        ADAS_FILES | PUBLIC_FILES,
        [PRIVATE],
    ),
    Case(
        "a file less",
        f"media DELETE {FILE}",
        Call("ada", "media DELETE /files/{scratch}"),
        ADAS_FILES | PUBLIC_FILES,
        [SCRATCH],
    ),
    Case(
        "a file less that only its owner saw",
        f"media DELETE {FILE}",
        Call("ada", "media DELETE /files/{scratch}"),
        ADAS_FILES,
        [PRIVATE],
    ),
    Case(
        "a file less that a post shows",
        f"media DELETE {FILE}",
        Call("ada", "media DELETE /files/{scratch}"),
        ADAS_FILES | PUBLIC_FILES | SHOWN,
        [SCRATCH, IN_A_POST],
    ),
    Case(
        "a file less that a post for followers shows",
        f"media DELETE {FILE}",
        Call("ada", "media DELETE /files/{scratch}"),
        ADAS_FILES | {"ada's posts to bob", "bob's feed"},
        [UNLISTED, IN_A_POST._replace(body={"text": "Us", "media_ids": ["{scratch}"], "visibility": "followers"})],
    ),
    Case(
        "a file less that was an avatar",
        f"media DELETE {FILE}",
        Call("ada", "media DELETE /files/{scratch}"),
        ADAS_FILES | PUBLIC_FILES | ADAS_LOOKS,
        [SCRATCH, AS_AVATAR],
    ),
    Case(
        "a file less that was a banner",
        f"media DELETE {FILE}",
        Call("ada", "media DELETE /files/{scratch}"),
        ADAS_FILES | PUBLIC_FILES | PROFILES,
        [SCRATCH, AS_BANNER],
    ),
    Case(
        "a picture's PNG, made when it is first asked for",
        "media: a picture has been worked on, or somebody's files are deleted for good",
        somebody_asks_for_a_png,
        ADAS_FILES | PUBLIC_FILES,
        [Upload("ada", small_photo("plum"), "scratch")],
    ),
    Case(
        "an avatar from an archive",
        "media: content tells that a picture came in an archive, or is gone",
        an_avatar_arrives,
        ADAS_FILES | PUBLIC_FILES | ADAS_LOOKS,
    ),
)


class TestWrites(TableOfWrites):
    """Each case, and that none is missing."""

    service = "media"
    cases = CASES
