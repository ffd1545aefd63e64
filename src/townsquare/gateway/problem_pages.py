"""`/problems/{code}`: what the `type` of a problem leads to, for people who met one."""

from html import escape
from typing import Final

from townsquare.gateway.html import html_page, table
from townsquare.kit.problems import PROBLEMS, Code

ADVICE: Final[dict[Code, str]] = {
    "malformed_request": "What was sent is not what it says it is: JSON that does not parse, text that is not UTF-8.",
    "unauthenticated": "Send `Authorization: Bearer <token>`, or the cookie that a sign-in sets.",
    "invalid_token": "Access tokens live five minutes: exchange the refresh cookie at `POST /refresh`, or sign in again.",
    "wrong_credentials": "Check the name and the password. The answer is the same whether or not there is such an account.",
    "second_factor_required": "Sign in again with `code`: the six digits that your authenticator shows, or a recovery code.",
    "forbidden": "You are who you say, but this belongs to somebody else or is not open to you. To repeat it will not help.",
    "insufficient_scope": "The personal token may do less than this. Make one with the scope, or sign in yourself.",
    "cross_site": "A browser sent the session's cookie from another site. Send a bearer token, or send it from this site.",
    "not_found": "It does not exist, or you may not see it; the two look the same on purpose.",
    "method_not_allowed": "The path is right and the method is not; the header `Allow` lists those that are.",
    "request_timeout": "The body stood still for half a minute. Send it again; a large file goes in pieces (`/uploads`).",
    "conflict": "The request is sound, but what it is about is in another state. Read it again and decide.",
    "taken": "Somebody was first. `errors` says which of the fields is taken; choose another value.",
    "in_flight": "The first request with this `Idempotency-Key` has not ended. Wait for `Retry-After`, then repeat it.",
    "precondition_failed": "It has another `ETag` than your `If-Match`. Read it again and change that.",
    "too_large": (
        "A JSON body may have a megabyte (the setting `max_body`), a file what `upload_mb` says, and a picture so many "
        "pixels and frames as `detail` tells. Send less, or a large file in pieces (`/uploads`)."
    ),
    "quota_exceeded": "Your files take all the room that one person has here. Delete some, or ask whoever runs it.",
    "unsupported_media_type": (
        "Send JSON, and say so: `Content-Type: application/json`. A file goes as a form, and is a picture, film, sound, "
        "PDF, office document or plain text by what is in it, whatever it is called."
    ),
    "range_not_satisfiable": "The file is shorter than that. `Content-Range` says how long it is.",
    "invalid": "The request was read and something in it is not allowed; `errors` names each part by its JSON pointer.",
    "key_reused": "An `Idempotency-Key` belongs to one request. Use a new key for another one.",
    "rate_limited": "Wait for the seconds in `Retry-After`. `RateLimit` says in every answer how many requests are left.",
    "internal": "It is our fault. Tell whoever runs this platform the `request_id`: it leads to what was logged.",
    "upstream_unavailable": (
        "A part of the platform is away. Repeat the request after `Retry-After`, and a change with its `Idempotency-Key`."
    ),
    "unavailable": (
        "The database does not answer in time; `detail` says whether anything was changed. "
        "Repeat the request after `Retry-After`, and a change with its `Idempotency-Key`."
    ),
    "upstream_timeout": (
        "The answer took too long. Whether a change was made is not known: repeat it with the same `Idempotency-Key`."
    ),
}

_CODES: Final[dict[str, Code]] = {code: code for code in PROBLEMS}


def problems_page() -> bytes:
    """List all problems."""
    rows = [
        (f'<a href="/problems/{code}"><code>{code}</code></a>', str(status), escape(title))
        for code, (status, title) in PROBLEMS.items()
    ]
    return html_page("Problems", "<h1>Problems</h1>\n" + table(("Code", "Status", "Meaning"), rows))


def problem_page(code: str) -> bytes | None:
    """Explain one problem, or return None where there is none of this code."""
    known = _CODES.get(code)
    if known is None:
        return None
    status, title = PROBLEMS[known]
    return html_page(
        title,
        f"<h1>{escape(title)}</h1>\n<p><code>{known}</code>, status {status}</p>\n<p>{escape(ADVICE[known])}</p>\n"
        '<p><a href="/problems">All problems</a> · <a href="/developers">The API</a></p>',
    )
