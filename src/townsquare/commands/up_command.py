"""`townsquare up`: the whole platform, in one process, one process a service, or several on one port."""

import asyncio
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click
import msgspec

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
    # The ports first: a second `up` must fail before it touches anything.
    with _listen(settings, split=split) as listener:
        settings = msgspec.structs.replace(settings, port=listener.getsockname()[1])
        async with hosting.database_server(settings, supervise=True) as server:
            await hosting.prepare(settings, server)
            if demo:
                await _fill(settings, server)
            if split:
                listener.close()
                await _supervise(settings, server, stop, _split_programs(), started)
            elif settings.workers > 1:
                with tempfile.TemporaryDirectory(prefix="townsquare-") as siblings:
                    await _supervise(settings, server, stop, _worker_programs(settings, listener, siblings), started)
            else:
                await _one_process(settings, server, stop, listener, started)
    click.echo("townsquare has stopped.")


def _listen(settings: Settings, *, split: bool) -> socket.socket:
    """Open the gateway's socket. In split mode the services open their own; whether they can is tried here."""
    if split and not settings.port:
        raise SettingsError("--split needs a --port that is a number, for the services' ports follow it")
    listener = hosting.listen(settings.host, settings.port)
    try:
        for name in BUILT if split else ():
            hosting.listen(settings.host, hosting.port_of(name, settings)).close()
    except hosting.PortTakenError:
        listener.close()
        raise
    return listener


async def _one_process(
    settings: Settings, server: str, stop: asyncio.Event, listener: socket.socket, started: float
) -> None:
    host = hosting.Host(hosting.ALL, settings, server)
    async with host.running() as app:
        _say_ready(settings, started)
        await host.serve(app, listener, stop)


async def _supervise(
    settings: Settings, server: str, stop: asyncio.Event, programs: Sequence[Program], started: float
) -> None:
    supervisor = Supervisor([_with_server(program, settings, server) for program in programs])
    async with asyncio.TaskGroup() as group:
        group.create_task(supervisor.run(stop))
        await hosting.wait_until_ready(settings, stop)
        if not stop.is_set():
            _say_ready(settings, started)


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


def _split_programs() -> list[Program]:
    return [Program(name, ["serve", name, "--supervised"]) for name in (*BUILT, hosting.GATEWAY)]


def _worker_programs(settings: Settings, listener: socket.socket, siblings: str) -> list[Program]:
    descriptor = listener.fileno()
    every = ["serve", hosting.ALL, "--supervised", "--fd", str(descriptor), "--siblings", siblings]
    return [
        Program(f"worker-{number}", [*every, "--worker", str(number)], sockets=[descriptor])
        for number in range(settings.workers)
    ]


async def _fill(settings: Settings, server: str) -> None:
    from townsquare.commands.demo_command import print_report, progress_bar
    from townsquare.demo import fill_if_empty

    with progress_bar(quiet=False) as progress:
        report = await fill_if_empty(settings, server, progress)
    if report is None:
        click.echo("People live here already; --demo fills only an empty community.")
    else:
        print_report(report)


def _say_ready(settings: Settings, started: float) -> None:
    seconds = time.monotonic() - started
    click.echo(f"townsquare is ready at {hosting.address_of(settings)}  ({seconds:.1f} s, data in {settings.data})")
