"""Errors as RFC 9457 problems, each with a stable `code`; the one table of codes is `PROBLEMS`."""

from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import msgspec
from msgspec import Struct

MEDIA_TYPE = b"application/problem+json"

Code = Literal[
    "malformed_request",
    "unauthenticated",
    "invalid_token",
    "wrong_credentials",
    "second_factor_required",
    "forbidden",
    "insufficient_scope",
    "cross_site",
    "not_found",
    "method_not_allowed",
    "request_timeout",
    "conflict",
    "taken",
    "in_flight",
    "precondition_failed",
    "too_large",
    "quota_exceeded",
    "unsupported_media_type",
    "range_not_satisfiable",
    "invalid",
    "key_reused",
    "rate_limited",
    "internal",
    "upstream_unavailable",
    "unavailable",
    "upstream_timeout",
]

PROBLEMS: dict[Code, tuple[int, str]] = {
    "malformed_request": (400, "The request cannot be read"),
    "unauthenticated": (401, "Sign in first"),
    "invalid_token": (401, "The token is not valid, or no longer"),
    "wrong_credentials": (401, "The name or the password is wrong"),
    "second_factor_required": (401, "A code of your second factor is needed"),
    "forbidden": (403, "This is not yours to do"),
    "insufficient_scope": (403, "The token's scopes do not cover this"),
    "cross_site": (403, "A cookie is not accepted from another site"),
    "not_found": (404, "There is no such thing here"),
    "method_not_allowed": (405, "This path does not take that method"),
    "request_timeout": (408, "The request stopped coming in"),
    "conflict": (409, "This does not fit the current state"),
    "taken": (409, "This is already taken"),
    "in_flight": (409, "The same request is still running"),
    "precondition_failed": (412, "It has changed since you read it"),
    "too_large": (413, "The request is too large"),
    "quota_exceeded": (413, "There is no room left for this"),
    "unsupported_media_type": (415, "This kind of content is not accepted here"),
    "range_not_satisfiable": (416, "There are no such bytes"),
    "invalid": (422, "Something in the request is not right"),
    "key_reused": (422, "This Idempotency-Key was used for another request"),
    "rate_limited": (429, "Too many requests"),
    "internal": (500, "Something went wrong on our side"),
    "upstream_unavailable": (503, "The service behind this gateway cannot be reached"),
    "unavailable": (503, "This cannot be answered right now"),
    "upstream_timeout": (504, "The service behind this gateway did not answer in time"),
}
assert set(get_args(Code)) == set(PROBLEMS)  # noqa: S101  (one table, checked where it stands)


class FieldError(Struct, frozen=True):
    """What is wrong with one part of the request; `pointer` is a JSON pointer, `?name` or `/header`."""

    pointer: str
    detail: str


class ProblemDocument(Struct, frozen=True, omit_defaults=True):
    """The body of every answer of 400 and above (`application/problem+json`)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    request_id: str
    errors: list[FieldError] = []


class Problem(Exception):
    """Raised anywhere in a request; answered as a problem document.

    `detail` is a sentence for people, `errors` says where, `headers` are added to the answer.
    """

    def __init__(
        self,
        code: Code,
        detail: str = "",
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        status, title = PROBLEMS[code]
        super().__init__(detail or title)
        self.code: Code = code
        self.status = status
        self.title = title
        self.detail = detail or title + "."
        self.errors = list(errors)
        self.headers = dict(headers or {})

    def document(self, instance: str, request_id: str) -> ProblemDocument:
        """Return the body for the request at path `instance`."""
        return ProblemDocument(
            type=f"/problems/{self.code}",
            title=self.title,
            status=self.status,
            code=self.code,
            detail=self.detail,
            instance=instance,
            request_id=request_id,
            errors=self.errors,
        )

    def body(self, instance: str, request_id: str) -> bytes:
        """Return the encoded document."""
        return msgspec.json.encode(self.document(instance, request_id))

    def encoded(self, instance: str, request_id: str) -> tuple[list[tuple[bytes, bytes]], bytes]:
        """Return the answer's headers and body, ready to send."""
        body = self.body(instance, request_id)
        headers = [
            (b"content-type", MEDIA_TYPE),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),  # any cache on the way may else keep a 404 for as long as it likes
        ]
        headers += [(name.lower().encode(), value.encode("latin-1")) for name, value in self.headers.items()]
        return headers, body


def invalid(pointer: str, detail: str) -> Problem:
    """Make the 422 for one field, for example `invalid("/handle", "Handles are ...")`."""
    return Problem("invalid", detail, errors=[FieldError(pointer, detail)])


def not_found(what: str = "") -> Problem:
    """Make the 404 for what does not exist or may not be seen; the two must look the same."""
    return Problem("not_found", what)


def unavailable(detail: str, *, retry_after: int = 1) -> Problem:
    """Make the 503 that tells when to come back, in seconds."""
    return Problem("unavailable", detail, headers={"Retry-After": str(retry_after)})
