"""`python -m townsquare.cache.simulator`: a storm to be watched."""

import json
import sys
import time
from itertools import count

import click
from rich.console import Console
from rich.live import Live

from townsquare.cache.simulator.faults import FAULTS
from townsquare.cache.simulator.storm import Storm
from townsquare.cache.simulator.watch import picture

FRAMES_A_SECOND = 10


@click.command()
@click.option(
    "--seed", type=int, default=None, help="Which storm; the same seed is the same storm. Default: another each time."
)
@click.option("--seconds", type=float, default=120.0, show_default=True, help="Simulated seconds.")
@click.option("--processes", type=click.IntRange(1, 20), default=3, show_default=True)
@click.option("--speed", type=float, default=10.0, show_default=True, help="Simulated seconds in a real one; 0: no waiting.")
@click.option("--fault", "names", multiple=True, type=click.Choice([fault.name for fault in FAULTS]), help="Only these.")
@click.option("--json", "as_json", is_flag=True, help="Print a summary as JSON, and nothing else.")
def main(seed: int | None, seconds: float, processes: int, speed: float, names: tuple[str, ...], as_json: bool) -> None:
    """Run real caches in a simulated storm of faults. Exit status 1: somebody got what he must not get."""
    chosen = [fault for fault in FAULTS if not names or fault.name in names]
    storm = Storm(time.time_ns() % 1_000_000 if seed is None else seed, processes=processes, faults=chosen)
    if as_json:
        for _ in storm.run(seconds):
            pass
        click.echo(json.dumps(storm.summary.as_dict(), indent=2))
    else:
        _watch(storm, seconds, speed)
    storm.close()
    sys.exit(1 if storm.summary.wrong else 0)


def _watch(storm: Storm, seconds: float, speed: float) -> None:
    console = Console()
    frames = count(1)
    frame_at = next(frames) / FRAMES_A_SECOND
    began, simulated = time.monotonic(), storm.world.now
    with Live(picture(storm), console=console, auto_refresh=False) as live:
        for _ in storm.run(seconds):
            ahead = 0.0 if speed <= 0 else (storm.world.now - simulated) / speed - (time.monotonic() - began)
            if ahead > 0:
                time.sleep(ahead)
            if time.monotonic() - began >= frame_at:
                frame_at = next(frames) / FRAMES_A_SECOND
                live.update(picture(storm), refresh=True)
        live.update(picture(storm), refresh=True)


if __name__ == "__main__":
    main()
