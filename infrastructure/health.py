"""Whether the parts that sagas need work: the database, the gateway, a worker."""

from datetime import datetime

import requests
from django.db import Error, connection
from django.db.models import Max

from application.queries import Check
from infrastructure.models import WorkerRow

STALE_AFTER = 15.0
"""Seconds after which a worker that does not report counts as gone; it reports every two."""
FORGET_AFTER = 24 * 3600.0


class WorkerHeartbeat:
    """The `Heartbeat` in a table, which readiness and alerts read."""

    def beat(self, name: str, started_at: datetime, now: datetime) -> None:
        """See `Heartbeat`."""
        WorkerRow.objects.update_or_create(name=name, defaults={"started_at": started_at, "seen_at": now})

    def forget(self, name: str, now: datetime) -> None:
        """See `Heartbeat`. Takes off those too that went long ago without a word."""
        gone = [row for row in WorkerRow.objects.all() if (now - row.seen_at).total_seconds() > FORGET_AFTER]
        WorkerRow.objects.filter(name__in=[name, *(row.name for row in gone)]).delete()


def database() -> Check:
    """Whether the saga tables can be read."""
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM sagas LIMIT 1")
    except Error as error:
        return Check(ok=False, detail=f"{type(error).__name__}: {str(error).strip()}")
    return Check(ok=True)


def gateway(url: str) -> Check:
    """Whether the gateway answers; anything will do, it says 404 or 401 itself."""
    try:
        with requests.Session() as session:
            session.trust_env = False  # a proxy of the environment is not the way to the gateway
            session.get(url, timeout=2, allow_redirects=False, stream=True).close()
    except requests.RequestException as error:
        return Check(ok=False, detail=f"{url}: {type(error).__name__}")
    return Check(ok=True)


def worker(now: datetime) -> Check:
    """Whether any worker reported lately."""
    try:
        seen = WorkerRow.objects.aggregate(seen=Max("seen_at"))["seen"]
    except Error as error:
        return Check(ok=False, detail=type(error).__name__)
    if seen is None:
        return Check(ok=False, detail="no worker reports; start `manage.py saga_worker`")
    age = (now - seen).total_seconds()
    return Check(ok=age <= STALE_AFTER, detail=f"reported {age:.1f} s ago")
