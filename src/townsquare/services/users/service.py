"""users: people, their accounts, and what stands between them. What it consists of."""

from pathlib import Path
from typing import Final

from townsquare.kit.app import Definition
from townsquare.services.users import (
    blocks,
    endorsements,
    follows,
    mutes,
    post_counts,
    profile,
    search,
    skill_names,
    skills,
)

DEFINITION: Final = Definition(
    name="users",
    schema=Path(__file__).parent / "schema",
    routes=(
        *profile.ROUTES,
        *skills.ROUTES,
        *endorsements.ROUTES,
        *skill_names.ROUTES,
        *follows.ROUTES,
        *blocks.ROUTES,
        *mutes.ROUTES,
        *search.ROUTES,
    ),
    readers=(post_counts.READER,),
    signs_tokens=True,
)
