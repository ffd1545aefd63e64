"""`townsquare mail`: the mail that was written to the data folder, because no mail server is configured."""

from pathlib import Path

import click

from townsquare.commands.shared import (
    CommandError,
    Words,
    data_option,
    json_option,
    print_facts,
    print_json,
    print_table,
    shown,
    task_settings,
)
from townsquare.kit.mail import KeptMail, list_mail
from townsquare.settings import Settings

ALL = 1_000_000


@click.group("mail", invoke_without_command=True)
@data_option
@json_option
@click.pass_context
def command(context: click.Context, data: Path | None, as_json: bool) -> None:
    """Show the mail that was written to the data folder. Without a command: the newest ones."""
    if context.invoked_subcommand is None:
        context.invoke(list_, to=None, limit=20, data=data, as_json=as_json)


@command.command("list")
@click.option("--to", type=Words(), help="Only mail to this address.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many at most.")
@data_option
@json_option
def list_(to: str | None, limit: int, data: Path | None, as_json: bool) -> None:
    """List the mail, the newest first."""
    settings = task_settings(data=data)
    mails = list_mail(settings.data, limit) if to is None else _to(to, settings)[:limit]
    if as_json:
        print_json(mails)
        return
    print_table(("sent", "to", "subject", "id"), [(mail.sent_at, mail.to, mail.subject, mail.id) for mail in mails])
    _say_where_mail_goes(settings)


@command.command()
@click.argument("mail_id", type=Words(), metavar="[ID]", required=False)
@click.option("--to", type=Words(), help="The newest one to this address.")
@data_option
@json_option
def show(mail_id: str | None, to: str | None, data: Path | None, as_json: bool) -> None:
    """Show the mail with this ID (its beginning will do), or the newest."""
    settings = task_settings(data=data)
    found = [mail for mail in _to(to, settings) if mail_id is None or mail.id.startswith(mail_id.lower())]
    if not found or (mail_id is not None and len(found) > 1):
        _say_where_mail_goes(settings)
        raise CommandError("there is no such mail" if not found else "more than one mail has an id that begins so")
    if as_json:
        print_json(found[0])
        return
    print_facts([("to", found[0].to), ("subject", found[0].subject), ("sent", found[0].sent_at)])
    click.echo(f"\n{shown(found[0].text)}", nl=not found[0].text.endswith("\n"))


def _to(address: str | None, settings: Settings) -> list[KeptMail]:
    mails = list_mail(settings.data, ALL)
    return [mail for mail in mails if address is None or mail.to.casefold() == address.casefold()]


def _say_where_mail_goes(settings: Settings) -> None:
    if settings.smtp_url is not None:
        click.echo("A mail server is configured (TOWNSQUARE_SMTP_URL): mail goes there, and is not kept here.", err=True)
