"""Arguments to run every query with, on the community of `seed.py` in SIZE: mostly of those for whom it has most to do."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TypeAlias
from uuid import UUID, uuid4

from bench.seed import Size, item_id, person_id, post_id

Arguments: TypeAlias = tuple[object, ...]

SIZE: Final = Size(people=20_000, follows=10, posts=300_000)

FAMOUS: Final = person_id(1)
"""Followed by the most, and writes the most."""
BUSY: Final = person_id(3)
"""Follows 3,000."""
ORDINARY: Final = person_id(2)
"""Follows 300."""
SILENT: Final = person_id(4)
"""Follows 300 who never wrote."""
STRANGER: Final = person_id(15_001)
NEWCOMER: Final = person_id(SIZE.people)
"""Has a profile and nothing else yet."""
NOBODY: Final = person_id(999_999)

HOT: Final = post_id(1)
"""The post with the most comments and reactions."""
LATE: Final = post_id(SIZE.posts - 1)
TWENTY: Final = [post_id(SIZE.posts - number) for number in range(20)]
COMMENT: Final = item_id(3)
REPLY: Final = item_id(4)

FIRST: Final = UUID(int=0)
NEWEST: Final = UUID(int=(1 << 128) - 1)
MIDDLE: Final = post_id(SIZE.posts // 2)
NOW: Final = datetime.now(UTC)
BEFORE_ALL: Final = (datetime(9999, 1, 1, tzinfo=UTC), NEWEST)
HASH: Final = bytes(32)
SIMILAR: Final = [f"person{number}" for number in range(1100, 1200)]
"""What people are called, each another one."""
MUCH: Final = 101

NEW_POST: Final = """[{"id": "0192f000-0000-7000-8000-000000000001", "text": "t", "html": "h", "visibility": "public",
"tags": ["a"], "media": [], "created_at": "2024-01-01T00:00:00Z", "source_id": "https://elsewhere.example/10"}]"""
NEW_MEDIA: Final = """[{"id": "0192f000-0000-7000-8000-000000000002", "purpose": "avatar", "source": "a.jpg",
"media_type": "image/jpeg"}]"""
NEW_EVENTS: Final = """[{"topic": "post", "key": "k", "tags": ["a", "b"], "payload": {}}]"""

CONTENT: Final[Mapping[str, list[Arguments]]] = {
    "bookmarks.LIST_BOOKMARKS": [(FAMOUS, NEWEST, MUCH), (STRANGER, NEWEST, 21)],
    "bookmarks.HOLD_POST": [(ORDINARY, HOT)],
    "bookmarks.ADD_BOOKMARK": [(HOT, ORDINARY, uuid4(), NOW)],
    "bookmarks.DELETE_BOOKMARK": [(HOT, ORDINARY)],
    "comment_deletion.LOCK_POST_OF": [(COMMENT,)],
    "comment_deletion.LOCK_TO_DELETE": [(ORDINARY, COMMENT)],
    "comment_deletion.HAS_REPLIES": [(COMMENT,), (REPLY,)],
    "comment_deletion.EMPTY_COMMENT": [(COMMENT, NOW)],
    "comment_deletion.REMOVE_COMMENT": [(REPLY,)],
    "comment_deletion.UNCOUNT_COMMENT": [(HOT,)],
    "comments.LIST_COMMENTS": [(ORDINARY, HOT, FIRST, MUCH), (None, LATE, FIRST, 21)],
    "comments.READ_POST_OF": [(ORDINARY, HOT)],
    "comments.READ_COMMENT": [(ORDINARY, COMMENT)],
    "comments.LOCK_COMMENT": [(ORDINARY, COMMENT)],
    "comments.LOCK_POST_TO_COMMENT": [(ORDINARY, HOT)],
    "comments.READ_PARENT": [(ORDINARY, HOT, COMMENT)],
    "comments.ADD_COMMENT": [(uuid4(), HOT, None, 0, ORDINARY, "Hi", "<p>Hi</p>", NOW)],
    "comments.CHANGE_COMMENT": [(COMMENT, "Hi", "<p>Hi</p>", NOW)],
    "departures.LOCK_NEXT_POST": [(FAMOUS,)],
    "departures.NEXT_COMMENT": [(FAMOUS,)],
    "departures.NEXT_REACTION": [(FAMOUS,)],
    "departures.LOCK_POST": [(HOT,)],
    "departures.DELETE_BOOKMARKS": [(FAMOUS,)],
    "departures.DELETE_DRAFTS": [(FAMOUS,)],
    "departures.NO_POSTS": [(FAMOUS,)],
    "drafts.LIST_DRAFTS": [(FAMOUS, NEWEST, MUCH)],
    "drafts.READ_DRAFT": [(item_id(1), FAMOUS)],
    "drafts.LOCK_DRAFT": [(item_id(1), FAMOUS)],
    "drafts.ADD_DRAFT": [(uuid4(), FAMOUS, "t", "[]", "public", "everyone", None, NOW)],
    "drafts.CHANGE_DRAFT": [(item_id(1), "t", "[]", "public", "everyone", None, NOW)],
    "drafts.DELETE_DRAFT": [(item_id(1),)],
    "export.EXPORT_POSTS": [(FAMOUS, FIRST, 501)],
    "export.EXPORT_DRAFTS": [(FAMOUS, FIRST, 501)],
    "export.EXPORT_COMMENTS": [(FAMOUS, FIRST, 501)],
    "export.EXPORT_REACTIONS": [(FAMOUS, FIRST, 501)],
    "export.EXPORT_BOOKMARKS": [(FAMOUS, FIRST, 501)],
    "feed.SCAN_FEED": [(person, NEWEST, 21) for person in (BUSY, ORDINARY, SILENT, FAMOUS)] + [(BUSY, MIDDLE, MUCH)],
    "feed.MERGE_FEED": [(person, NEWEST, 21) for person in (BUSY, ORDINARY, SILENT, STRANGER)] + [(BUSY, MIDDLE, MUCH)],
    "feed.LIST_FOLLOWED": [(BUSY,), (ORDINARY,)],
    "imported_media.IMPORTED_WITH": [(HOT,)],
    "imported_media.IMPORTED_BY": [(FAMOUS,)],
    "imported_media.REGISTER": [(FAMOUS, NEW_MEDIA)],
    "imported_media.MISSING": [(FAMOUS,)],
    "imported_media.KEEP": [([item_id(number) for number in range(1, 20)], NOW)],
    "imported_media.FORGET_PROFILE_PICTURES": [(person_id(10),)],
    "imports.KNOWN": [(FAMOUS, [f"https://elsewhere.example/{number}0" for number in range(100)])],
    "imports.ADD_POSTS": [(FAMOUS, NEW_POST)],
    "imports.ADD_TAGS": [([HOT], FAMOUS, ["new"])],
    "imports.ADD_MENTIONS": [([HOT], [ORDINARY])],
    "imports.FORGET_POSTS": [(STRANGER, "https://elsewhere.example/", 100)],
    "imports.COUNT_IMPORTED": [(STRANGER, "https://elsewhere.example/")],
    "marks.LIST_MARKS": [(ORDINARY, TWENTY)],
    "people.PERSON_BY_ID": [(FAMOUS, ORDINARY), (FAMOUS, None)],
    "people.PERSON_BY_HANDLE": [("person_1", ORDINARY), ("person_1", None)],
    "people.IDS_BY_HANDLES": [([f"person_{number}" for number in range(1, 31)],)],
    "people.IS_HIDDEN": [(FAMOUS,)],
    "people.ADD_AUTHOR": [(uuid4(), "somebody", "Somebody")],
    "people.TELL_PERSON": [(FAMOUS, "person_1", "Person 1", None, 9), (uuid4(), "somebody", "Somebody", None, 9)],
    "people.HIDE_PERSON": [(FAMOUS, 9)],
    "people.PURGE_PERSON": [(FAMOUS, 9)],
    "people.TELL_FOLLOW": [(ORDINARY, FAMOUS, True, 9)],
    "people.TELL_BLOCK": [(ORDINARY, FAMOUS, True, 9)],
    "people.TELL_MUTE": [(ORDINARY, FAMOUS, True, 9)],
    "post_history.LIST_VERSIONS": [(None, HOT, NEWEST, MUCH)],
    "posts.READ_POST": [(ORDINARY, HOT), (None, LATE)],
    "posts.LOCK_POST": [(ORDINARY, HOT)],
    "posts.KEEP_VERSION": [(HOT, uuid4(), NOW)],
    "posts.CHANGE_POST": [(HOT, "t", "h", None, "public", "everyone", [], NOW)],
    "posts.DELETE_POST": [(HOT,)],
    "public_posts.LIST_PUBLIC": [(None, NEWEST, MUCH), (ORDINARY, MIDDLE, 21)],
    "public_posts.LIST_TAGGED": [(None, NEWEST, MUCH, "tag1"), (ORDINARY, MIDDLE, 21, "tag900")],
    "publishing.ADD_POST": [(uuid4(), FAMOUS, "t", "h", None, "public", "everyone", [], "[]", NOW, None)],
    "publishing.FORGET_TAGS": [(HOT,)],
    "publishing.ADD_TAGS": [(HOT, FAMOUS, ["new"])],
    "publishing.FORGET_MENTIONS": [(HOT,)],
    "publishing.ADD_MENTIONS": [(HOT, [NOBODY], False)],
    "publishing.MARK_MENTIONS": [(HOT, True)],
    "publishing.COUNT_POSTS": [(FAMOUS, 1)],
    "reactions.LIST_REACTIONS": [(ORDINARY, HOT, NEWEST, MUCH)],
    "reactions.LIST_REACTIONS_OF_KIND": [(ORDINARY, HOT, NEWEST, MUCH, kind) for kind in ("like", "angry")],
    "reactions.LOCK_POST_TO_REACT": [(ORDINARY, HOT)],
    "reactions.REACT": [(HOT, STRANGER, uuid4(), "love", NOW), (LATE, ORDINARY, uuid4(), "love", NOW)],
    "reactions.WITHDRAW": [(HOT, FAMOUS, "like")],
    "search.REQUIRED_WORDS": [("long walks",)],
    "search.SEARCH_RECENT": [(ORDINARY, NEWEST, 21, word) for word in ("walks", "topic123")],
    "search.SEARCH_ALL": [(ORDINARY, NEWEST, 21, "topic123")],
    "service.STANDING": [(ORDINARY,), (FAMOUS,), (NOBODY,)],
    "trending.TRENDING": [(post_id(SIZE.posts - 4320), 20)],
    "user_posts.LIST_POSTS_OF": [(ORDINARY, FAMOUS, NEWEST, MUCH), (None, SILENT, MIDDLE, 21)],
    "visibility.POST_IS_READABLE": [(ORDINARY, HOT)],
}

USERS: Final[Mapping[str, list[Arguments]]] = {
    "accounts.IS_TAKEN": [("person_1", "person_1@example.org"), ("nobody_yet", "nobody@example.org")],
    "accounts.ADD_PERSON": [(uuid4(), "nobody_yet", "Nobody", NOW)],
    "accounts.ADD_ACCOUNT": [(NEWCOMER, "a@example.org", "a@example.org", "hash", NOW)],
    "accounts.READ": [(FAMOUS,)],
    "accounts.SET_PASSWORD": [(FAMOUS, "hash")],
    "accounts.SET_DELETION": [(FAMOUS, NOW)],
    "accounts.HIDE": [(FAMOUS, NOW)],
    "accounts.DUE": [(100,)],
    "accounts.LOCK_DUE": [(FAMOUS,)],
    "accounts.RETIRE_HANDLE": [(FAMOUS,)],
    "accounts.RELATIONS": [(FAMOUS,)],
    "accounts.PURGE": [(FAMOUS,)],
    "administration.LIST_ACCOUNTS": [(None, None, 51), (NEWEST, "suspended", 51)],
    "administration.SEARCH_ACCOUNTS": [(None, None, 51, "person_123", "person_123@example.org")],
    "administration.IDENTIFY_BY_ID": [(FAMOUS,)],
    "administration.IDENTIFY_BY_HANDLE": [("person_1",)],
    "administration.IDENTIFY_BY_EMAIL": [("person_1@example.org",)],
    "administration.SHOW_ACCOUNT": [(FAMOUS,)],
    "administration.SUSPEND": [(FAMOUS,)],
    "administration.UNSUSPEND": [(FAMOUS,)],
    "administration.CONFIRM_EMAIL": [(FAMOUS,)],
    "administration.HAS_SECOND_FACTOR": [(FAMOUS,)],
    "blocks.LIST_BLOCKS": [(FAMOUS, *BEFORE_ALL, MUCH)],
    "blocks.BLOCK": [(ORDINARY, STRANGER, NOW)],
    "blocks.UNBLOCK": [(FAMOUS, STRANGER)],
    "email.ADD_TOKEN": [(HASH, FAMOUS, "verify", "person_1@example.org", NOW)],
    "email.READ_TOKEN": [(HASH, "verify")],
    "email.TAKE_TOKEN": [(HASH, "verify")],
    "email.VOID_TOKENS": [(FAMOUS, "verify")],
    "email.VOID_ELSEWHERE": [(FAMOUS, "person_1@example.org")],
    "email.VOID_ALL_TOKENS": [(FAMOUS,)],
    "email.COUNT_MAILS": [(FAMOUS, "verify")],
    "email.FORGET_EXPIRED": [()],
    "email.FORGET_SESSIONS": [()],
    "email.FORGET_USED": [()],
    "email.IN_USE": [("person_1@example.org",)],
    "email.LOCK_BY_EMAIL": [("person_1@example.org",)],
    "email.VERIFY": [(FAMOUS, "a@example.org", "a@example.org")],
    "email.RESET_PASSWORD": [(FAMOUS, "hash", "person_1@example.org")],
    "email.END_SESSIONS": [(FAMOUS,)],
    "email.END_TOKENS": [(FAMOUS,)],
    "endorsements.HOLD_ENDORSER": [(ORDINARY,)],
    "endorsements.LOCK_SKILL": [(item_id(1), ORDINARY)],
    "endorsements.ENDORSE": [(item_id(1), ORDINARY, NOW)],
    "endorsements.WITHDRAW": [(item_id(1), ORDINARY)],
    "endorsements.LOCK_ENDORSED": [(ORDINARY,)],
    "endorsements.WITHDRAW_ALL": [(ORDINARY,)],
    "follows.LIST_FOLLOWERS": [(FAMOUS, ORDINARY, *BEFORE_ALL, MUCH), (STRANGER, None, *BEFORE_ALL, 21)],
    "follows.LIST_FOLLOWING": [(BUSY, ORDINARY, *BEFORE_ALL, MUCH)],
    "follows.FOLLOW": [(ORDINARY, STRANGER, NOW)],
    "follows.UNFOLLOW": [(ORDINARY, person_id(11))],
    "follows.LOCK_NEIGHBOURS": [(STRANGER,)],
    "follows.END_FOLLOWING": [(STRANGER,)],
    "follows.END_FOLLOWERS": [(STRANGER,)],
    "mutes.LIST_MUTES": [(FAMOUS, *BEFORE_ALL, MUCH)],
    "mutes.MUTE": [(ORDINARY, STRANGER, NOW)],
    "mutes.UNMUTE": [(FAMOUS, STRANGER)],
    "pairs.LOCK_PAIR": [([FAMOUS, ORDINARY],)],
    "pairs.IS_BLOCKED": [(FAMOUS, ORDINARY)],
    "people.FIND_BY_ID": [(FAMOUS, ORDINARY), (FAMOUS, None)],
    "people.FIND_BY_HANDLE": [("person_1", ORDINARY), ("person_1", None)],
    "personal_tokens.LIST": [(FAMOUS, None, 21), (FAMOUS, NEWEST, 21)],
    "personal_tokens.READ": [(item_id(1), FAMOUS)],
    "personal_tokens.COUNT": [(FAMOUS,)],
    "personal_tokens.ADD": [(uuid4(), FAMOUS, "Token", HASH, ["read"], NOW, None)],
    "personal_tokens.DELETE": [(item_id(1), FAMOUS)],
    "personal_tokens.USE": [(HASH,)],
    "post_counts.LOCK_PEOPLE": [([person_id(number) for number in range(1, 50)],)],
    "post_counts.SET_POSTS": [([FAMOUS, ORDINARY], [3, 4], [99, 99])],
    "profile.READ_BY_ID": [(FAMOUS,)],
    "profile.READ_BY_HANDLE": [("person_1",)],
    "profile.READ_BY_ID_AS": [(FAMOUS, ORDINARY)],
    "profile.READ_BY_HANDLE_AS": [("person_1", ORDINARY)],
    "profile.LOCK": [(FAMOUS,)],
    "profile.CHANGE": [(FAMOUS, "Ada", "", None, None, None, None, "[]", NOW)],
    "proof.READ_HASH": [(FAMOUS,)],
    "proof.LOCK_ACCOUNT": [(FAMOUS,)],
    "proof.LOCK_ACCOUNT_IF": [(FAMOUS, "$argon2id$none")],
    "search.FIND_BEGINNING": [(text, ORDINARY, "", False, FIRST, 21) for text in ("alda", "person_12", "zzz")],
    "search.FIND_SPELLINGS": [(text,) for text in ("person_1234", "persom", "markeliskvo", "fara behpoer", "x" * 60)],
    "search.FIND_TYPOS": [
        ("persom", ORDINARY, "", False, FIRST, 21, ["person"], ["person!"]),
        ("persom", ORDINARY, "person 15", False, FIRST, 21, ["person"], ["person!"]),
        ("person_1234", ORDINARY, "", False, FIRST, 21, SIMILAR, [f"{key}!" for key in SIMILAR]),
    ],
    "second_factor.ENROL": [(FAMOUS, "secret")],
    "second_factor.CONFIRM": [(FAMOUS, NOW, 1)],
    "second_factor.DISABLE": [(FAMOUS,)],
    "second_factor.TAKE_STEP": [(FAMOUS, 2)],
    "second_factor.TAKE_RECOVERY": [(FAMOUS, HASH)],
    "second_factor.FORGET_RECOVERY": [(FAMOUS,)],
    "second_factor.ADD_RECOVERY": [(FAMOUS, [HASH])],
    "service.STANDING": [(ORDINARY,), (FAMOUS,), (NOBODY,)],
    "sessions.FIND_BY_HANDLE": [("person_1",)],
    "sessions.FIND_BY_EMAIL": [("person_1@example.org",)],
    "sessions.REHASH": [(FAMOUS, "hash")],
    "sessions.END_OLDEST": [(FAMOUS, 50)],
    "sessions.ADD_SESSION": [(uuid4(), FAMOUS, HASH, "Mozilla/5.0", NOW, NOW)],
    "sessions.LOCK_SESSION": [(HASH,)],
    "sessions.RETIRE_TOKEN": [(HASH, item_id(1))],
    "sessions.ROTATE": [(item_id(1), HASH, NOW, NOW)],
    "sessions.FIND_USED": [(HASH,)],
    "sessions.END_FAMILY": [(item_id(1),)],
    "sessions.END_BY_TOKEN": [(HASH,)],
    "sessions.END_BY_ID": [(item_id(1), FAMOUS)],
    "sessions.END_OTHERS": [(FAMOUS, item_id(1))],
    "sessions.LIST_SESSIONS": [(FAMOUS, None, 21), (FAMOUS, NEWEST, 21)],
    "skill_names.LIST_NAMES": [(-1_000_000, "", 21), (-3, "art 4", 21)],
    "skill_names.LIST_NAMES_BEGINNING": [(-1_000_000, "", 21, prefix) for prefix in ("s", "skill 1", "art 42", "zz")],
    "skill_names.REMEMBER": [("skill 1", "Skill 1"), ("new", "New")],
    "skill_names.FORGET": [("skill 1",)],
    "skill_names.FORGET_UNUSED": [("skill 1",)],
    "skill_names.LOCK_NAMES_OF": [(FAMOUS,)],
    "skills.LIST_SKILLS": [(FAMOUS, "", 21)],
    "skills.READ_SKILL": [(item_id(1), FAMOUS)],
    "skills.LOCK_OWNER": [(FAMOUS,)],
    "skills.COUNT_SKILLS": [(FAMOUS,)],
    "skills.ADD_SKILL": [(uuid4(), FAMOUS, "New", "new", "expert", NOW)],
    "skills.DELETE_SKILL": [(item_id(1), FAMOUS)],
}

KIT: Final[Mapping[str, list[Arguments]]] = {
    "follower.LOOK": [("84", ["9999"])],
    "follower.BEGIN": [()],
    "follower.INCARNATION": [()],
    "idempotency.LOCK": [("key",)],
    "idempotency.FIND": [(str(FAMOUS), HASH)],
    "idempotency.STORE": [(str(FAMOUS), HASH, HASH, 201, b"")],
    "idempotency.FORGET": [()],
    "job_admin.LIST_JOBS": [(None, None, None, 21), ("running", "job-1", 4000, 21)],
    "job_admin.SHOW_JOB": [(7,)],
    "job_admin.LIST_PERIODIC": [()],
    "job_admin.DISCARD_JOBS": [([10, 11],), (None,)],
    "job_runner.LOOK": [(["job-1", "job-2"], "30 seconds")],
    "job_runner.REGISTER": [(["job-1"], ["1 hour"])],
    "job_runner.TAKE_DUE": [(["job-1"],)],
    "job_runner.COUNT_PICKS": [(7,)],
    "jobs.COUNT_JOBS": [()],
    "jobs.LOCK_FAILED": [([10, 11],), (None,)],
    "jobs.FORGET_JOB_LOG": [()],
    "restored.RENUMBER": [()],
    "restored.REWIND": [()],
    "outbox.INSERT_EVENTS": [(NEW_EVENTS,)],
    "outbox.READ_EVENTS": [("0", 0, 500), ("20", 0, 500), ("99999999", 0, 500)],
    "outbox.HORIZON": [()],
    "outbox.COMPACT": [()],
    "readers.REGISTER": [("users",)],
    "readers.LEASE": [("users", "me")],
    "readers.UNLEASE": [("users", "me")],
    "readers.LOCK": [("users",)],
    "readers.ADVANCE": [("users", "9", 9)],
    "readers.SEEN": [("users",)],
}

SAMPLES: Final[Mapping[str, list[Arguments]]] = {
    **{f"content.{name}": cases for name, cases in CONTENT.items()},
    **{f"users.{name}": cases for name, cases in USERS.items()},
    **{f"kit.{name}": cases for name, cases in KIT.items()},
}
"""By the query's name: one or more sets of arguments."""
