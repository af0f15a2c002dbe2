"""What every test may use: a real PostgreSQL."""

import os
import signal
from collections.abc import Iterator

import pytest
from hypothesis import settings as hypothesis_settings

from devstack import postgres
from tests import settings

# A shell lets what it runs in the background ignore SIGINT, and whatever that starts inherits it: the stacks of these
# tests too, whose end by Ctrl-C is tested.
signal.signal(signal.SIGINT, signal.default_int_handler)
# The same examples on every run, so that a failure is the change's own; HYPOTHESIS_PROFILE=default draws new ones.
hypothesis_settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis_settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """A database beside Django's test database, where a test may make tables of its own."""
    return os.environ["DATABASE_URL"]


def pytest_unconfigure() -> None:
    if settings.STARTED_HERE:
        postgres.stop(settings.POSTGRES)


@pytest.fixture(autouse=True)
def environment_as_it_was() -> Iterator[None]:
    """What a script sets for its own process is not the next test's."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)
