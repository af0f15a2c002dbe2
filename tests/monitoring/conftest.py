"""One stack, one Prometheus and one load for all tests of this directory: starting them costs more than asking them."""

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.stack import Ports
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.system import Watched
from tests.support import load
from tests.support.system import free_row

SAGAS_RUN = 'sum(rate(saga_total{workflow="commandes"}[$__rate_interval])) > 0'
MESSAGES_CAME = "sum(saga_messages_total) > 0"
ALL_SCRAPED = "count(max_over_time(up[10s]) == 1) >= 4"
PORTS = len(dataclasses.fields(Ports)) + 1
"""One more than the stack has, for PostgreSQL's exporter."""


@pytest.fixture(scope="session")
def system() -> Iterator[Watched]:
    """The running stack under load. Tests that take parts of it away put them back."""
    directory = Path(tempfile.mkdtemp(prefix="watched-"))  # short: sockets are in it
    try:
        with Watched(free_row(PORTS), directory) as running, load.SteadyLoad(running):
            load.everything_once(running)
            for expression in (SAGAS_RUN, MESSAGES_CAME, ALL_SCRAPED):
                running.prometheus.found(expression)
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def prometheus(system: Watched) -> Prometheus:
    """The Prometheus that watches the stack: `prometheus.evaluate(expression, workflow=...)`."""
    return system.prometheus
