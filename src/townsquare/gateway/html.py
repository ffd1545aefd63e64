"""The gateway's own pages: plain HTML made on the server, which needs no script and is allowed none."""

import base64
import hashlib
from html import escape
from typing import Final

STYLE: Final = """
:root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { line-height: 1.2; } h2 { margin-top: 3rem; border-bottom: 1px solid var(--line); }
code, pre { font: 0.9em/1.5 ui-monospace, monospace; }
pre { border: 1px dashed var(--line); padding: 0.7rem; white-space: pre-wrap; overflow-wrap: anywhere; }
table { border-collapse: collapse; width: 100%; margin: 0.5rem 0; }
th, td { text-align: left; vertical-align: top; padding: 0.3rem 0.6rem; border-bottom: 1px solid var(--line); }
td { overflow-wrap: anywhere; }
details { border: 1px solid var(--line); border-radius: 6px; margin: 0.4rem 0; }
summary { padding: 0.5rem 0.8rem; cursor: pointer; overflow-wrap: anywhere; }
details > div { padding: 0 0.8rem 0.8rem; }
.method { display: inline-block; min-width: 4.2rem; font-weight: 700; }
.note { opacity: 0.75; }
"""

_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
_ALLOWED = ("sandbox", "default-src 'none'", f"style-src 'sha256-{_STYLE_HASH}'")
_REFUSED = ("base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'")
CONTENT_SECURITY_POLICY: Final = "; ".join(_ALLOWED + _REFUSED)
"""Nothing but the style above: should a text ever get into the page unescaped, it could still do nothing."""


def html_page(title: str, body: str) -> bytes:
    """Return a whole page; `title` is text, `body` is HTML."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    ).encode()


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """Return a table, or nothing where there are no rows; heads are text, cells are HTML."""
    if not rows:
        return ""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>\n" for row in rows)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{lines}</tbody>\n</table>\n"
