"""Which methods a path takes, as `Allow` says it (RFC 9110, section 10.2.1)."""

from collections.abc import Iterable

from litestar import Litestar
from litestar.routes import HTTPRoute
from litestar.types import HTTPScope


def allow(methods: Iterable[str]) -> str:
    """Return the header's value; whatever can be read can be asked about with HEAD."""
    names = set(methods)
    return ", ".join(sorted(names | ({"HEAD"} if "GET" in names else set())))


def methods_at(scope: HTTPScope) -> set[str]:
    """Return the methods of the path that was asked for, once the framework has found it.

    The framework's own answer to OPTIONS names only those of the handler that it met first.
    """
    app = scope["litestar_app"]
    assert isinstance(app, Litestar)  # noqa: S101  (says what an ASGI scope cannot)
    found = scope["path_template"]
    return {
        str(m) for route in app.routes if isinstance(route, HTTPRoute) and route.path_format == found for m in route.methods
    }
