"""users: people, their accounts, and what stands between them. What it consists of."""

from pathlib import Path
from typing import Final

from townsquare.kit.app import Definition
from townsquare.services.users import (
    accounts,
    blocks,
    email,
    endorsements,
    export,
    follows,
    mutes,
    people,
    personal_tokens,
    pictures,
    post_counts,
    profile,
    search,
    second_factor,
    sessions,
    signing_keys,
    skill_names,
    skills,
)

# By blocks_blocker_since_idx and the primary key of blocks; stops at the first row of each. Mutes change nothing that this
# service answers to others than their author.
STANDING: Final = """
SELECT NOT EXISTS (SELECT FROM blocks WHERE blocker = $1) AND NOT EXISTS (SELECT FROM blocks WHERE blocked = $1)
"""

DEFINITION: Final = Definition(
    name="users",
    schema=Path(__file__).parent / "schema",
    routes=(
        *accounts.ROUTES,
        *sessions.ROUTES,
        *second_factor.ROUTES,
        *personal_tokens.ROUTES,
        *email.ROUTES,
        *export.ROUTES,
        *signing_keys.ROUTES,
        *profile.ROUTES,
        *skills.ROUTES,
        *endorsements.ROUTES,
        *skill_names.ROUTES,
        *follows.ROUTES,
        *blocks.ROUTES,
        *mutes.ROUTES,
        *search.ROUTES,
    ),
    jobs=(*accounts.JOBS, *email.JOBS),
    readers=(post_counts.READER, pictures.READER),
    signs_tokens=True,
    standing=STANDING,
    changes={
        "content tells how many posts somebody has": ("profile:{person}",),
        "media tells that a picture came in an archive, or is gone": people.PERSON_TAGS,
        "an account is deleted for good": (
            *people.PERSON_TAGS,
            people.LEFT,
            *follows.FOLLOW_TAGS,
            "skills:{person}",
            "skills",
            "blocks:{person}",
            "mutes:{person}",
        ),
    },
)
