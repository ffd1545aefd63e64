"""How much room one person's files may take."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from testbed.town import Town, running_town
from testbed.uploads import send_file
from townsquare.kit.postgres import EmbeddedPostgres
from townsquare.services.media.receiving import MEGABYTE

TEXT = b"so much and no more\n"


@pytest.fixture(scope="module")
async def small(postgres: EmbeddedPostgres, town: Town) -> AsyncIterator[Town]:
    """The same platform once more, whose people have one megabyte each. In the same folder: it shares the other's jobs."""
    server = postgres.url("postgres")
    async with running_town(town.settings.data, server, quota_mb=1, upload_mb=2) as running:
        yield running


async def test_what_does_not_fit_is_refused_and_what_was_deleted_makes_room(small: Town) -> None:
    ada = await small.register("ada")
    half = TEXT * (MEGABYTE // len(TEXT) // 2)
    first = await send_file(small.media, ada, half)
    assert first.status == 201, first.body
    refused = await send_file(small.media, ada, half + TEXT)
    assert (refused.status, refused.code) == (413, "quota_exceeded")
    assert (await send_file(small.media, ada, half)).status == 201, "what stands around a file in its form does not count"
    assert (await small.media.delete(f"/files/{first.json['id']}", as_=ada)).status == 204
    assert (await send_file(small.media, ada, half)).status == 201


async def test_of_two_at_once_that_do_not_fit_together_one_is_refused(small: Town) -> None:
    ada = await small.register("ada")
    most = TEXT * (MEGABYTE * 6 // 10 // len(TEXT))
    answers = await asyncio.gather(*(send_file(small.media, ada, most + TEXT * number) for number in range(3)))
    assert sorted(answer.status for answer in answers) == [201, 413, 413]


async def test_a_file_that_is_larger_than_one_request_may_bring_is_refused(small: Town) -> None:
    answer = await send_file(small.media, await small.register("ada"), bytes(3 * MEGABYTE))
    assert answer.status == 413
