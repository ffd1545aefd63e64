"""`townsquare mail`: what was written to the data folder, because no mail server is configured."""

import asyncio

from testbed.command_line import CommandLine
from townsquare.kit.mail import Mail, send
from townsquare.settings import Settings


def keep(cli: CommandLine, *mails: Mail) -> None:
    for mail in mails:
        asyncio.run(send(Settings(data=cli.data), mail))


WELCOME = Mail("ada@example.org", "Welcome, Zoë", "Hello Ada,\n\nhere is your link.\n")
NEWS = Mail("grace@example.org", "News [bold]of[/] today", "Nothing \x1b[31mnew.\n")


def test_mail_is_listed_newest_first_without_any_server(bare: CommandLine) -> None:
    assert bare("mail").out == "Nothing to show.\n"
    keep(bare, WELCOME, NEWS)
    listed = bare("mail", "--json").json
    assert [(mail["to"], mail["subject"]) for mail in listed] == [(NEWS.to, NEWS.subject), (WELCOME.to, WELCOME.subject)]
    assert [mail["to"] for mail in bare("mail", "list", "--limit", "1", "--json").json] == [NEWS.to]
    assert [mail["subject"] for mail in bare("mail", "list", "--to", "ADA@example.org", "--json").json] == [WELCOME.subject]
    shown = bare("mail").out
    assert WELCOME.to in shown
    assert NEWS.subject in shown


def test_a_mail_is_shown_by_id_by_address_or_the_newest(bare: CommandLine) -> None:
    keep(bare, WELCOME, NEWS)
    newest, first = bare("mail", "--json").json
    assert bare("mail", "show", "--json").json == newest
    assert bare("mail", "show", first["id"], "--json").json == first
    assert bare("mail", "show", "--to", WELCOME.to, "--json").json == first
    assert bare("mail", "show", first["id"]).out.endswith(f"\n\n{WELCOME.text}")
    assert "\x1b" not in bare("mail", "show").out, "a mail cannot steer the terminal"


def test_a_mail_that_is_not_there_is_one_sentence(bare: CommandLine) -> None:
    ran = bare("mail", "show", "nothing")
    assert (ran.status, ran.out, ran.err) == (1, "", "townsquare: there is no such mail\n")
    keep(bare, WELCOME, WELCOME)
    ran = bare("mail", "show", "0")
    assert (ran.status, ran.err) == (1, "townsquare: more than one mail has an id that begins so\n")


def test_whatever_else_lies_in_the_folder_is_left_alone(bare: CommandLine) -> None:
    keep(bare, WELCOME)
    (bare.data / "mail" / "from-somewhere.eml").write_text("Subject: not ours")
    assert [mail["subject"] for mail in bare("mail", "--json").json] == [WELCOME.subject]


def test_with_a_mail_server_it_says_where_mail_goes(bare: CommandLine) -> None:
    ran = bare("mail", variables={"TOWNSQUARE_SMTP_URL": "smtp://mail.example.org"})
    assert (ran.status, ran.out) == (0, "Nothing to show.\n")
    assert "TOWNSQUARE_SMTP_URL" in ran.err
