"""How often a caller may ask for what moves money: so often a minute, whichever door the request comes through."""

from django.conf import settings
from rest_framework.exceptions import Throttled
from rest_framework.request import Request

from interfaces.platform import engine, platform

MINUTE = 60


def limit_rate(request: Request, workflow: str) -> None:
    """Count a request about such a workflow. Raises Throttled (429) beyond its limit, until the minute ends."""
    limit: int = settings.SAGA_ORCHESTRATOR_CONFIG["RATES"].get(workflow, 0)
    if not limit:
        return
    now = engine().clock.now()
    if platform().rates.count(workflow, request.user.name, now, limit) > limit:
        raise Throttled(wait=MINUTE - now.second)
