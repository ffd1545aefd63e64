"""The servers beside the database, where they are configured: Redis, which is never needed, and the mail server."""

import asyncio
import ssl
from urllib.parse import unquote, urlsplit

from townsquare.commands.doctor.finding import Finding, failed, ok, skipped, warning
from townsquare.kit.mail import MailError, check_server
from townsquare.settings import Settings

ASK_SECONDS = 5.0
REDIS_PORT = 6379


async def check_redis(settings: Settings) -> Finding:
    """Say PING to the shared cache."""
    if settings.redis_url is None:
        return skipped("redis", "not configured, and not needed")
    mend = "Start it, or correct TOWNSQUARE_REDIS_URL. Until then every process keeps its own cache alone."
    try:
        async with asyncio.timeout(ASK_SECONDS):
            said = await _ping(settings.redis_url)
    except (OSError, TimeoutError, ssl.SSLError, ValueError) as error:
        return warning("redis", f"it does not answer ({type(error).__name__})", mend)
    if not said.startswith(b"+PONG"):
        return warning("redis", f"it answers {said.decode(errors='replace').strip()[:80]!r}", mend)
    return ok("redis", "it answers")


async def check_mail(settings: Settings) -> Finding:
    """Sign in at the mail server, and send nothing."""
    if settings.smtp_url is None:
        return skipped("mail", f"no mail server is configured: mail is kept in {settings.data / 'mail'} (`townsquare mail`)")
    try:
        async with asyncio.timeout(ASK_SECONDS):
            await check_server(settings)
    except TimeoutError:
        return failed(
            "mail", "the mail server does not answer", "Start it, or correct TOWNSQUARE_SMTP_URL: mail waits in the queue."
        )
    except MailError as error:
        return failed(
            "mail", str(error), "Correct TOWNSQUARE_SMTP_URL (host, port, name, password): mail waits in the queue."
        )
    return ok("mail", "the mail server lets us in")


async def _ping(url: str) -> bytes:
    """Return what Redis answers; its protocol takes a line as a command."""
    server = urlsplit(url)
    encrypted = ssl.create_default_context() if server.scheme == "rediss" else None
    reader, writer = await asyncio.open_connection(server.hostname, server.port or REDIS_PORT, ssl=encrypted)
    try:
        if server.password:
            writer.write(_command(*filter(None, ("AUTH", unquote(server.username or ""), unquote(server.password)))))
            if (said := await reader.readline()).startswith(b"-"):
                return said.split(b":")[0]
        writer.write(_command("PING"))
        return await reader.readline()
    finally:
        writer.close()


def _command(*words: str) -> bytes:
    encoded = [word.encode() for word in words]
    return b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in encoded)
