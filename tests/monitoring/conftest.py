"""One stack, one Prometheus and one load for all tests of this directory: starting them costs more than asking them."""

import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from devstack.processes import free_port, is_free
from devstack.stack import Ports
from tests.monitoring import load
from tests.monitoring.prometheus import Prometheus
from tests.monitoring.system import System

SAGAS_RUN = 'sum(rate(saga_total{workflow="commandes"}[$__rate_interval])) > 0'
MESSAGES_CAME = "sum(saga_messages_total) > 0"
ALL_SCRAPED = "count(max_over_time(up[10s]) == 1) >= 4"


@pytest.fixture(scope="session")
def system() -> Iterator[System]:
    """The running stack under load. Tests that take parts of it away put them back."""
    directory = Path(tempfile.mkdtemp(prefix="watched-"))  # short: sockets are in it
    try:
        with System(_free_row(), directory) as running, load.SteadyLoad(running):
            load.everything_once(running)
            for expression in (SAGAS_RUN, MESSAGES_CAME, ALL_SCRAPED):
                running.prometheus.found(expression)
            yield running
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def prometheus(system: System) -> Prometheus:
    """The Prometheus that watches the stack: `prometheus.evaluate(expression, workflow=...)`."""
    return system.prometheus


def _free_row() -> int:
    """The first of so many free ports in a row; one more than the stack has, for PostgreSQL's exporter."""
    length = len(dataclasses.fields(Ports)) + 1
    while True:
        base = free_port()
        if base + length < 65536 and all(is_free(base + offset) for offset in range(length)):
            return base
