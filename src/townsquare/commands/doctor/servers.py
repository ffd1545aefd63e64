"""The servers beside the database, where they are configured: Redis, which is never needed, and the mail server."""

import asyncio

from townsquare.cache.http.codec import ResponseCodec
from townsquare.commands.doctor.finding import Finding, failed, ok, skipped, warning
from townsquare.kit.mail import MailError, check_server
from townsquare.settings import Settings

ASK_SECONDS = 5.0


async def check_redis(settings: Settings) -> Finding:
    """Read from the shared cache, as its users do."""
    if settings.redis_url is None:
        return skipped("redis", "not configured, and not needed")
    from townsquare.cache.redis_level import RedisLevel  # for who uses it alone

    level = RedisLevel(settings.redis_url, ResponseCodec())
    try:
        await level.ping()
    except Exception as error:  # whatever its library raises
        reason = str(error) if isinstance(error, ConnectionError) else type(error).__name__
        mend = "Start it, or correct TOWNSQUARE_REDIS_URL. Until then every process keeps its own cache alone."
        return warning("redis", f"it does not answer ({reason})", mend)
    finally:
        await level.close()
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
