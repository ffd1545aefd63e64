"""`townsquare serve`: one service, or the gateway, on its own port."""

import asyncio
import socket
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import click

from townsquare import hosting
from townsquare.catalogue import BUILT
from townsquare.commands.shared import data_option, run, settings_for
from townsquare.kit.beside import beside
from townsquare.settings import Settings
from townsquare.supervisor import parent_gone


@click.command("serve")
@click.argument("service", type=click.Choice([*BUILT, hosting.GATEWAY, hosting.ALL]))
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on (default: the service's own).")
@click.option("--host", help="Address to listen on (default 127.0.0.1).")
@click.option("--fd", type=int, hidden=True, help="A listening socket handed down by `up`.")
@click.option("--worker", type=int, default=0, hidden=True, help="Which of several processes this is.")
@click.option("--siblings", type=click.Path(path_type=Path), hidden=True, help="Where the processes of one port meet.")
@click.option("--supervised", is_flag=True, hidden=True, help="End when the parent is gone; it has migrated.")
@data_option
def command(
    service: str,
    port: int | None,
    host: str | None,
    fd: int | None,
    worker: int,
    siblings: Path | None,
    supervised: bool,
    data: Path | None,
) -> None:
    """Serve SERVICE until Ctrl-C or SIGTERM. `gateway` leads to services on their own ports."""
    settings = settings_for(host=host, data=data)
    listener = socket.socket(fileno=fd) if fd is not None else _listen(service, port, settings)
    with listener:
        make_host = partial(hosting.Host, service, settings, worker=worker, siblings=siblings)
        run(_supervised(make_host, settings, listener) if supervised else _alone(service, make_host, settings, listener))


def _listen(service: str, port: int | None, settings: Settings) -> socket.socket:
    own = settings.port if service in (hosting.GATEWAY, hosting.ALL) else hosting.port_of(service, settings)
    return hosting.listen(settings.host, own if port is None else port)


async def _alone(
    service: str, make_host: Callable[[str], hosting.Host], settings: Settings, listener: socket.socket
) -> None:
    stop = hosting.stop_on_signals()
    needed = nullcontext("") if service == hosting.GATEWAY else hosting.database_server(settings, supervise=True)
    async with needed as server:
        await hosting.prepare(settings, server, _needed_by(service))
        host = make_host(server)
        async with host.running() as app:
            click.echo(f"{service} is ready at {hosting.address_of(settings, listener)}")
            await host.serve(app, listener, stop)


async def _supervised(make_host: Callable[[str], hosting.Host], settings: Settings, listener: socket.socket) -> None:
    """As a child of `up`, which has PostgreSQL and has migrated."""
    stop = hosting.stop_on_signals()
    async with hosting.database_server(settings) as server, beside(_stop_with_parent(stop)):
        host = make_host(server)
        async with host.running() as app:
            await host.serve(app, listener, stop)


async def _stop_with_parent(stop: asyncio.Event) -> None:
    await parent_gone()
    stop.set()


def _needed_by(service: str) -> tuple[str, ...]:
    if service == hosting.ALL:
        return BUILT
    return () if service == hosting.GATEWAY else (service,)
