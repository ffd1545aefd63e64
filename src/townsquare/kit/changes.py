"""Partial changes (PATCH): a field that is left out stays as it is."""

from typing import TypeVar

from msgspec import UNSET, UnsetType

T = TypeVar("T")


def given(value: T | UnsetType, current: T) -> T:
    """Return the new value of a field, or the current one where the request leaves the field out."""
    return current if value is UNSET else value
