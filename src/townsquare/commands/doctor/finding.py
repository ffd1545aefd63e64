"""What a check has found."""

from typing import Literal, TypeAlias

from msgspec import Struct

Status: TypeAlias = Literal["ok", "skipped", "warning", "failed"]


class Finding(Struct, frozen=True, omit_defaults=True):
    """One check's outcome; `mend` says what to do about it. The platform works with warnings, not with what has failed."""

    name: str
    status: Status
    detail: str
    mend: str = ""


def ok(name: str, detail: str) -> Finding:
    """All is well."""
    return Finding(name, "ok", detail)


def skipped(name: str, detail: str) -> Finding:
    """There is nothing to look at, and need not be."""
    return Finding(name, "skipped", detail)


def warning(name: str, detail: str, mend: str) -> Finding:
    """The platform works, but this should be seen to."""
    return Finding(name, "warning", detail, mend)


def failed(name: str, detail: str, mend: str) -> Finding:
    """The platform does not work, or not safely, until this is mended."""
    return Finding(name, "failed", detail, mend)
