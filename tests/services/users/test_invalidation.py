"""Each write of users, and what it changes of what is kept, there and elsewhere: all of that, and nothing else.

How it is tried: `testbed/invalidation.py`.
"""

from dataclasses import replace
from typing import Final

from testbed.accounts import signed_in
from testbed.invalidation import TableOfWrites
from testbed.kept_world import POST, PROFILES, PUBLIC_FILES, SHOWN, Call, Case, Upload, World
from testbed.town import PASSWORD
from testbed.uploads import small_photo
from townsquare.kit.jobs import JobContext
from townsquare.kit.logs import get_logger
from townsquare.kit.retention import Nothing
from townsquare.services.users.accounts import purge_deleted

BOBS_FOLLOW: Final = {
    *("bob's profile", "whom bob follows", "bob's feed"),
    *("ada's followers", "ada's posts to bob", "a post for followers"),
}
"""What changes, besides ada's profile, when bob begins or ends to follow her: he is shown more for it."""
ADAS_OWN: Final = {"ada's private file", "ada's files to ada"}
"""What is kept for ada alone, and so made anew when she blocks somebody."""
RETURNED: Final = {
    *("ada's followers", "bob's followers", "whom bob follows", "people found", "bob's profile", "bob's skills"),
    *("its comments", "bob's post's comments", "bob's post", "bob's posts"),
    *("public posts", "a tag", "bob's tag", "posts found", "trending", "bob's feed", "cyd's feed", "eve's feed"),
    *("bob's file", "bob's files", *PUBLIC_FILES),
}
"""What may show somebody who is back."""


async def bob_leaves(world: World) -> None:
    await world.act(Call("bob", "users DELETE /account", {"password": PASSWORD}))


async def bob_signs_in(world: World) -> None:
    bob = world.people["bob"]
    world.people["bob"] = replace(bob, token=await signed_in(world.town, bob.handle))


async def somebody_goes_for_good(world: World) -> None:
    """Somebody who has left everything that can be left is hidden already."""
    town = world.town
    gone = await town.register("gone")
    world.people["gone"] = gone
    world.names |= {"gone": str(gone.id)}
    for act in (
        Call("gone", "users PUT /users/{ada}/follow"),
        Call("gone", "users PUT /skills/{weaving}/endorsement"),
        Call("gone", "users POST /users/{gone}/skills", {"name": "{word}", "level": "beginner"}),
        Call("gone", "users PUT /users/{zed}/block"),
        Call("gone", "users PUT /users/{dora}/mute"),
        Upload("gone", small_photo("maroon"), "maroon"),
        Call("gone", "content POST /posts", {"text": "{word} #{tag}", "media_ids": ["{maroon}"]}),
        Call("gone", "content POST /posts/{post}/comments", {"text": "Hello"}),
        Call("gone", "content PUT /posts/{post}/reactions/love"),
    ):
        await world.act(act)
    await town.settle()
    await world.act(Call("gone", "users DELETE /account", {"password": PASSWORD}))


async def thirty_days_pass(world: World) -> None:
    users = world.town.database("users")
    past = "UPDATE accounts SET delete_after = now() - interval '1 second' WHERE person_id = $1"
    await users.execute(past, world.people["gone"].id)
    await purge_deleted(JobContext(users, world.town.settings, get_logger("test")), Nothing())


FOLLOW: Final = "/users/{user_id}/follow"
BLOCK: Final = "/users/{user_id}/block"
MUTE: Final = "/users/{user_id}/mute"
ENDORSEMENT: Final = "/skills/{skill_id}/endorsement"

NEWCOMER: Final = {"handle": "{unique}", "email": "{unique}@example.org", "password": PASSWORD}

