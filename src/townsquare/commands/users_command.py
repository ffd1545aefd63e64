"""`townsquare users`: list, show, suspend and help people."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import click
import msgspec
from msgspec import Struct

from townsquare.commands.database import database_of, existing_server
from townsquare.commands.shared import (
    CommandError,
    Words,
    data_option,
    json_option,
    print_facts,
    print_json,
    print_table,
    run,
    shown,
    task_settings,
)
from townsquare.kit.database import Database
from townsquare.kit.outbox import Outbox
from townsquare.kit.pages import Page
from townsquare.kit.problems import Problem
from townsquare.kit.writes import Write
from townsquare.services.users import administration
from townsquare.services.users.administration import AccountDetails, AccountItem, State
from townsquare.services.users.email import link_of, send_reset
from townsquare.settings import Settings

SERVICE: Final = "users"

Action = Callable[[Write, AccountDetails], Awaitable[bool]]
F = TypeVar("F", bound=Callable[..., Any])


class Outcome(Struct, frozen=True):
    """Whether anything had to be changed, and how the account is now."""

    changed: bool
    account: AccountDetails


class Reset(Struct, frozen=True, omit_defaults=True):
    """Where a reset went: by mail, or printed here."""

    handle: str
    mailed_to: str | None = None
    link: str | None = None
    token: str | None = None


@click.group("users", invoke_without_command=True)
@data_option
@json_option
@click.pass_context
def command(context: click.Context, data: Path | None, as_json: bool) -> None:
    """List, show, suspend and help people. Without a command: the newest accounts.

    WHO is a handle, an id or an e-mail address.
    """
    if context.invoked_subcommand is None:
        context.invoke(list_, search=None, state=None, limit=20, cursor=None, data=data, as_json=as_json)


def _about_somebody(function: F) -> F:
    """Add the argument WHO and the options of every command here."""
    return click.argument("who", type=Words())(data_option(json_option(function)))


@command.command("list")
@click.option("--search", type=Words(), help="How a handle or a name begins, or a whole e-mail address.")
@click.option("--state", type=click.Choice(get_args(State)), help="Only accounts in this state.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many at most.")
@click.option("--cursor", type=Words(), help="Go on where a list before ended.")
@data_option
@json_option
def list_(search: str | None, state: State | None, limit: int, cursor: str | None, data: Path | None, as_json: bool) -> None:
    """List accounts, the newest first."""
    page = run(_list(task_settings(data=data), search, state, limit, cursor))
    if as_json:
        print_json(page)
        return
    columns = ("handle", "name", "e-mail", "state", "joined", "id")
    print_table(columns, [(i.handle, i.display_name, i.email, i.state, i.created_at, i.id) for i in page.items])
    if page.next_cursor is not None:
        click.echo(f"There are more: --cursor {page.next_cursor}")


async def _list(
    settings: Settings, search: str | None, state: State | None, limit: int, cursor: str | None
) -> Page[AccountItem]:
    async with _users(settings) as database:
        try:
            return await administration.list_accounts(database, search=search, state=state, cursor=cursor, limit=limit)
        except Problem as problem:
            raise CommandError(f"--cursor: {problem.detail}") from None


@command.command()
@_about_somebody
def show(who: str, data: Path | None, as_json: bool) -> None:
    """Show an account."""
    account = run(_show(task_settings(data=data), who))
    if as_json:
        print_json(account)
    else:
        facts: dict[str, object] = msgspec.structs.asdict(account)
        print_facts([(name.replace("_", " "), value) for name, value in facts.items()])


async def _show(settings: Settings, who: str) -> AccountDetails:
    async with _users(settings) as database:
        return await _find(database, who)


@command.command()
@_about_somebody
def suspend(who: str, data: Path | None, as_json: bool) -> None:
    """Keep somebody out: no signing in, no refreshing, no personal tokens, and every session ends.

    An access token in use is good for five minutes at most. Profile and posts stay; `users delete` hides them.
    """
    outcome = run(_change(task_settings(data=data), who, lambda write, account: administration.suspend(write, account.id)))
    _say(outcome, as_json, "is suspended", "was suspended already")


@command.command()
@_about_somebody
def unsuspend(who: str, data: Path | None, as_json: bool) -> None:
    """Let a suspended person in again."""
    outcome = run(_change(task_settings(data=data), who, lambda write, account: administration.unsuspend(write, account.id)))
    _say(outcome, as_json, "may sign in again", "was not suspended")


@command.command("verify-email")
@_about_somebody
def verify_email(who: str, data: Path | None, as_json: bool) -> None:
    """Take somebody's e-mail address as proven, without a mail."""
    outcome = run(
        _change(task_settings(data=data), who, lambda write, account: administration.confirm_email(write, account.id))
    )
    _say(outcome, as_json, "has a proven address", "had a proven address already")


