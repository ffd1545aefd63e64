"""media: pictures, videos and files. What it consists of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from townsquare.kit.app import Definition
from townsquare.kit.context import Context
from townsquare.kit.health import Probe
from townsquare.services.media import (
    addresses,
    departures,
    downloads,
    files,
    imported,
    lists,
    people,
    pieces,
    processing,
    resumable,
    sweep,
    upload,
)
from townsquare.services.media.file_view import FILE_TAGS
from townsquare.services.media.metrics import gauges
from townsquare.services.media.resources import open_resources, resources_of


def probes(context: Context) -> Mapping[str, Probe]:
    """Return the check of the storage: without it what is known of files can still be read."""

    async def storage_works() -> None:
        await resources_of(context).storage.check()

    return {"storage": Probe(storage_works, required=False)}


DEFINITION: Final = Definition(
    name="media",
    schema=Path(__file__).parent / "schema",
    routes=(*upload.ROUTES, *resumable.ROUTES, *files.ROUTES, *addresses.ROUTES, *downloads.ROUTES, *lists.ROUTES),
    jobs=(*processing.JOBS, *pieces.JOBS, *imported.JOBS, *sweep.JOBS, *departures.JOBS),
    readers=(people.READER, imported.READER),
    standing=people.STANDING,
    changes={
        "users tells that somebody left, is back, or is called otherwise": people.PERSON_TAGS,
        "users tells that a block began or ended": ("blocks:{person}",),
        "content tells that a picture came in an archive, or is gone": FILE_TAGS,
        "a picture has been worked on, or somebody's files are deleted for good": FILE_TAGS,
    },
    resources=open_resources,
    probes=probes,
    gauges=gauges,
)
