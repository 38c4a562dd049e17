"""A page of small models, without a browser."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("starlette", reason="the page needs the extra app")

from starlette.testclient import TestClient

from make_it_real.app.models import Models
from make_it_real.app.site import Site
from make_it_real.app.turns import Turns


@pytest.fixture
def turns() -> Iterator[Turns]:
    turns = Turns()
    yield turns
    assert turns.close(60)


@pytest.fixture
def site(turns: Turns, tiny_model: Path) -> Site:
    """The page of a model of digits, beside the bundled ones."""
    return Site(Models(str(tiny_model), "cpu", turns.check), turns, max_pixels=1_000_000)


@pytest.fixture
def restorer(turns: Turns, any_size_model: Path) -> Site:
    """The page of a model of any size, which halves."""
    return Site(Models(str(any_size_model), "cpu", turns.check), turns, max_pixels=1_000_000)


def client_of(site: Site, token: str | None = None) -> TestClient:
    return TestClient(site.app(token), base_url="http://127.0.0.1")


@pytest.fixture
def client(site: Site) -> Iterator[TestClient]:
    with client_of(site) as client:
        yield client
