"""What media holds besides its database: the object storage, the workers that know pictures, the folder of drafts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from townsquare.images.pool import Pool
from townsquare.kit.context import Context
from townsquare.kit.jobs import JobContext
from townsquare.services.media.stages import Stages
from townsquare.services.media.storage import Storage, open_storage
from townsquare.settings import Settings


@dataclass(frozen=True, slots=True)
class Resources:
    """Of one process, while the service runs. `drafts` holds what is being received and made: no file yet."""

    storage: Storage
    pool: Pool
    drafts: Path
    stages: Stages = field(default_factory=Stages)


@asynccontextmanager
async def open_resources(context: Context) -> AsyncIterator[Resources]:
    """Open all that the service holds, and close it."""
    async with resources_for(context.settings) as resources:
        yield resources


@asynccontextmanager
async def resources_for(settings: Settings) -> AsyncIterator[Resources]:
    """Open what a process of the service, or a command, holds. The workers start with the first picture."""
    drafts = settings.data / "media-drafts"
    drafts.mkdir(parents=True, exist_ok=True)
    async with Pool(settings.image_workers) as pool:
        yield Resources(open_storage(settings), pool, drafts)


def resources_of(context: Context | JobContext) -> Resources:
    """Return what is open."""
    assert isinstance(context.resources, Resources)  # noqa: S101  (says what the kit cannot: each service has its own)
    return context.resources
