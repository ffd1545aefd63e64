"""The two faces, served."""

from collections.abc import Iterator

import pytest

from testbed.faces import FACES, KEEP_ALIVE, Face, Served, serving_origin


@pytest.fixture(scope="module")
def both() -> Iterator[dict[Face, Served]]:
    with serving_origin("uvicorn") as uvicorn, serving_origin("asgi") as asgi:
        yield {"uvicorn": uvicorn, "asgi": asgi}


@pytest.fixture(params=FACES)
def served(both: dict[Face, Served], request: pytest.FixtureRequest) -> Iterator[Served]:
    face = both[request.param]
    face.origin.asked.clear()
    yield face
    face.hang_up()


@pytest.fixture(params=FACES)
def impatient(request: pytest.FixtureRequest) -> Iterator[Served]:
    """Keeps an idle connection for a moment only."""
    with serving_origin(request.param, timeout_keep_alive=KEEP_ALIVE) as served:
        yield served


@pytest.fixture(params=FACES)
def counting(request: pytest.FixtureRequest) -> Iterator[tuple[Served, list[str]]]:
    """Admits anybody but `9.9.9.9`, and notes who was counted."""
    counted: list[str] = []

    def limit(_: int | None, address: str) -> bytes | None:
        counted.append(address)
        return None if address == "9.9.9.9" else b'ratelimit-policy: "read";q=9\r\nratelimit: "read";r=8;t=7\r\n'

    with serving_origin(request.param, limit=limit) as served:
        yield served, counted
