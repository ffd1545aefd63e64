"""What every service's table of writes is put to, and so what routes declare, which the reference page shows.

A table says in words, for one small world (`kept_world.py`), what each write changes of what is kept. No write may emit a
tag that its route does not declare, and each declared one must be seen. After each write, whatever is kept must be what the
database says.
"""

from collections.abc import Sequence
from typing import ClassVar

import pytest

from testbed.kept_world import Case, World, build_world, try_out, unseen, untried
from testbed.town import Town


class TableOfWrites:
    """The tests of one service's table; a module names it `TestWrites`, with `service` and `cases`."""

    service: ClassVar[str]
    cases: ClassVar[Sequence[Case]]
    seen: ClassVar[dict[str, set[str]]]
    """The tags that each route was seen to emit."""

    def __init_subclass__(cls) -> None:
        """Begin with nothing seen."""
        cls.seen = {}

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Make a test of each case."""
        if "case" in metafunc.fixturenames:
            metafunc.parametrize("case", self.cases, ids=[case.name for case in self.cases])

    @pytest.fixture(scope="class")
    @classmethod
    async def world(cls, town: Town) -> World:
        return await build_world(town)

    async def test_a_write_changes_what_it_changes_and_nothing_else(self, world: World, case: Case) -> None:
        outcome = await try_out(world, case)
        self.seen.setdefault(case.route, set()).update(outcome.emitted)
        assert outcome.changed == case.changes, (outcome.changed - case.changes, case.changes - outcome.changed)
        assert (outcome.undeclared, outcome.wrong) == (set(), [])

    def test_the_table_has_every_write_that_declares_what_it_changes(self, town: Town) -> None:
        missing = untried(town, self.service, self.cases)
        assert missing == set(), missing

    def test_every_tag_that_a_write_declares_was_seen(self, town: Town) -> None:
        if len(self.seen) < len({case.route for case in self.cases}):
            pytest.skip("only a part of the table was run")
        never = unseen(town, self.seen)
        assert never == {}, never
