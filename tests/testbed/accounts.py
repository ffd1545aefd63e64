"""What tests of accounts share: a browser's cookies, mails, and people who sign in."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

from testbed.town import PASSWORD, Answer, Person, Town
from townsquare.kit.mail import KeptMail, list_mail

REFRESH = "townsquare_refresh"
SESSION = "townsquare_session"
NEW_PASSWORD = "quite another battery staple"


def cookie(answer: Answer) -> dict[str, str]:
    """Return the header with which a browser sends back the refresh cookie that it was given."""
    return {"Cookie": f"{REFRESH}={answer.cookies[REFRESH]}"}


async def sign_in(town: Town, login: str, password: str = PASSWORD, **fields: object) -> Answer:
    """Sign in; returns the answer, whatever it is."""
    return await town.users.post("/login", json={"login": login, "password": password, **fields})


async def refresh(town: Town, cookies: dict[str, str], **headers: str) -> Answer:
    """Refresh a session with a browser's cookies."""
    return await town.users.post("/refresh", headers=cookies | headers)


async def signed_in(town: Town, login: str, password: str = PASSWORD) -> str:
    """Sign in and return the access token."""
    answer = await sign_in(town, login, password)
    assert answer.status == 200, answer.body
    return answer.json["access_token"]


def mails_to(town: Town, address: str) -> list[KeptMail]:
    """Return the mails that an address was sent, the oldest first."""
    return [mail for mail in reversed(list_mail(town.settings.data, 100_000)) if mail.to == address]


async def mail_to(town: Town, address: str, subject: str, number: int = 1) -> KeptMail:
    """Wait for the mail of that number to an address whose subject has the word."""
    found: list[KeptMail] = []

    def arrived() -> bool:
        found[:] = [mail for mail in mails_to(town, address) if subject in mail.subject]
        return len(found) >= number

    await until(arrived)
    return found[number - 1]


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what a job brings about."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


async def jobs_done(town: Town) -> None:
    """Wait until users has no job left to be done now."""
    async with asyncio.timeout(60):
        while await town.database("users").fetchval("SELECT EXISTS (SELECT FROM pgqueuer WHERE execute_after < now())"):
            await asyncio.sleep(0.02)


def token_in(mail: KeptMail) -> str:
    """Return the token that a mail carries."""
    found = re.search(r"token=(\S+)", mail.text)
    assert found, mail.text
    return found[1]


async def make_token(town: Town, owner: Person, *scopes: str, **fields: object) -> Any:
    """Make a personal token; returns it as it was answered."""
    body = {"name": "A script", "scopes": list(scopes), **fields}
    answer = await town.users.post("/tokens", as_=owner, json=body)
    assert answer.status == 201, answer.body
    return answer.json
