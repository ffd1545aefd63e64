"""Arguments to run every query of the media service with, on the community of `seed_media.py`; see `samples.py`."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID, uuid4

from bench.seed import item_id, person_id

Arguments: TypeAlias = tuple[object, ...]

FAMOUS: Final = person_id(1)
ORDINARY: Final = person_id(2)
STRANGER: Final = person_id(15_001)
NOBODY: Final = person_id(999_999)

NEWEST: Final = UUID(int=(1 << 128) - 1)
MIDDLE: Final = item_id(25_000)
NOW: Final = datetime.now(UTC)
MUCH: Final = 101
FILE: Final = item_id(3)
UPLOAD: Final = item_id(4)
OBJECTS: Final = ["object_5", "object_6", "object_7"]
PICTURE: Final = (4000, 3000, 1, False, False, "thumb", "data:", ["#aabbcc"], 0, 1, "0f0f")

MEDIA: Final[Mapping[str, list[Arguments]]] = {
    "accounting.BY_PERSON": [(20,)],
    "accounting.BY_KIND": [()],
    "accounting.STORED": [()],
    "addresses.OWN_FILE": [(FILE, FAMOUS)],
    "departures.LOCK_NEXT_FILE": [(FAMOUS,), (STRANGER,)],
    "departures.FORGET_USAGE": [(FAMOUS,)],
    "departures.FORGET_UPLOADS": [(STRANGER,)],
    "downloads.FIND_BYTES": [(FILE,)],
    "files.READ_FILE": [(ORDINARY, FILE), (None, FILE)],
    "files.LOCK_FILE": [(ORDINARY, FILE)],
    "files.FIND_FILE": [(FILE,)],
    "files.CHANGE_FILE": [(FILE, "A lantern", "private")],
    "files.DELETE_FILE": [(FILE,)],
    "files.LESS_USED": [(FAMOUS, 1)],
    "lists.LIST_FILES_OF": [(None, FAMOUS, NEWEST, MUCH), (FAMOUS, FAMOUS, MIDDLE, 21), (ORDINARY, STRANGER, NEWEST, 21)],
    "lists.LIST_KIND_OF": [(viewer, FAMOUS, NEWEST, MUCH, kind) for viewer in (None, FAMOUS) for kind in ("image", "audio")],
    "lists.LIST_PUBLIC": [(None, NEWEST, MUCH), (ORDINARY, MIDDLE, 21)],
    "lists.LIST_PUBLIC_KIND": [(viewer, NEWEST, MUCH, kind) for viewer in (None, ORDINARY) for kind in ("image", "video")],
    "objects.ANNOUNCE": [([*OBJECTS, "new"], [1, 2, 3, 4])],
    "objects.HOLD": [(OBJECTS,)],
    "objects.LOCK_OBJECTS": [(OBJECTS,)],
    "objects.RELEASE": [(OBJECTS,)],
    "on_demand.SET_VARIANTS": [(FILE, "{}")],
    "people.STANDING": [(ORDINARY,), (FAMOUS,), (NOBODY,)],
    "people.PERSON_BY_ID": [(FAMOUS, ORDINARY), (FAMOUS, None)],
    "people.PERSON_BY_HANDLE": [("person_1", ORDINARY), ("person_1", None)],
    "people.LOCK_PERSON": [(FAMOUS,)],
    "people.READ_PERSON": [(FAMOUS,)],
    "people.ADD_OWNER": [(uuid4(), "somebody")],
    "people.TELL_PERSON": [(FAMOUS, "person_1", 9), (uuid4(), "somebody", 9)],
    "people.HIDE_PERSON": [(FAMOUS, 9)],
    "people.PURGE_PERSON": [(FAMOUS, 9)],
    "people.TELL_BLOCK": [(ORDINARY, FAMOUS, True, 9)],
    "processing.FIND": [(FILE,)],
    "processing.LOCK": [(FILE,)],
    "processing.FINISH": [(FILE, *PICTURE, "{}")],
    "processing.GIVE_UP": [(FILE, "It cannot be read.")],
    "processing.NEXT_WAITING": [(UUID(int=0),), (MIDDLE,)],
    "imported.TELL_MEDIUM": [(item_id(7), FAMOUS, "post", None, 9), (uuid4(), FAMOUS, "avatar", "A lantern", 9)],
    "imported.FORGET_MEDIUM": [(item_id(7), 9), (uuid4(), 9)],
    "imported.FIND_WANTED": [(item_id(7),)],
    "imported.LOCK_WANTED": [(item_id(7),)],
    "imported.SETTLE": [(item_id(7),)],
    "pieces.ADVANCE": [(UPLOAD, 5, NOW)],
    "pieces.FIND_WHOLE": [(UPLOAD,)],
    "pieces.LOCK_WHOLE": [(UPLOAD,)],
    "pieces.BECOME": [(UPLOAD, FILE)],
    "pieces.FORGET_UPLOAD": [(UPLOAD,)],
    "quota.USED": [(FAMOUS,)],
    "quota.LOCK_OWNER": [(FAMOUS,)],
    "quota.BEGUN": [(STRANGER,), (FAMOUS,)],
    "quota.USE": [(STRANGER, 1000, 10**12), (uuid4(), 1000, 10**12)],
    "resumable.READ_UPLOAD": [(UPLOAD, STRANGER)],
    "resumable.ADD_UPLOAD": [(uuid4(), STRANGER, 10, "film", None, "public", "", NOW, NOW)],
    "resumable.DELETE_UPLOAD": [(UPLOAD, STRANGER)],
    "sweep.TAKE_UNUSED": [("1 hour", 20)],
    "sweep.COUNT_UNUSED": [("1 hour",)],
    "sweep.TAKE_EXPIRED": [(20,)],
    "sweep.COUNT_EXPIRED": [()],
    "sweep.STILL_KNOWN": [([item_id(number) for number in range(1, 20)],)],
    "upload.FIND_SAME": [("object_5",), ("new",)],
    "upload.ADD_FILE": [
        (
            uuid4(), STRANGER, "image", "image/jpeg", "a.jpg", None, "public", "ready", "object_5", 1, *PICTURE, "{}",
            "upload", NOW,
        ),
    ],
    "verification._USED": [()],
    "verification.MISCOUNTED": [()],
    "verification.USED_WRONG": [()],
    "verification.NEXT_OBJECTS": [("", 500), ("object_5", 500)],
    "verification.KNOWN": [(OBJECTS,)],
    "verification.STILL_USED": [("object_5",)],
    "verification.HURT": [(OBJECTS, 100)],
    "verification.RECOUNT": [()],
    "verification.REUSE": [([FAMOUS, ORDINARY],)],
    "verification.ADOPT": [(["new", "object_5"], [1, 2])],
}  # fmt: skip
"""By the query's name, without the service's."""
