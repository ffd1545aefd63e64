"""The Express + pg service that profile reads are compared with (`bench/peers/express-pg`), and how to run it."""

import json
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from bench.cluster import Cluster, cache_folder
from bench.node import install, node_and_npm
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
        own, npm = node_and_npm()
        others = [found for found in [shutil.which("node")] if found is not None]
        self.nodes = list({node.version: node for node in map(Node.at, [*others, own])}.values())
        self._folder = cache_folder() / "express-pg"
        install(_SOURCE, self._folder, npm)

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