@command.command("disable-second-factor")
@_about_somebody
def disable_second_factor(who: str, data: Path | None, as_json: bool) -> None:
    """Let somebody who has lost their device sign in with the password alone. Make sure that it is them who ask."""
    outcome = run(
        _change(
            task_settings(data=data), who, lambda write, account: administration.disable_second_factor(write, account.id)
        )
    )
    _say(outcome, as_json, "has no second factor any more", "had no second factor")


@command.command("end-sessions")
@click.option("--tokens", is_flag=True, help="Delete the personal tokens too.")
@_about_somebody
def end_sessions(who: str, tokens: bool, data: Path | None, as_json: bool) -> None:
    """Sign somebody out everywhere; access tokens in use are good for five minutes at most."""

    async def end(write: Write, account: AccountDetails) -> bool:
        return await administration.end_sessions(write, account.id, tokens=tokens)

    _say(run(_change(task_settings(data=data), who, end)), as_json, "is signed out everywhere", "was signed in nowhere")


@command.command()
@click.option("--now", "at_once", is_flag=True, help="Without the thirty days: gone at the next hourly upkeep.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_about_somebody
def delete(who: str, at_once: bool, yes: bool, data: Path | None, as_json: bool) -> None:
    """Hide somebody and all they wrote at once, and delete it for good after thirty days.

    Until then `users restore` undoes it, and so may its owner by signing in: `users suspend` prevents that.
    """
    if not yes and not click.confirm(f"Delete the account of {shown(who)}?", err=True):
        raise CommandError("nothing was deleted")
    grace = administration.NO_GRACE if at_once else administration.GRACE

    async def end(write: Write, account: AccountDetails) -> bool:
        return await administration.delete_account(write, account.id, grace=grace)

    outcome = run(_change(task_settings(data=data), who, end))
    _say(outcome, as_json, f"will be gone after {shown(outcome.account.delete_after)}", "was going to be deleted already")


@command.command()
@_about_somebody
def restore(who: str, data: Path | None, as_json: bool) -> None:
    """Undo the deletion of an account that is not gone yet."""
    outcome = run(
        _change(task_settings(data=data), who, lambda write, account: administration.restore_account(write, account.id))
    )
    _say(outcome, as_json, "stays", "was not going to be deleted")


@command.command("reset-password")
@click.option("--print", "printed", is_flag=True, help="Print the link instead of mailing it, for whoever you give it to.")
@_about_somebody
def reset_password(who: str, printed: bool, data: Path | None, as_json: bool) -> None:
    """Mail somebody a link that sets a new password; it is good for an hour, once.

    The mail is sent by the running platform. The old password stays good until the link is used.
    """
    reset = run(_reset(task_settings(data=data), who, printed=printed))
    if as_json:
        print_json(reset)
    elif reset.link is not None:
        click.echo(f"For @{reset.handle}, good for an hour, once:\n{reset.link}\nor this code: {reset.token}")
    else:
        click.echo(f"A mail for @{reset.handle} is on its way to {reset.mailed_to}.")


async def _reset(settings: Settings, who: str, *, printed: bool) -> Reset:
    async with _users(settings) as database:
        account = await _find(database, who)
        async with _written(database) as write:
            if not printed:
                await send_reset(write, account.id, account.email)
                return Reset(account.handle, mailed_to=account.email)
            token = await administration.make_reset_token(write, account)
            return Reset(account.handle, link=link_of(settings, "reset", token), token=token)


async def _change(settings: Settings, who: str, action: Action) -> Outcome:
    async with _users(settings) as database:
        account = await _find(database, who)
        async with _written(database) as write:
            changed = await action(write, account)
        return Outcome(changed, await _find(database, str(account.id)))


@asynccontextmanager
async def _users(settings: Settings) -> AsyncIterator[Database]:
    async with existing_server(settings) as server, database_of(SERVICE, settings, server) as database:
        yield database


async def _find(database: Database, who: str) -> AccountDetails:
    person = await administration.identify(database, who)
    account = None if person is None else await administration.show_account(database, person)
    if account is None:
        raise CommandError(f"there is nobody called {who} here")
    return account


@asynccontextmanager
async def _written(database: Database) -> AsyncIterator[Write]:
    """Lend a transaction that is committed at the end; who follows the events sees it at the latest half a second later."""
    outbox = Outbox(database)
    write = Write(database, outbox, SERVICE)
    try:
        yield write
        await write.commit()
    except BaseException:
        await write.rollback()
        raise
    finally:
        await outbox.close()


def _say(outcome: Outcome, as_json: bool, done: str, already: str) -> None:
    if as_json:
        print_json(outcome)
    else:
        click.echo(f"@{outcome.account.handle} {done if outcome.changed else f'{already}; nothing was changed'}.")
