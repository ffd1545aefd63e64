"""`townsquare up`: the whole platform, in one process, one process a service, or several on one port."""

import asyncio
import socket
import time
from collections.abc import Sequence
from pathlib import Path

import click

from townsquare import hosting
from townsquare.catalogue import BUILT
from townsquare.commands.shared import data_option, run, settings_for
from townsquare.settings import Settings, SettingsError
from townsquare.supervisor import Program, Supervisor


@click.command("up")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the gateway (default 8000).")
@click.option("--host", help="Address to listen on (default 127.0.0.1).")
@data_option
@click.option("--split", is_flag=True, help="One process a service, each on its own port.")
@click.option("--workers", type=click.IntRange(1, 64), help="Processes on one port, one core each.")
@click.option("--demo", is_flag=True, help="Fill an empty community with believable people and posts.")
def command(port: int | None, host: str | None, data: Path | None, split: bool, workers: int | None, demo: bool) -> None:
    """Start the platform and keep it running until Ctrl-C or SIGTERM."""
    started = time.monotonic()
    settings = settings_for(port=port, host=host, data=data, workers=workers)
    if split and settings.workers > 1:
        raise SettingsError("--split and --workers do not go together: choose one")
    run(_up(settings, split=split, demo=demo, started=started))


async def _up(settings: Settings, *, split: bool, demo: bool, started: float) -> None:
    stop = hosting.stop_on_signals()
    listener = _listen(settings)
    with listener:
        async with hosting.database_server(settings, supervise=True) as server:
            await hosting.prepare(settings, server)
            if demo:
                await _fill(settings, server)
            if split:
                listener.close()
                await _supervise(settings, server, stop, _split_programs(settings), started)
            elif settings.workers > 1:
                programs = _worker_programs(settings, listener)
                await _supervise(settings, server, stop, programs, started)
            else:
                await _one_process(settings, server, stop, listener, started)
    click.echo("townsquare has stopped.")


def _listen(settings: Settings) -> socket.socket:
    """Take the port first: a second `up` must fail before it touches anything."""
    try:
        return hosting.listen(settings.host, settings.port)
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {settings.host}:{settings.port} ({error.strerror}); choose another with --port"
        ) from None


async def _one_process(
    settings: Settings, server: str, stop: asyncio.Event, listener: socket.socket, started: float
) -> None:
    host = hosting.Host(hosting.ALL, settings, server)
    async with host.running() as app:
        _say_ready(settings, listener.getsockname()[1], started)
        await hosting.serve(app, listener, stop)


async def _supervise(
    settings: Settings, server: str, stop: asyncio.Event, programs: Sequence[Program], started: float
) -> None:
    supervisor = Supervisor([_with_server(program, settings, server) for program in programs])
    running = asyncio.create_task(supervisor.run(stop))
    ready = asyncio.create_task(hosting.wait_until_ready(settings, stop))
    await ready
    if not stop.is_set():
        _say_ready(settings, settings.port, started)
    await running


def _with_server(program: Program, settings: Settings, server: str) -> Program:
    """The parent keeps PostgreSQL: its children are told where it is."""
    environment = {
        "TOWNSQUARE_DATABASE_URL": server,
        "TOWNSQUARE_DATA": str(settings.data),
        "TOWNSQUARE_PORT": str(settings.port),
        "TOWNSQUARE_HOST": settings.host,
        "TOWNSQUARE_WORKERS": str(settings.workers),
        **program.environment,
    }
    return Program(program.name, program.arguments, program.sockets, environment)


def _split_programs(settings: Settings) -> list[Program]:
    names = [*BUILT, hosting.GATEWAY]
    return [Program(name, ["serve", name, "--supervised"]) for name in names]


def _worker_programs(settings: Settings, listener: socket.socket) -> list[Program]:
    descriptor = listener.fileno()
    return [
        Program(
            f"worker-{number}",
            ["serve", hosting.ALL, "--supervised", "--fd", str(descriptor), "--worker", str(number)],
            sockets=[descriptor],
        )
        for number in range(settings.workers)
    ]


async def _fill(settings: Settings, server: str) -> None:
    from townsquare.demo import fill_if_empty

    await fill_if_empty(settings, server)


def _say_ready(settings: Settings, port: int, started: float) -> None:
    seconds = time.monotonic() - started
    click.echo(f"townsquare is ready at http://{settings.host}:{port}  ({seconds:.1f} s, data in {settings.data})")
