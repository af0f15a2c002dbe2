"""Requests counted by caller and minute in PostgreSQL, so that all processes count together."""

import logging
from datetime import datetime
from pathlib import Path

from django.db import InterfaceError, OperationalError, connection

logger = logging.getLogger("saga")

_RATE = (Path(__file__).parent / "sql" / "rate.sql").read_text()


class PostgresRates:
    """The `Rates` over Django's connection of the current thread."""

    def count(self, scope: str, caller: str, now: datetime, limit: int) -> int:
        """See `Rates`."""
        given = {"scope": scope, "caller": caller, "minute": now.replace(second=0, microsecond=0), "limit": limit}
        try:
            with connection.cursor() as cursor:
                cursor.execute(_RATE, given)
                requests: int = cursor.fetchone()[0]
                return requests
        except (OperationalError, InterfaceError) as error:
            # The store waits for a database that is away, and says so in the end: counting must not fail first.
            connection.close()
            logger.warning("database: %s", str(error).strip(), extra={"statement": "rate"})
            return 0
