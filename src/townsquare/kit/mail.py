"""Mail: through SMTP where it is configured, else into `<data>/mail`, where the command line shows it.

Sending either succeeds or raises, so it belongs into a job, which tries again.
"""

import asyncio
import os
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import format_datetime, make_msgid, parseaddr
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit
from uuid import UUID

import aiosmtplib
from msgspec import Struct

from townsquare.kit.clock import now
from townsquare.kit.ids import new_id, time_of
from townsquare.settings import Settings

TIMEOUT_SECONDS = 30.0
MAX_SUBJECT = 200
MAX_ADDRESS = 254
PORT_SMTPS, PORT_SUBMISSION, PORT_SMTP = 465, 587, 25
# One address and nothing that a header gives a meaning to, "=?" being where an encoded word begins (RFC 2047, 2).
# Whether it exists only a mail can tell.
_ATOM = r"""[^\s@<>()\[\],;:\\".]+"""
_ADDRESS = re.compile(rf"(?!.*=\?){_ATOM}(?:\.{_ATOM})*@{_ATOM}(?:\.{_ATOM})*")

# An id of `new_id`: whatever else somebody puts into the folder is not ours to read.
_OURS = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}")


class MailError(Exception):
    """The mail was not sent. The message names no address: it ends up in logs."""


class Mail(Struct, frozen=True):
    """One mail to one address. Raises ValueError for an address or a subject that could smuggle in a header."""

    to: str
    subject: str
    text: str

    def __post_init__(self) -> None:
        if not self.subject.isprintable() or not 1 <= len(self.subject) <= MAX_SUBJECT:
            raise ValueError(f"A subject is one line of 1 to {MAX_SUBJECT} printable characters.")
        if not self.to.isprintable() or len(self.to) > MAX_ADDRESS or not _ADDRESS.fullmatch(self.to):
            raise ValueError("That is no e-mail address.")


class KeptMail(Struct, frozen=True):
    """A mail that was written into the data folder."""

    id: str
    sent_at: datetime
    to: str
    subject: str
    text: str


async def send(settings: Settings, mail: Mail) -> None:
    """Hand a mail over for good; raises MailError when it could not be."""
    if settings.smtp_url is None:
        await asyncio.to_thread(_keep, settings.data, _message(settings, mail))
    else:
        async with _session(urlsplit(settings.smtp_url)) as server:
            await server.send_message(_message(settings, mail))


async def check_server(settings: Settings) -> None:
    """Sign in at the configured SMTP server and send nothing; raises MailError."""
    if settings.smtp_url is not None:
        async with _session(urlsplit(settings.smtp_url)):
            pass


def list_mail(data: Path, limit: int = 100) -> list[KeptMail]:
    """List the mails kept in the data folder, the newest first."""
    files = sorted((path for path in _folder(data).glob("*.eml") if _OURS.fullmatch(path.stem)), reverse=True)
    return [_kept(path) for path in files[:limit]]


def _message(settings: Settings, mail: Mail) -> EmailMessage:
    message = EmailMessage(policy=SMTP)
    message["From"] = settings.mail_from
    message["To"] = mail.to
    message["Subject"] = mail.subject
    message["Date"] = format_datetime(now())
    message["Message-ID"] = make_msgid(domain=_domain(settings.mail_from))
    # So that no out-of-office note comes back (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(mail.text)
    return message


def _domain(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2] or "localhost"


@asynccontextmanager
async def _session(server: SplitResult) -> AsyncIterator[aiosmtplib.SMTP]:
    """Lend a connection to the server, signed in where it asks for that; raises MailError."""
    signs_in = server.username is not None
    try:
        client = aiosmtplib.SMTP(
            hostname=server.hostname or "localhost",
            port=server.port or _default_port(server.scheme, signs_in=signs_in),
            username=unquote(server.username) if server.username else None,
            password=unquote(server.password) if server.password else None,
            use_tls=server.scheme == "smtps",
            # A password goes over TLS only. Without one TLS is taken where it is offered.
            start_tls=True if signs_in and server.scheme != "smtps" else None,
            tls_context=_tls(verify=signs_in or server.scheme == "smtps"),
            timeout=TIMEOUT_SECONDS,
        )
        async with client:
            yield client
    except aiosmtplib.SMTPException as error:
        raise MailError(f"The SMTP server did not take the mail: {_reason(error)}.") from None
    except (OSError, ValueError) as error:
        raise MailError(f"The SMTP server cannot be used: {type(error).__name__}.") from None


def _default_port(scheme: str, *, signs_in: bool) -> int:
    if scheme == "smtps":
        return PORT_SMTPS
    return PORT_SUBMISSION if signs_in else PORT_SMTP


def _tls(*, verify: bool) -> ssl.SSLContext:
    """TLS that was only offered protects against listeners, not against impostors: plain text would have been taken too."""
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _reason(error: aiosmtplib.SMTPException) -> str:
    """The kind and the server's code; its words may name the address."""
    code = getattr(error, "code", None)
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        code = error.recipients[0].code if error.recipients else None
    return type(error).__name__ if code is None else f"{type(error).__name__}, code {code}"


def _folder(data: Path) -> Path:
    return data / "mail"


def _keep(data: Path, message: EmailMessage) -> None:
    """Write the file under another name first: whoever lists the folder sees whole mails only."""
    folder = _folder(data)
    name = f"{new_id()}.eml"
    unfinished = folder / f"{name}.part"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(message.as_bytes(policy=SMTPUTF8))
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(folder / name)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        raise MailError(f"The mail cannot be written to {folder}: {error.strerror}.") from error


def _kept(path: Path) -> KeptMail:
    message = message_from_bytes(path.read_bytes(), policy=SMTP, _class=EmailMessage)
    return KeptMail(
        id=path.stem,
        sent_at=time_of(UUID(path.stem)),
        to=str(message["To"]),
        subject=str(message["Subject"]),
        text=str(message.get_content()).replace("\r\n", "\n"),
    )
