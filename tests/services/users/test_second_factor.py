"""The second factor: enrolled, asked for, used up, and done without; and the codes for a lost device."""

import asyncio
from urllib.parse import parse_qs, urlsplit

import pytest
from pyotp.totp import TOTP

from testbed.accounts import sign_in, signed_in
from testbed.town import PASSWORD, Answer, Person, Town
from townsquare.services.users import second_factor

STEP = 60_000_000


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> "Clock":
    """Steps go by when a test says so."""
    clock = Clock()
    monkeypatch.setattr(second_factor, "_current_step", lambda: clock.step)
    return clock


class Clock:
    step = STEP


class Device:
    """An authenticator app."""

    def __init__(self, secret: str) -> None:
        self._totp = TOTP(secret)

    def code(self, step: int = STEP) -> str:
        return self._totp.generate_otp(step)


async def post(town: Town, person: Person | str, path: str, **body: object) -> Answer:
    return await town.users.post(f"/account/second-factor{path}", as_=person, json=body)


async def enrol(town: Town, person: Person) -> Device:
    answer = await post(town, person, "", password=PASSWORD)
    assert answer.status == 201, answer.body
    return Device(answer.json["secret"])


async def confirmed(town: Town, person: Person) -> tuple[Device, list[str]]:
    """Enrol and confirm with the code of the step before; returns the device and the recovery codes."""
    device = await enrol(town, person)
    answer = await post(town, person, "/confirm", code=device.code(STEP - 1))
    assert answer.status == 200, answer.body
    return device, answer.json["recovery_codes"]


async def test_an_app_is_given_all_it_needs_and_nothing_is_stored_on_the_way(town: Town) -> None:
    ada = await town.register("ada")
    answer = await post(town, ada, "", password=PASSWORD)
    assert (answer.status, answer.headers["Cache-Control"]) == (201, "no-store")
    uri = urlsplit(answer.json["uri"])
    assert (uri.scheme, uri.netloc, uri.path) == ("otpauth", "totp", f"/townsquare:{ada.handle}")
    assert parse_qs(uri.query) == {"secret": [answer.json["secret"]], "issuer": ["townsquare"]}


async def test_it_counts_once_a_first_code_has_confirmed_it(town: Town) -> None:
    ada = await town.register("ada")
    device = await enrol(town, ada)
    assert await signed_in(town, ada.handle)
    wrong = await post(town, ada, "/confirm", code="000000" if device.code() != "000000" else "000001")
    assert (wrong.status, wrong.json["errors"][0]["pointer"]) == (422, "/code")
    right = await post(town, ada, "/confirm", code=device.code())
    assert (right.status, right.headers["Cache-Control"]) == (200, "no-store")
    assert len(set(right.json["recovery_codes"])) == 10
    assert (await town.users.get("/account", as_=ada)).json["second_factor"] is True
    asked = await sign_in(town, ada.handle)
    assert (asked.status, asked.code, asked.cookies) == (401, "second_factor_required", {})


async def test_a_code_signs_in_once(town: Town, clock: Clock) -> None:
    ada = await town.register("ada")
    device, _ = await confirmed(town, ada)
    assert (await sign_in(town, ada.handle, code=device.code())).status == 200
    replay = await sign_in(town, ada.handle, code=device.code())
    assert (replay.status, replay.code) == (401, "second_factor_required")
    assert (await sign_in(town, ada.handle, code=device.code(STEP - 1))).status == 401, "nor does an older one"
    clock.step += 1
    assert (await sign_in(town, ada.handle, code=device.code(STEP + 1))).status == 200


async def test_the_code_that_confirmed_is_used_up(town: Town) -> None:
    ada = await town.register("ada")
    device = await enrol(town, ada)
    await post(town, ada, "/confirm", code=device.code())
    assert (await sign_in(town, ada.handle, code=device.code())).status == 401


async def test_one_code_used_twice_at_once_signs_in_once(town: Town) -> None:
    ada = await town.register("ada")
    device, codes = await confirmed(town, ada)
    for code in (device.code(), codes[0]):
        answers = await asyncio.gather(*(sign_in(town, ada.handle, code=code) for _ in range(4)))
        assert sorted(answer.status for answer in answers) == [200, 401, 401, 401]


@pytest.mark.parametrize(("step", "status"), [(-2, 401), (-1, 200), (0, 200), (1, 200), (2, 401)])
async def test_a_clock_may_be_one_step_off(town: Town, clock: Clock, step: int, status: int) -> None:
    ada = await town.register("ada")
    device, _ = await confirmed(town, ada)
    clock.step += 10
    assert (await sign_in(town, ada.handle, code=device.code(clock.step + step))).status == status


