"""What every test may use: a real PostgreSQL."""

import os

import pytest

from devstack import postgres
from tests import settings


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """A database beside Django's test database, where a test may make tables of its own."""
    return os.environ["DATABASE_URL"]


def pytest_unconfigure() -> None:
    if settings.STARTED_HERE:
        postgres.stop(settings.POSTGRES)
