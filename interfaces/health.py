"""Is it alive, is it ready, and what are its numbers."""

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from interfaces import documentation as docs
from interfaces.callers import CLIENT, READER
from interfaces.platform import engine, platform


class LiveView(APIView):
    """Liveness: the process answers. Anybody may ask."""

    authentication_classes: list[Any] = []
    permission_classes: list[Any] = []

    @docs.live
    def get(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        """Say that the process answers."""
        return Response({"status": "ok"})


class ReadyView(APIView):
    """Readiness: what sagas need, each part named."""

    roles = {"GET": (CLIENT, READER)}

    @docs.ready
    def get(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        """Check the database, the gateway and the worker."""
        checks = {name: check() for name, check in platform().checks.items()}
        ready = all(check.ok for check in checks.values())
        shown = {name: {"status": _word(check.ok), "detail": check.detail} for name, check in checks.items()}
        body = {"status": _word(ready), "checks": shown}
        return Response(body, status=200 if ready else 503)


class StatusView(APIView):
    """What runs here."""

    roles = {"GET": (CLIENT, READER)}

    @docs.status
    def get(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        """Name the service, its workflows and its participants."""
        services = settings.SAGA_ORCHESTRATOR_CONFIG["SERVICES"]
        return Response(
            {
                "service": "saga-orchestrator",
                "time": timezone.now(),
                "workflows": [f"{d.name} v{d.version}" for d in engine().definitions.all()],
                "services": sorted(services),
            }
        )


class MetricsView(APIView):
    """Prometheus' metrics."""

    roles = {"GET": (READER,)}

    @docs.metrics
    def get(self, request: Request) -> HttpResponse:  # noqa: ARG002 - DRF's signature
        """All metrics, in Prometheus' text format."""
        return HttpResponse(platform().exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _word(ok: bool) -> str:  # noqa: FBT001 - the word for a truth
    return "ok" if ok else "unavailable"
