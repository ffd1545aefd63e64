"""Load and what bears it: servers started for a benchmark, wrk for HTTP, pgbench for SQL.

Where rates are compared, the server has one core to itself and the rest the other. Latencies are measured with nothing
bound, as people run it: the system then places whoever waits where there is room.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.cluster import Cluster
from bench.harness import need, pinned, version_of
from townsquare.kit.postgres_programs import find_programs

SERVER_CORE = 0
LOAD_CORE = 1
START_SECONDS = 60.0
_SCRIPT = Path(__file__).parent / "wrk.lua"


@dataclass(frozen=True)
class Outcome:
    """What wrk saw: requests answered in a second, and the median latency in milliseconds."""

    rate: float
    median: float


@dataclass(frozen=True)
class Target:
    """What is asked for. With `people` a random person's id, of so many, stands behind the path."""

    base: str
    path: str
    people: int = 0
    token: str | None = None


@contextmanager
def serving(command: list[str], environment: Mapping[str, str], ready: str, *, core: int | None = None) -> Iterator[None]:
    """Run a server, bound to a core if one is given, from the moment that `ready` (an address) answers with 200."""
    process = subprocess.Popen(_bound(command, core), env=dict(environment), stdout=subprocess.DEVNULL)
    try:
        wait_for(ready, process)
        yield
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def platform(cluster: Cluster, port: int, **settings: str) -> Iterator[str]:
    """Run `serve all`, with its cache unless a setting says otherwise; lends its address when it has nothing else to do."""
    base = f"http://127.0.0.1:{port}"
    given = {f"TOWNSQUARE_{name.upper()}": value for name, value in settings.items()}
    environment = {**cluster.environment(), "TOWNSQUARE_CACHE": "on", **given}
    with serving(townsquare("serve", "all", "--port", str(port)), environment, f"{base}/health/ready"):
        settle(base)
        yield base


@contextmanager
def both_platforms(cluster: Cluster, port: int) -> Iterator[tuple[int, int]]:
    """Run one with its cache and one without beside each other; lends their ports."""
    with platform(cluster, port), platform(cluster, port + 1, cache="off"):
        yield port, port + 1


def settle(base: str) -> None:
    """Wait until a platform's services have heard of all that the seed has done; until then that takes half a core."""
    while any(lag > 1 for lag in metric(base, "outbox_lag_seconds")):
        time.sleep(0.5)


def metric(base: str, name: str, *labels: str) -> list[float]:
    """Return the values that a platform tells of a metric, of those of its series that have the labels."""
    lines = answers(f"{base}/metrics").decode().splitlines()
    told = [line for line in lines if line.startswith(name + "{") and all(label in line for label in labels)]
    return [float(line.rsplit(" ", 1)[1]) for line in told]


def platform_versions(cluster: Cluster) -> dict[str, str]:
    """Return what a platform runs on."""
    return {"PostgreSQL": cluster.version, "Python": version_of(sys.executable, "--version").split(" ")[-1]}


def wrk(target: Target, *, connections: int, seconds: float, core: int | None = None) -> Outcome:
    """Load the target from one thread, bound to a core if one is given; ends the benchmark when an answer is no 2xx."""
    header = [] if target.token is None else ["-H", f"Authorization: Bearer {target.token}"]
    command = [need("wrk", "wrk"), "-t1", f"-c{connections}", f"-d{seconds:.0f}s", "-s", str(_SCRIPT), *header, target.base]
    arguments = ["--", target.path, str(target.people)]
    done = subprocess.run(_bound([*command, *arguments], core), capture_output=True, text=True, check=True)
    said = json.loads(done.stdout.rstrip().rsplit("\n", 1)[-1])
    if said["refused"] or said["broken"]:
        sys.exit(f"bench: {target.base}{target.path}: {said['refused']} answers are no 2xx, {said['broken']} broke off")
    return Outcome(said["requests"] / said["microseconds"] * 1e6, said["median"] / 1000)


def pgbench(dsn: str, script: str, variables: Mapping[str, object], *, seconds: float) -> float:
    """Run a script at one client with prepared statements; returns the median latency in milliseconds."""
    with tempfile.TemporaryDirectory(prefix="townsquare-bench-") as folder:
        file = Path(folder) / "script.sql"
        file.write_text(script, "utf-8")
        defined = [f"-D{name}={value}" for name, value in variables.items()]
        command = [pgbench_program(), "-n", "-M", "prepared", "-c", "1", "-T", f"{seconds:.0f}", "-f", str(file)]
        log = ["-l", "--log-prefix", f"{folder}/log"]
        done = subprocess.run(pinned(LOAD_CORE, *command, *log, *defined, dsn), capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"bench: pgbench failed: {done.stderr.strip()}")
        lines = "".join(part.read_text("utf-8") for part in Path(folder).glob("log.*")).splitlines()
    # Third in a line: the microseconds of one run of the script.
    return statistics.median(int(line.split()[2]) for line in lines) / 1000


def pgbench_program() -> str:
    """Return pgbench of the very PostgreSQL that is measured, else the system's."""
    own = find_programs(None) / "pgbench"
    return str(own) if own.exists() else need("pgbench", "postgresql-contrib")


def townsquare(*arguments: str) -> list[str]:
    """Return the command that runs townsquare."""
    return [sys.executable, "-m", "townsquare", *arguments]


def answers(address: str, *, token: str | None = None) -> bytes:
    """Return what an address answers."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=10) as answer:
        return answer.read()


def _bound(command: list[str], core: int | None) -> list[str]:
    return command if core is None else pinned(core, *command)


def wait_for(address: str, process: subprocess.Popen[bytes]) -> None:
    """Wait until a server answers; ends the benchmark when it does not."""
    until = time.monotonic() + START_SECONDS
    while True:
        try:
            answers(address)
        except (urllib.error.URLError, OSError):
            if process.poll() is not None or time.monotonic() > until:
                sys.exit(f"bench: nothing answers at {address}")
            time.sleep(0.02)
        else:
            return
