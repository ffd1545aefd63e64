"""Pictures that wait for their turn, also in bad company."""

from uuid import UUID

from testbed.town import Town
from testbed.uploads import small_photo, uploaded
from townsquare.kit.jobs import JobContext
from townsquare.kit.logs import get_logger
from townsquare.kit.retention import Nothing
from townsquare.services.media.processing import process_waiting
from townsquare.services.media.resources import resources_of

LOSE = """
WITH waiting AS (UPDATE files SET status = 'processing' WHERE id = ANY($1) RETURNING id, original)
SELECT original FROM waiting WHERE id = $2
"""


async def test_a_picture_whose_bytes_are_lost_does_not_keep_the_others_waiting(town: Town) -> None:
    ada = await town.register("ada")
    lost, sound = [await uploaded(town.media, ada, small_photo(colour)) for colour in ("#123456", "#654321")]
    context = town.host.services["media"].context
    waiting = [UUID(lost["id"]), UUID(sound["id"])]
    original = await context.database.fetchval(LOSE, waiting, waiting[0])
    await resources_of(context).storage.delete(str(original))
    job = JobContext(context.database, context.settings, get_logger("media.jobs"), context.resources)
    try:
        await process_waiting(job, Nothing())
        assert (await town.media.get(f"/files/{lost['id']}", as_=ada)).json["status"] == "processing"
        assert (await town.media.get(f"/files/{sound['id']}", as_=ada)).json["status"] == "ready"
    finally:
        await town.media.delete(f"/files/{lost['id']}", as_=ada)
