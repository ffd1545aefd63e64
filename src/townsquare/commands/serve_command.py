"""`townsquare serve`: one service, or the gateway, on its own port."""

import asyncio
import contextlib
import socket
from pathlib import Path

import click

from townsquare import hosting
from townsquare.catalogue import BUILT
from townsquare.commands.shared import data_option, run, settings_for
from townsquare.settings import Settings, SettingsError
from townsquare.supervisor import parent_gone


@click.command("serve")
@click.argument("service", type=click.Choice([*BUILT, hosting.GATEWAY, hosting.ALL]))
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (default: the service's own).")
@click.option("--host", help="Address to listen on (default 127.0.0.1).")
@click.option("--fd", type=int, hidden=True, help="A listening socket handed down by `up`.")
@click.option("--worker", type=int, default=0, hidden=True, help="Which of several processes this is.")
@click.option("--supervised", is_flag=True, hidden=True, help="End when the parent is gone; it has migrated.")
@data_option
def command(
    service: str, port: int | None, host: str | None, fd: int | None, worker: int, supervised: bool, data: Path | None
) -> None:
    """Serve SERVICE until Ctrl-C or SIGTERM. `gateway` leads to services on their own ports."""
    settings = settings_for(host=host, data=data)
    listener = socket.socket(fileno=fd) if fd is not None else _listen(service, port, settings)
    with listener:
        run(_serve(service, settings, listener, worker=worker, supervised=supervised))


def _listen(service: str, port: int | None, settings: Settings) -> socket.socket:
    own = settings.port if service in (hosting.GATEWAY, hosting.ALL) else hosting.port_of(service, settings)
    wanted = own if port is None else port
    try:
        return hosting.listen(settings.host, wanted)
    except OSError as error:
        raise SettingsError(f"cannot listen on {settings.host}:{wanted} ({error.strerror})") from None


async def _serve(service: str, settings: Settings, listener: socket.socket, *, worker: int, supervised: bool) -> None:
    stop = hosting.stop_on_signals()
    async with contextlib.AsyncExitStack() as stack:
        server = await stack.enter_async_context(hosting.database_server(settings, supervise=not supervised))
        if supervised:
            watch = asyncio.create_task(_stop_with_parent(stop))
            stack.callback(watch.cancel)
        else:
            await hosting.prepare(settings, server, _needed_by(service))
        host = hosting.Host(service, settings, server, worker=worker)
        app = await stack.enter_async_context(host.running())
        if not supervised:
            click.echo(f"{service} is ready at http://{settings.host}:{listener.getsockname()[1]}")
        await hosting.serve(app, listener, stop)


async def _stop_with_parent(stop: asyncio.Event) -> None:
    await parent_gone()
    stop.set()


def _needed_by(service: str) -> tuple[str, ...]:
    if service == hosting.ALL:
        return BUILT
    return () if service == hosting.GATEWAY else (service,)
