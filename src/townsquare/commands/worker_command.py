"""`townsquare worker`: a service's jobs and readers without HTTP, for those who scale them on their own."""

from pathlib import Path

import click

from townsquare import hosting
from townsquare.catalogue import BUILT
from townsquare.commands.shared import data_option, run, settings_for
from townsquare.settings import Settings


@click.command("worker")
@click.argument("service", type=click.Choice(BUILT))
@click.option("--worker", type=click.IntRange(0), default=1000, help="A number that no other process of the service has.")
@data_option
def command(service: str, worker: int, data: Path | None) -> None:
    """Run SERVICE's jobs and event readers until Ctrl-C or SIGTERM."""
    run(_work(service, settings_for(data=data), worker))


async def _work(service: str, settings: Settings, worker: int) -> None:
    stop = hosting.stop_on_signals()
    async with hosting.database_server(settings, supervise=True) as server:
        await hosting.prepare(settings, server, [service])
        host = hosting.Host(service, settings, server, worker=worker)
        async with host.running():
            click.echo(f"{service}: jobs and readers are running")
            await stop.wait()