@pytest.mark.parametrize("code", ["", "0", "abcdef", "１２３４５６", "é" * 6, "nul\0nul", "x" * 40])
async def test_a_wrong_code_signs_nobody_in(town: Town, code: str) -> None:
    ada = await town.register("ada")
    await confirmed(town, ada)
    answer = await sign_in(town, ada.handle, code=code)
    assert (answer.status, answer.code) == (401, "second_factor_required")
    assert (await sign_in(town, ada.handle, code="x" * 41)).status == 422


async def test_a_code_without_the_password_is_worth_nothing(town: Town) -> None:
    ada = await town.register("ada")
    device, codes = await confirmed(town, ada)
    for code in (device.code(), codes[0]):
        answer = await sign_in(town, ada.handle, "not the password", code=code)
        assert (answer.status, answer.code) == (401, "wrong_credentials")
        assert (await sign_in(town, ada.handle, code=code)).status == 200, "and is not used up"


async def test_each_recovery_code_signs_in_once(town: Town) -> None:
    ada = await town.register("ada")
    _, codes = await confirmed(town, ada)
    for code in codes:
        assert (await sign_in(town, ada.handle, code=code)).status == 200
        assert (await sign_in(town, ada.handle, code=code)).status == 401


async def test_a_recovery_code_may_be_typed_as_one_likes(town: Town) -> None:
    ada = await town.register("ada")
    _, codes = await confirmed(town, ada)
    assert (await sign_in(town, ada.handle, code=codes[0].upper().replace("-", " "))).status == 200
    assert (await sign_in(town, ada.handle, code=codes[1].replace("-", ""))).status == 200


async def test_recovery_codes_are_somebodys_own_and_kept_as_hashes(town: Town) -> None:
    ada, eve = await town.register("ada"), await town.register("eve")
    _, codes = await confirmed(town, ada)
    await confirmed(town, eve)
    assert (await sign_in(town, eve.handle, code=codes[0])).status == 401
    rows = await town.database("users").fetch("SELECT r::text AS row FROM recovery_codes AS r WHERE person_id = $1", ada.id)
    assert len(rows) == 10
    assert not any(code.replace("-", "") in row["row"] for row in rows for code in codes)


async def test_new_recovery_codes_replace_the_old(town: Town) -> None:
    ada = await town.register("ada")
    _, old = await confirmed(town, ada)
    assert (await post(town, ada, "/recovery-codes", password="not the password")).status == 422
    answer = await post(town, ada, "/recovery-codes", password=PASSWORD)
    assert (answer.status, answer.headers["Cache-Control"]) == (200, "no-store")
    assert (await sign_in(town, ada.handle, code=old[0])).status == 401
    assert (await sign_in(town, ada.handle, code=answer.json["recovery_codes"][0])).status == 200


async def test_who_has_none_has_nothing_to_confirm_or_renew(town: Town) -> None:
    ada = await town.register("ada")
    assert (await post(town, ada, "/confirm", code="123456")).code == "conflict"
    assert (await post(town, ada, "/recovery-codes", password=PASSWORD)).code == "conflict"
    await confirmed(town, ada)
    assert (await post(town, ada, "/confirm", code="123456")).code == "conflict"
    assert (await post(town, ada, "", password=PASSWORD)).code == "conflict", "it is not replaced behind one's back"


async def test_it_begins_and_ends_only_with_the_password(town: Town) -> None:
    ada = await town.register("ada")
    assert (await post(town, ada, "", password="not the password")).status == 422
    await confirmed(town, ada)
    wrong = await town.users.delete("/account/second-factor", as_=ada, json={"password": "not the password"})
    assert (wrong.status, wrong.json["errors"][0]["pointer"]) == (422, "/password")
    assert (await sign_in(town, ada.handle)).status == 401
    assert (await town.users.delete("/account/second-factor", as_=ada, json={"password": PASSWORD})).status == 204
    assert await signed_in(town, ada.handle)
    assert (await town.users.get("/account", as_=ada)).json["second_factor"] is False
    kept = await town.database("users").fetchrow("SELECT totp_secret FROM accounts WHERE person_id = $1", ada.id)
    assert kept is not None
    assert kept["totp_secret"] is None


async def test_a_new_device_after_that_has_a_secret_of_its_own(town: Town) -> None:
    ada = await town.register("ada")
    old, codes = await confirmed(town, ada)
    await town.users.delete("/account/second-factor", as_=ada, json={"password": PASSWORD})
    new, _ = await confirmed(town, ada)
    for code in (old.code(), codes[0]):
        assert (await sign_in(town, ada.handle, code=code)).status == 401
    assert (await sign_in(town, ada.handle, code=new.code())).status == 200
