"""How a bucket is opened: where it is, who we are to it, and how patient we are."""

from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from obstore.store import S3Store

from townsquare.settings import Settings, SettingsError

if TYPE_CHECKING:  # obstore has these for type checkers alone
    from obstore.store import ClientConfig, RetryConfig, S3Config

CONNECT_SECONDS = 2.0
RETRY_SECONDS = 4.0


def open_bucket(settings: Settings, url: str, patience: float) -> S3Store:
    """Open `s3://bucket/prefix`; `patience` is how many seconds it may be silent. It is not asked for anything yet.

    Raises SettingsError for half of a key.
    """
    parts = urlsplit(url)
    return S3Store(
        parts.hostname,
        prefix=parts.path.strip("/") or None,
        config=_who_and_where(settings),
        client_options=_client(settings, patience),
        retry_config=_retries(),
    )


def _who_and_where(settings: Settings) -> "S3Config":
    if (settings.storage_key_id is None) != (settings.storage_secret is None):
        raise SettingsError("storage_key_id and storage_secret belong together: set both, or neither")
    # One object at a time, which every S3 can do; not every one can do many.
    config: S3Config = {"region": settings.storage_region, "disable_bulk_delete": True}
    if settings.storage_endpoint is not None:
        config["endpoint"] = settings.storage_endpoint
    if settings.storage_key_id is not None and settings.storage_secret is not None:
        config["access_key_id"] = settings.storage_key_id
        config["secret_access_key"] = settings.storage_secret
    return config


def _client(settings: Settings, patience: float) -> "ClientConfig":
    return {
        # Somebody's own store may stand beside the service; an `http:` address is then what they chose.
        "allow_http": (settings.storage_endpoint or "").startswith("http:"),
        "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
        "read_timeout": timedelta(seconds=patience),
        # Of a whole answer, which may be a film that somebody watches.
        "timeout": timedelta(days=1),
    }


def _retries() -> "RetryConfig":
    return {
        "max_retries": 2,
        "retry_timeout": timedelta(seconds=RETRY_SECONDS),
        "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=1), "base": 2},
    }
