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
    personal_tokens,
    post_counts,
    profile,
    search,
    second_factor,
    sessions,
    signing_keys,
    skill_names,
    skills,
)

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
    readers=(post_counts.READER,),
    signs_tokens=True,
)
