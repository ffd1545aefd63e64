"""Mail: through a real SMTP server, or into the data folder."""

import os
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiosmtpd.smtp import AuthResult, Envelope, LoginPassword, Session

from testbed.smtp import Inbox, smtp_server
from townsquare.kit.mail import Mail, MailError, list_mail, send
from townsquare.settings import Settings

WELCOME = Mail(
    to="ada@example.org", subject="Bienvenue, Zoë", text="Here is your link:\nhttps://example.org/verify?token=abc\n"
)
SENDER = "Town Square <town@example.org>"


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
async def settings(inbox: Inbox, tmp_path: Path) -> AsyncIterator[Settings]:
    async with smtp_server(inbox) as server:
        yield Settings(data=tmp_path, smtp_url=f"smtp://{server}", mail_from=SENDER)


async def test_a_mail_arrives_as_it_was_written(settings: Settings, inbox: Inbox) -> None:
    await send(settings, WELCOME)
    [(sender, recipients, message)] = inbox.mails
    assert (sender, recipients) == ("town@example.org", ["ada@example.org"])
    assert message["From"] == SENDER
    assert message["To"] == WELCOME.to
    assert message["Subject"] == WELCOME.subject
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Message-ID"].endswith("@example.org>")
    assert message.get_content().replace("\r\n", "\n") == WELCOME.text


async def test_an_address_in_any_script_is_reached(tmp_path: Path, inbox: Inbox) -> None:
    async with smtp_server(inbox, enable_SMTPUTF8=True) as server:
        settings = Settings(data=tmp_path, smtp_url=f"smtp://{server}")
        await send(settings, Mail(to="zoë@bücher.example", subject="Hello", text="Hello"))
    [(_, recipients, _)] = inbox.mails
    assert recipients == ["zoë@bücher.example"]


@pytest.mark.parametrize(
    ("to", "subject"),
    [
        ("ada@example.org", "Hello\r\nBcc: eve@example.org"),
        ("ada@example.org", "Hello\x00"),
        ("ada@example.org", "Hello\u2028Bcc: eve@example.org"),
        ("ada@example.org", ""),
        ("ada@example.org\nBcc: eve@example.org", "Hello"),
        ("ada@example.org, eve@example.org", "Hello"),
        ("Ada <ada@example.org>", "Hello"),
        ("ada", "Hello"),
        ("@example.org", "Hello"),
        ("ada@..example", "Hello"),
        ("ada@example.org.", "Hello"),
        (".ada@example.org", "Hello"),
        ("ada@a.=?utf-8?q?x?=", "Hello"),
        ("", "Hello"),
    ],
)
def test_no_header_can_be_smuggled_in(to: str, subject: str) -> None:
    with pytest.raises(ValueError, match=r"subject is one line|no e-mail address"):
        Mail(to=to, subject=subject, text="")


async def test_lines_of_the_text_stay_in_the_text(settings: Settings, inbox: Inbox) -> None:
    text = "Subject: forged\n\n.\n.\r\nQUIT\n\x00\n"
    await send(settings, Mail(to="ada@example.org", subject="Hello", text=text))
    [(_, recipients, message)] = inbox.mails
    assert (recipients, message["Subject"]) == (["ada@example.org"], "Hello")
    assert "Subject: forged" in message.get_content()
    assert "QUIT" in message.get_content()


async def test_a_refusal_raises_and_names_no_address(settings: Settings, inbox: Inbox) -> None:
    inbox.refusal = "554 no mail for ada@example.org"
    with pytest.raises(MailError, match="SMTPDataError, code 554") as raised:
        await send(settings, WELCOME)
    assert "ada" not in str(raised.value)


async def test_a_server_that_is_down_raises(tmp_path: Path, inbox: Inbox) -> None:
    async with smtp_server(inbox) as server:
        pass
    with pytest.raises(MailError, match="SMTPConnectError"):
        await send(Settings(data=tmp_path, smtp_url=f"smtp://{server}"), WELCOME)


async def test_a_password_is_never_sent_in_the_clear(tmp_path: Path, inbox: Inbox) -> None:
    heard: list[object] = []

    def authenticate(server: object, session: Session, envelope: Envelope, how: str, login: LoginPassword) -> AuthResult:
        heard.append(login)
        return AuthResult(success=True)

    async with smtp_server(inbox, authenticator=authenticate, auth_require_tls=False) as server:
        settings = Settings(data=tmp_path, smtp_url=f"smtp://town:s%40cret@{server}")
        with pytest.raises(MailError):
            await send(settings, WELCOME)
    assert heard == []
    assert inbox.mails == []


async def test_without_smtp_mail_is_kept_in_the_data_folder_newest_first(tmp_path: Path) -> None:
    settings = Settings(data=tmp_path, mail_from=SENDER)
    assert list_mail(tmp_path) == []
    await send(settings, WELCOME)
    await send(settings, Mail(to="zoë@example.org", subject="Again", text="Ünïcode\n"))

    again, welcome = list_mail(tmp_path)
    assert (welcome.to, welcome.subject, welcome.text) == (WELCOME.to, WELCOME.subject, WELCOME.text)
    assert (again.to, again.subject, again.text) == ("zoë@example.org", "Again", "Ünïcode\n")
    assert again.sent_at >= welcome.sent_at
    assert [mail.subject for mail in list_mail(tmp_path, limit=1)] == ["Again"]


async def test_kept_mail_is_nobody_elses_to_read(tmp_path: Path) -> None:
    await send(Settings(data=tmp_path), WELCOME)
    [file] = (tmp_path / "mail").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


async def test_a_mail_half_written_is_not_listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MailError, match="No space left"):
        await send(Settings(data=tmp_path), WELCOME)
    assert list_mail(tmp_path) == []
