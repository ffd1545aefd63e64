"""Snapshots between the processes of one port: each answers on a Unix socket in a folder that they share."""

import asyncio
from functools import partial
from pathlib import Path

from townsquare.kit.metrics import Metrics


class SnapshotSockets:
    """The sockets of `count` processes in `folder`, which nobody else may enter; this one is number `own`."""

    def __init__(self, folder: Path, count: int, own: int) -> None:
        self._folder = folder
        self._own = own
        self._others = [number for number in range(count) if number != own]

    def connect(self, metrics: Metrics) -> None:
        """Have `metrics` ask the other processes."""
        for number in self._others:
            metrics.siblings[str(number)] = partial(_ask, self._path(number))

    async def serve(self, metrics: Metrics) -> None:
        """Answer the others until cancelled."""
        path = self._path(self._own)
        path.unlink(missing_ok=True)  # of a process that was killed

        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await metrics.encoded_snapshot())
            writer.close()
            await writer.wait_closed()

        async with await asyncio.start_unix_server(answer, path) as server:
            await server.serve_forever()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.sock"


async def _ask(path: Path) -> bytes:
    reader, writer = await asyncio.open_unix_connection(path)
    try:
        return await reader.read()
    finally:
        writer.close()
