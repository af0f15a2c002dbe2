"""The product's settings over a PostgreSQL of the tests' own: real, durable, and stopped when they end.

`TEST_POSTGRES` is its directory, for two runs at once in one checkout; `DATABASE_URL` names another server.
"""

import os
from pathlib import Path

from devstack.postgres import ensure_running

_DEFAULT = Path(__file__).resolve().parent.parent / ".data" / "test-postgres"
POSTGRES = Path(os.environ.get("TEST_POSTGRES", _DEFAULT))
STARTED_HERE = "DATABASE_URL" not in os.environ
if STARTED_HERE:
    os.environ["DATABASE_URL"] = ensure_running(POSTGRES)
os.environ["DEBUG"] = "True"

from saga_service.settings import *  # noqa: E402, F403
