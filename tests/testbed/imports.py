"""What an archive brought, once the media service has it."""

from pathlib import Path
from uuid import UUID

from testbed.command_line import CommandLine, Ran
from testbed.platforms import until
from testbed.town import Person, Town
from townsquare.kit.ids import new_id
from townsquare.kit.transactions import transaction
from townsquare.services.media.imported import source_of


async def tell(town: Town, medium: UUID, **state: object) -> None:
    """Tell of a medium, as an import does when its file is kept."""
    async with transaction(town.host.services["content"].context) as write:
        write.emit("imported_media", medium, {"id": medium, **state})


async def arrives(town: Town, owner: UUID, data: bytes, **state: object) -> UUID:
    """Keep the file of a medium, and tell it."""
    medium = new_id()
    source = source_of(town.settings, medium)
    source.parent.mkdir(exist_ok=True)
    source.write_bytes(data)
    told = {"author": owner, "post": new_id(), "purpose": "post", "media_type": "image/jpeg", "alt": None} | state
    await tell(town, medium, **told)
    return medium


async def taken_up(town: Town) -> None:
    """Wait until every medium that was told of is a file, or none any more, and everybody knows."""
    await town.settle()

    async def nothing_left() -> bool:
        left = "SELECT NOT EXISTS (SELECT FROM pgqueuer WHERE entrypoint IN ('take-up', 'forget-imported-file'))"
        return bool(await town.database("media").fetchval(left))

    await until(nothing_left)
    await town.settle()


async def import_command(town: Town, *arguments: str | Path, as_: Person) -> Ran:
    """Run `townsquare import ...` beside the town, to its end."""
    variables = {"TOWNSQUARE_DATABASE_URL": str(town.settings.database_url)}
    command = CommandLine(town.settings.data)
    return await command.beside("import", *map(str, arguments), "--as", as_.handle, "--json", variables=variables)