CASES: Final = (
    Case("joining", "users POST /register", Call("", "users POST /register", NEWCOMER), {"people found"}),
    Case(
        "another bio",
        "users PUT /profile/{user_id}",
        Call("ada", "users PUT /profile/{ada}", {"display_name": "Ada", "bio": "{unique}"}),
        PROFILES,
    ),
    Case(
        "another name in a whole profile",
        "users PUT /profile/{user_id}",
        Call("ada", "users PUT /profile/{ada}", {"display_name": "{unique}"}),
        PROFILES | POST | SHOWN | {"people found", "whom bob follows", "a post for followers", "its comments"},
    ),
    Case(
        "another place",
        "users PATCH /profile/{user_id}",
        Call("ada", "users PATCH /profile/{ada}", {"location": "{unique}"}),
        PROFILES,
    ),
    Case(
        "another name",
        "users PATCH /profile/{user_id}",
        Call("ada", "users PATCH /profile/{ada}", {"display_name": "Ada"}),
        PROFILES | POST | SHOWN | {"people found", "whom bob follows", "a post for followers", "its comments"},
        [Call("ada", "users PATCH /profile/{ada}", {"display_name": "{unique}"})],
    ),
    Case(
        "a new skill",
        "users POST /users/{user_id}/skills",
        Call("ada", "users POST /users/{ada}/skills", {"name": "{unique}", "level": "expert"}, "skill"),
        {"ada's skills", "skills"},
    ),
    Case(
        "a skill less",
        "users DELETE /users/{user_id}/skills/{skill_id}",
        Call("ada", "users DELETE /users/{ada}/skills/{skill}"),
        {"ada's skills", "skills"},
        [Call("ada", "users POST /users/{ada}/skills", {"name": "{unique}", "level": "expert"}, "skill")],
    ),
    Case(
        "an endorsement",
        f"users PUT {ENDORSEMENT}",
        Call("eve", "users PUT /skills/{weaving}/endorsement"),
        {"ada's skills"},
        [Call("eve", "users DELETE /skills/{weaving}/endorsement")],
    ),
    Case(
        "an endorsement less",
        f"users DELETE {ENDORSEMENT}",
        Call("eve", "users DELETE /skills/{weaving}/endorsement"),
        {"ada's skills"},
        [Call("eve", "users PUT /skills/{weaving}/endorsement")],
    ),
    Case(
        "a follow",
        f"users PUT {FOLLOW}",
        Call("eve", "users PUT /users/{ada}/follow"),
        PROFILES | {"ada's followers", "eve's feed"},
        [Call("eve", "users DELETE /users/{ada}/follow")],
    ),
    Case(
        "the same follow again",
        f"users PUT {FOLLOW}",
        Call("eve", "users PUT /users/{ada}/follow"),
        set(),
        [Call("eve", "users PUT /users/{ada}/follow")],
    ),
    Case(
        "a follow less",
        f"users DELETE {FOLLOW}",
        Call("eve", "users DELETE /users/{ada}/follow"),
        PROFILES | {"ada's followers", "eve's feed"},
        [Call("eve", "users PUT /users/{ada}/follow")],
    ),
    Case(
        "a follow less of one who was shown more for it",
        f"users DELETE {FOLLOW}",
        Call("bob", "users DELETE /users/{ada}/follow"),
        PROFILES | BOBS_FOLLOW,
    ),
    Case(
        "a follow of one who shows more for it",
        f"users PUT {FOLLOW}",
        Call("bob", "users PUT /users/{ada}/follow"),
        PROFILES | BOBS_FOLLOW,
    ),
    Case(
        "a block: what she is given is her own from now on",
        f"users PUT {BLOCK}",
        Call("eve", "users PUT /users/{zed}/block"),
        {"ada's profile by handle", "eve's feed", "public files to eve"},
        [Call("eve", "users DELETE /users/{zed}/block"), Call("zed", "users PUT /users/{eve}/follow")],
    ),
    Case(
        "a block less",
        f"users DELETE {BLOCK}",
        Call("eve", "users DELETE /users/{zed}/block"),
        {"eve's feed"},
        [Call("eve", "users PUT /users/{zed}/block")],
    ),
    Case(
        "a block by an author, under whose posts the blocked is seen no more",
        f"users PUT {BLOCK}",
        Call("ada", "users PUT /users/{zed}/block"),
        {"its comments", *ADAS_OWN},
        [Call("ada", "users DELETE /users/{zed}/block")],
    ),
    Case(
        "a block less by an author",
        f"users DELETE {BLOCK}",
        Call("ada", "users DELETE /users/{zed}/block"),
        {"its comments", *ADAS_OWN},
        [Call("ada", "users PUT /users/{zed}/block")],
    ),
    Case(
        "a mute",
        f"users PUT {MUTE}",
        Call("eve", "users PUT /users/{zed}/mute"),
        {"eve's feed"},
        [Call("eve", "users DELETE /users/{zed}/mute")],
    ),
    Case(
        "a mute less",
        f"users DELETE {MUTE}",
        Call("eve", "users DELETE /users/{zed}/mute"),
        {"eve's feed"},
        [Call("eve", "users PUT /users/{zed}/mute")],
    ),
    Case(
        "leaving",
        "users DELETE /account",
        bob_leaves,
        {
            *("bob's profile", "bob's skills", "bob's followers", "whom bob follows", "ada's followers", "people found"),
            *("bob's post", "bob's post's comments", "bob's posts", "bob's tag", "public posts", "trending"),
            *("bob's feed", "cyd's feed"),
            *("bob's file", "bob's files", "public files", "public files to eve"),
        },
    ),
    Case("returning", "users POST /account/restore", Call("bob", "users POST /account/restore"), RETURNED, [bob_signs_in]),
    Case(
        "an account deleted for good",
        "users: an account is deleted for good",
        thirty_days_pass,
        PROFILES
        | POST
        | SHOWN
        | {"ada's followers", "ada's skills", "skills", "people found", "its comments", "trending"}
        | PUBLIC_FILES,
        [somebody_goes_for_good],
    ),
)


class TestWrites(TableOfWrites):
    """Each case, and that none is missing."""

    service = "users"
    cases = CASES
