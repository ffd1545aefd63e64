"""The demo community's posts, comments and reactions, told to the content service at the times at which they happened.

A post is told in one transaction with all that followed it, so one that is there already, by its `source_id`, is complete.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec
from msgspec import Struct

from townsquare.demo.arrivals import Settled
from townsquare.demo.talk import Story
from townsquare.kit.clock import as_of
from townsquare.kit.context import Context
from townsquare.kit.database import Database
from townsquare.kit.problems import Problem
from townsquare.kit.transactions import transaction
from townsquare.kit.writes import Write
from townsquare.services.content.comments import NewComment, create_comment
from townsquare.services.content.publishing import NewPost, publish
from townsquare.services.content.reactions import react

SOURCE: Final = "demo:"
"""How the `source_id` of every post of a demo community begins."""

# By posts_source_idx, a range for each author.
FIND_TOLD: Final = """
SELECT source_id
FROM posts
WHERE author_id = ANY($1) AND source_id IS NOT NULL AND starts_with(source_id, 'demo:')
"""


class Told(Struct):
    """How much was told."""

    posts: int = 0
    comments: int = 0
    reactions: int = 0


async def find_told(content: Database, authors: Sequence[UUID]) -> set[str]:
    """Return the `source_id`s of the demo posts that are there."""
    return {row["source_id"] for row in await content.fetch(FIND_TOLD, list(authors))}


async def tell(content: Context, stories: Sequence[tuple[str, Story]], people: Mapping[int, Settled]) -> Told:
    """Tell some posts of one author, each with its `source_id`, in one transaction.

    One author's at a time: whoever posts holds the lock on their own count until the end, and two such transactions with the
    same authors could wait for each other.
    """
    told = Told()
    async with transaction(content) as write:
        for source_id, story in stories:
            await _tell_one(write, source_id, story, people, told)
    return told


async def _tell_one(write: Write, source_id: str, story: Story, people: Mapping[int, Settled], told: Told) -> None:
    new = {"text": story.text, "visibility": story.visibility, "content_warning": story.content_warning}
    author = people[story.author].viewer
    post = await publish(write, author, msgspec.convert(new, NewPost), at=story.at, source_id=source_id)
    told.posts += 1
    comments: list[UUID | None] = []
    for said in story.comments:
        parent = None if said.parent is None else comments[said.parent]
        comments.append(await _comment(write, people[said.author], post.id, said.text, parent, story.at + said.after))
    told.comments += sum(comment is not None for comment in comments)
    for felt in story.reactions:
        # Refused only where somebody has signed in as one of these people and, say, blocked another.
        with suppress(Problem), as_of(story.at + felt.after):
            await react.fn(write, people[felt.person].viewer, post.id, felt.kind)
            told.reactions += 1


async def _comment(write: Write, person: Settled, post: UUID, text: str, parent: UUID | None, at: datetime) -> UUID | None:
    with suppress(Problem), as_of(at):
        created = await create_comment.fn(write, person.viewer, post, NewComment(text, parent))
        return created.content.id
    return None
