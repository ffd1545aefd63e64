"""A real SMTP server on a free port, and what it is sent."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP

from aiosmtpd import smtp
from aiosmtpd.smtp import Envelope, Session


class Inbox:
    """An SMTP server's handler that keeps what it is given, or refuses it."""

    def __init__(self) -> None:
        self.mails: list[tuple[str, list[str], EmailMessage]] = []
        self.refusal: str | None = None

    async def handle_DATA(self, server: object, session: Session, envelope: Envelope) -> str:
        if self.refusal is not None:
            return self.refusal
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, _class=EmailMessage, policy=SMTP)
        self.mails.append((envelope.mail_from or "", envelope.rcpt_tos, message))
        return "250 taken"


@asynccontextmanager
async def smtp_server(inbox: Inbox, port: int = 0, **options: object) -> AsyncIterator[str]:
    """Serve on a free port of this machine; yields host and port."""
    server = await asyncio.get_running_loop().create_server(lambda: smtp.SMTP(inbox, **options), "127.0.0.1", port)
    host, port = server.sockets[0].getsockname()
    try:
        yield f"{host}:{port}"
    finally:
        server.close()
        await server.wait_closed()
