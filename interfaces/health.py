"""Is it alive, is it ready, and what are its numbers."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from typing import Any

from django.conf import settings
from django.db import connections
from django.http import HttpResponse
from django.utils import timezone
from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from application.queries import Check
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


class Probes:
    """Checks made at the same time, each in a thread of its own: what hangs is neither waited for for long, nor begun
    again while it hangs.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._begun: dict[str, Future[Check]] = {}
        self._lock = threading.Lock()

    def results(self, checks: Mapping[str, Callable[[], Check]]) -> dict[str, Check]:
        """What each found, or that it has not answered yet."""
        with self._lock:
            for name, check in checks.items():
                if name not in self._begun or self._begun[name].done():
                    self._begun[name] = _begin(check)
            begun = {name: self._begun[name] for name in checks}
        wait(begun.values(), self._seconds)
        late = Check(ok=False, detail=f"no answer within {self._seconds:g} s")
        return {name: found.result() if found.done() else late for name, found in begun.items()}


def _begin(check: Callable[[], Check]) -> Future[Check]:
    found: Future[Check] = Future()

    def run() -> None:
        try:
            found.set_result(check())
        except Exception as error:  # noqa: BLE001 - a check that fails is a part that does not work
            found.set_result(Check(ok=False, detail=type(error).__name__))
        finally:
            connections.close_all()  # this thread's

    threading.Thread(target=run, daemon=True).start()  # it may hang for longer than the process is wanted
    return found


PROBES = Probes(seconds=3.0)


class ReadyView(APIView):
    """Readiness: what sagas need, each part named."""

    roles = {"GET": (CLIENT, READER)}

    @docs.ready
    def get(self, request: Request) -> Response:  # noqa: ARG002 - DRF's signature
        """Check the database, the gateway and the worker."""
        checks = PROBES.results(platform().checks)
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


class AnyAccept(DefaultContentNegotiation):
    """Whatever a client says it takes: there is one form, and a scraper that asks for it by name is right."""

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:  # noqa: ARG002 - DRF's signature
        """The first."""
        return renderers[0], renderers[0].media_type


class MetricsView(APIView):
    """Prometheus' metrics."""

    roles = {"GET": (READER,)}
    content_negotiation_class = AnyAccept

    @docs.metrics
    def get(self, request: Request) -> HttpResponse:  # noqa: ARG002 - DRF's signature
        """All metrics, in Prometheus' text format."""
        return HttpResponse(platform().exposition(), content_type="text/plain; version=0.0.4; charset=utf-8")


def _word(ok: bool) -> str:  # noqa: FBT001 - the word for a truth
    return "ok" if ok else "unavailable"
