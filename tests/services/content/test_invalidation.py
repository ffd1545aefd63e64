"""Each write of content, and what it changes of what is kept, there and elsewhere: all of that, and nothing else.

How it is tried: `testbed/invalidation.py`.
"""

from datetime import UTC, datetime
from typing import Final

from testbed.invalidation import TableOfWrites
from testbed.kept_world import OWN_LISTS, POST, PROFILES, SHOWN, Call, Case, World
from townsquare.kit.identity import Viewer
from townsquare.kit.transactions import transaction
from townsquare.services.content.imports import ImportedPost, forget_imported, import_posts

NEW_POST: Final = {"text": "{word} again #{tag}"}
SCRATCH: Final = Call("ada", "content POST /posts", NEW_POST, "scratch")


def as_author(world: World) -> Viewer:
    ada = world.people["ada"]
    return Viewer(id=ada.id, handle=ada.handle, name="Ada", session=None, scopes=frozenset(), expires=0)


async def ada_imports(world: World) -> None:
    post = ImportedPost("elsewhere:1", datetime(2020, 1, 1, tzinfo=UTC), world.fill("{word} #{tag}"), "public")
    async with transaction(world.town.host.services["content"].context) as write:
        assert await import_posts(write, as_author(world), [post]) == 1


async def ada_forgets_what_she_imported(world: World) -> None:
    async with transaction(world.town.host.services["content"].context) as write:
        assert (await forget_imported(write, as_author(world), "elsewhere:", 10))[0] == 1


COMMENT: Final = "/comments/{comment_id}"
REACTION: Final = "/posts/{post_id}/reactions/{kind}"
BOOKMARK: Final = "/posts/{post_id}/bookmark"

CASES: Final = (
    Case(
        "a public post",
        "content POST /posts",
        Call("ada", "content POST /posts", NEW_POST),
        PROFILES | SHOWN | {"trending"},
    ),
    Case(
        "a post for followers",
        "content POST /posts",
        Call("ada", "content POST /posts", NEW_POST | {"visibility": "followers"}),
        PROFILES | OWN_LISTS,
    ),
    Case(
        "a private post",
        "content POST /posts",
        Call("ada", "content POST /posts", NEW_POST | {"visibility": "private"}),
        OWN_LISTS,
    ),
    Case(
        "a published draft",
        "content POST /drafts/{draft_id}/publish",
        Call("ada", "content POST /drafts/{draft}/publish"),
        PROFILES | SHOWN | {"trending"},
        [Call("ada", "content POST /drafts", NEW_POST, "draft")],
    ),
    Case(
        "another text",
        "content PATCH /posts/{post_id}",
        Call("ada", "content PATCH /posts/{post}", {"text": "{word} #{tag} {unique}"}),
        POST | SHOWN | {"trending"},
    ),
    Case(
        "a post for fewer",
        "content PATCH /posts/{post_id}",
        Call("ada", "content PATCH /posts/{scratch}", {"visibility": "private"}),
        PROFILES | SHOWN | {"trending"},
        [SCRATCH],
    ),
    Case(
        "a post less",
        "content DELETE /posts/{post_id}",
        Call("ada", "content DELETE /posts/{scratch}"),
        PROFILES | SHOWN | {"trending"},
        [SCRATCH],
    ),
    Case(
        "a comment",
        "content POST /posts/{post_id}/comments",
        Call("eve", "content POST /posts/{post}/comments", {"text": "Hi"}, "reply"),
        POST | SHOWN | {"its comments"},
    ),
    Case(
        "another text of a comment",
        f"content PATCH {COMMENT}",
        Call("dora", "content PATCH /comments/{comment}", {"text": "{unique}"}),
        {"its comments"},
    ),
    Case(
        "a comment less",
        f"content DELETE {COMMENT}",
        Call("eve", "content DELETE /comments/{reply}"),
        POST | SHOWN | {"its comments"},
        [Call("eve", "content POST /posts/{post}/comments", {"text": "Hi"}, "reply")],
    ),
    Case(
        "a reaction",
        f"content PUT {REACTION}",
        Call("eve", "content PUT /posts/{post}/reactions/wow"),
        POST | SHOWN,
        [Call("eve", "content DELETE /posts/{post}/reactions/wow")],
    ),
    Case(
        "a reaction less",
        f"content DELETE {REACTION}",
        Call("eve", "content DELETE /posts/{post}/reactions/wow"),
        POST | SHOWN,
        [Call("eve", "content PUT /posts/{post}/reactions/wow")],
    ),
    Case(
        "a bookmark",
        f"content PUT {BOOKMARK}",
        Call("bob", "content PUT /posts/{post}/bookmark"),
        set(),
        [Call("bob", "content DELETE /posts/{post}/bookmark")],
    ),
    Case(
        "a bookmark less",
        f"content DELETE {BOOKMARK}",
        Call("bob", "content DELETE /posts/{post}/bookmark"),
        set(),
        [Call("bob", "content PUT /posts/{post}/bookmark")],
    ),
    Case("an import", "content: posts are imported, or forgotten again", ada_imports, PROFILES | SHOWN | {"trending"}),
    Case(
        "an import undone",
        "content: posts are imported, or forgotten again",
        ada_forgets_what_she_imported,
        PROFILES | SHOWN | {"trending"},
    ),
)


class TestWrites(TableOfWrites):
    """Each case, and that none is missing."""

    service = "content"
    cases = CASES
