"""Schemathesis reads the API's documents and tries whatever they allow, and much that they do not.

No answer is a 5xx, none has a status or a content type that the document does not name, every body is as its schema says,
what needs a token is refused without one, and a method that is not there is a 405 with `Allow`. The runs are
deterministic. To see what was tried: `pytest tests/api -s`.
"""

import asyncio
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from testbed.town import Client, Person, Town
from townsquare.kit.openapi import METHODS

DOCUMENT = "/openapi.json"

# A 422 is also right for what a schema cannot say: a wrong password, a cursor of another list, a follow of oneself.
CONFIG = """
hooks = "hooks"

[checks]
positive_data_acceptance.expected-statuses = ["2xx", "3xx", "401", "403", "404", "409", "422", "429"]

# Nor can one say what kinds of files there are, or that uploads in pieces begin with the version of their protocol.
[[operations]]
include-path-regex = "/uploads?(/|$)"
checks.positive_data_acceptance.expected-statuses = ["2xx", "401", "403", "404", "405", "409", "412", "413", "415", "422"]
checks.missing_required_header.expected-statuses = ["400", "401", "403", "404", "405", "406", "412", "415", "422"]
checks.negative_data_rejection.enabled = false
checks.unsupported_method.enabled = false
"""


# What uploads in pieces send is bytes, under a name of their protocol.
HOOKS = """
import schemathesis

schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")
"""


@dataclass(frozen=True)
class Outcome:
    """How one run ended."""

    code: int
    output: str

    def number(self, pattern: str) -> int:
        """Return a number of the summary; the pattern has one group."""
        found = re.search(pattern, self.output)
        return int(found[1]) if found else 0

    def summary(self, name: str) -> str:
        """Say in a line what was tried."""
        operations, cases = self.number(r"Tested: (\d+)"), self.number(r"(\d+) generated")
        failures = self.number(r"(\d+) unique failures")
        return f"{name}: {operations} operations, {cases} cases, {failures} failures"


async def fuzz(folder: Path, base: str, *options: str, person: Person | None = None) -> Outcome:
    """Run Schemathesis on the document that stands under `base`, as somebody or as nobody."""
    folder.mkdir()
    (folder / "schemathesis.toml").write_text(CONFIG, "utf-8")
    (folder / "hooks.py").write_text(HOOKS, "utf-8")
    who = () if person is None else ("-H", f"Authorization: Bearer {person.token}")
    process = await asyncio.create_subprocess_exec(
        *(str(Path(sys.executable).with_name("schemathesis")), "run", base + DOCUMENT, "--url", base, *who, *options),
        *(
            "--exclude-path",
            DOCUMENT,
            "--generation-deterministic",
            "--no-color",
            "--continue-on-failure",
            "--no-shrink",
            "--warnings",
            "off",
        ),
        cwd=folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return Outcome(process.returncode or 0, output.decode())


async def judge(name: str, client: Client, outcome: Outcome, tag: str | None = None) -> None:
    """Print the summary; fail with Schemathesis' own words, or when not every documented operation was tried."""
    print(outcome.summary(name))
    assert outcome.code == 0, outcome.output.partition("= FAILURES =")[2] or outcome.output
    paths = (await client.get(DOCUMENT)).json["paths"]
    paths.pop(DOCUMENT, None)
    documented = [path[method] for path in paths.values() for method in METHODS if method in path]
    wanted = [operation for operation in documented if tag is None or tag in operation["tags"]]
    assert outcome.number(r"Tested: (\d+)") == len(wanted) > 0


async def test_each_service_and_the_gateway_answer_as_their_documents_say(fuzzed: Town, tmp_path: Path) -> None:
    person = await fuzzed.register("fuzzer")
    options = ("--phases", "coverage,fuzzing", "--max-examples", "3")
    users, content, gateway = await asyncio.gather(
        fuzz(tmp_path / "users", fuzzed.users.base, *options, person=person),
        fuzz(tmp_path / "content", fuzzed.content.base, *options, person=person),
        fuzz(tmp_path / "gateway", fuzzed.base, *options, "--include-tag", "gateway"),
    )
    await judge("users, signed in", fuzzed.users, users)
    await judge("content, signed in", fuzzed.content, content)
    await judge("gateway, anonymous", fuzzed.gateway, gateway, "gateway")


async def test_media_answers_as_its_document_says(fuzzed: Town, tmp_path: Path) -> None:
    options = ("--phases", "coverage,fuzzing", "--max-examples", "3")
    outcome = await fuzz(tmp_path / "media", fuzzed.media.base, *options, person=await fuzzed.register("fuzzer"))
    await judge("media, signed in", fuzzed.media, outcome)


async def test_the_whole_platform_answers_anybody_as_its_document_says(fuzzed: Town, tmp_path: Path) -> None:
    outcome = await fuzz(tmp_path / "all", fuzzed.base, "--phases", "fuzzing", "--max-examples", "2")
    await judge("all services through the gateway, anonymous", fuzzed.gateway, outcome)


async def test_what_does_not_hold_is_found(fuzzed: Town, tmp_path: Path) -> None:
    """The test of the test: what cannot be kept (an answer within a microsecond) makes a run fail."""
    only = ("--include-path", "/profile/{user_id}", "--include-method", "GET", "--phases", "fuzzing", "--max-examples", "1")
    outcome = await fuzz(tmp_path / "hasty", fuzzed.users.base, *only, "--max-response-time", "0.000001")
    assert outcome.code == 1
