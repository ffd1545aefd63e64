"""What the gateway adds in split mode: a profile through it, against the same from the service's own port, one client.

`up --split` runs a process for each service and one for the gateway, which passes requests on over kept HTTP/1.1
connections. wrk asks the two addresses in turn for random people's profiles; the figure is the difference of the medians.
"""

import sys

from bench.cluster import SIZE, large_community
from bench.harness import Report, Row, Spread, differences, rounds, version_of
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
        with serving(command, cluster.environment(), f"{gateway}/health/ready"):
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
    added = differences(series, "through the gateway", "the service itself")
    figures = {name: Spread.of(values).text("ms") for name, values in series.items()}
    return Row(
        "profile in split mode: latency at one client",
        figures,
        added.text("ms", signed=True),
        f"under +{GOAL_MS} ms",
        added.median < GOAL_MS,
    )
