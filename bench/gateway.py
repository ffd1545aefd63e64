"""What the gateway adds in split mode: a profile through it, against the same from the service's own port, one client.

`up --split` runs a process for each service and one for the gateway, which passes requests on over kept HTTP/1.1
connections. wrk asks the two addresses in turn for random people's profiles; the figure is the difference of the medians.
But for wrk nothing is bound to a core: the system may place the processes as it does for those who run them.
"""

import sys

from bench.cluster import SIZE, large_community
from bench.harness import Report, Row, Spread, rounds, version_of
from bench.load import Target, serving, townsquare, wrk

PORT = 18_320
USERS_PORT = PORT + 1
SECONDS = 3.0
GOAL_MS = 1.0


def run(count: int) -> Report:
    """Measure both ways in `count` rounds."""
    gateway, users = f"http://127.0.0.1:{PORT}", f"http://127.0.0.1:{USERS_PORT}"
    through = Target(gateway, "/api/users/profile/", people=SIZE.people)
    direct = Target(users, "/profile/", people=SIZE.people)
    with large_community() as cluster:
        command = townsquare("up", "--split", "--port", str(PORT))
        with serving(command, cluster.environment(), f"{gateway}/health/ready", core=None):
            series = rounds(
                {
                    "through the gateway": lambda: wrk(through, connections=1, seconds=SECONDS).median,
                    "the service itself": lambda: wrk(direct, connections=1, seconds=SECONDS).median,
                },
                count,
            )
    versions = {
        "PostgreSQL": cluster.version,
        "wrk": version_of("wrk", "--version").split(" ")[1],
        "Python": version_of(sys.executable, "--version").split(" ")[-1],
    }
    return Report("gateway", [_row(series)], versions)


def _row(series: dict[str, list[float]]) -> Row:
    through, direct = series["through the gateway"], series["the service itself"]
    added = Spread.of([a - b for a, b in zip(through, direct, strict=True)])
    figures = {name: Spread.of(values).text("ms") for name, values in series.items()}
    return Row(
        "profile in split mode: latency at one client",
        figures,
        f"+{added.text('ms')}",
        f"under +{GOAL_MS} ms",
        added.median < GOAL_MS,
    )
