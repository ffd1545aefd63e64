"""Reads the items of an outbox one after the other, however long it is.

The parsing is ijson's. What it leaves to its caller is to stop before one item, or a nesting, fills the memory: it
takes whatever it is given. So it is given the file through a guard that follows the brackets and counts.
"""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import cast

import ijson

from townsquare.importing.archive_files import CHUNK, ArchiveError, Limits, Reader

# Without `use_float`, ijson 3.6 makes the whole process crash at a number of more than 4,300 digits.
_OPTIONS = {"buf_size": CHUNK, "use_float": True}


def count_items(stream: Reader, limits: Limits) -> int | None:
    """Return how many items the outbox says it has, or None where it does not say so before it lists them.

    Raises:
        ArchiveError: when it is not JSON, or has no list of items.
    """
    total: int | None = None
    guard = _Guard(stream, limits)
    with guard.explaining():
        events = cast("Iterator[tuple[str, str, object]]", ijson.parse(guard, **_OPTIONS))
        for path, event, value in events:
            if (path, event) == ("orderedItems", "start_array"):
                return total
            if path == "totalItems" and isinstance(value, int) and 0 <= value < 1 << 40:
                total = value
    raise ArchiveError(f"{stream.name} has no list `orderedItems`.")


def read_items(stream: Reader, limits: Limits) -> Iterator[object]:
    """Yield the items as they come from the file.

    Raises:
        ArchiveError: where the file stops being JSON, or an item is larger or deeper than the limits.
    """
    guard = _Guard(stream, limits)
    with guard.explaining():
        items = cast("Iterator[object]", ijson.items(guard, "orderedItems.item", **_OPTIONS))
        for item in items:
            yield item
            guard.next_item()


class _Guard:
    """Passes a stream on, and follows where in its JSON it is."""

    def __init__(self, stream: Reader, limits: Limits) -> None:
        self._stream = stream
        self._limits = limits
        self._items = 0
        self._position = 0
        self._item_from = 0
        self._depth = 0
        self._in_string = False
        self._held = b""

    def read(self, size: int) -> bytes:
        """Return the next bytes, unless they would make an item too large or too deep."""
        chunk = self._stream.read(size)
        self._position += len(chunk)
        if self._position - self._item_from > self._limits.item_bytes + size:
            raise ArchiveError(f"{self._where()} is larger than {self._limits.item_bytes:,} bytes.")
        self._follow(chunk)
        return chunk

    def next_item(self) -> None:
        """Take note that an item has been handed out."""
        self._items += 1
        self._item_from = self._position

    @contextmanager
    def explaining(self) -> Generator[None]:
        """Say what is wrong and where, in the place of ijson."""
        try:
            yield
        except ijson.JSONError as error:
            reason = str(error).partition("\n")[0].removeprefix("b'")
            raise ArchiveError(f"{self._where()} is not valid JSON ({reason}).") from error
        except UnicodeDecodeError as error:  # a surrogate by itself gets past the parser, but is no text
            raise ArchiveError(f"{self._where()} has half a character.") from error

    def _where(self) -> str:
        begun = max(0, self._position - CHUNK)
        return f"{self._stream.name}, item {self._items + 1:,} or a little after, near byte {begun:,},"

    def _follow(self, chunk: bytes) -> None:
        for bracket in self._outside_strings(chunk).translate(None, _ALL_BUT_BRACKETS):
            self._depth += 1 if bracket in b"[{" else -1
            if self._depth > self._limits.depth:
                raise ArchiveError(f"{self._where()} is nested more than {self._limits.depth:,} deep.")

    def _outside_strings(self, chunk: bytes) -> bytes:
        # With the escaped backslashes gone, and then the escaped quotes, each quote left begins or ends a string.
        text = (self._held + chunk).replace(rb"\\", b"").replace(rb"\"", b"")
        self._held = b"\\" if text.endswith(b"\\") else b""
        parts = text.split(b'"')
        outside = b"".join(parts[self._in_string :: 2])
        self._in_string ^= len(parts) % 2 == 0
        return outside


_ALL_BUT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
