"""What an archive brought, once the media service has it."""

from pathlib import Path

from testbed.command_line import CommandLine, Ran
from testbed.platforms import until
from testbed.town import Person, Town


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
