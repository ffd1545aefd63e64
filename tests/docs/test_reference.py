"""The generated pages are what the code says today, and no page leads to one that is not there."""

import re
from pathlib import Path

import pytest

from testbed.town import Town
from townsquare.catalogue import BUILT
from townsquare.reference import pages_of

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), ROOT / "README.md"])


async def test_the_generated_pages_are_up_to_date(town: Town) -> None:
    documents = {name: (await getattr(town, name).get("/openapi.json")).json for name in BUILT}
    metrics = (await town.session.get(f"{town.base}/metrics")).content
    for name, page in pages_of(documents, (await metrics.read()).decode()).items():
        written = (DOCS / "reference" / name).read_text("utf-8")
        assert written == page, f"{name} is out of date: run `make docs`"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing
