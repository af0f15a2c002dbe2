"""OpenTelemetry, where it is switched on: spans go to a collector in the background. Nobody else imports the SDK.

Where spans come from: the requests (`RequestSpans`), the store, which sees everything that happens to a saga
(`TracedStore`), and the messages that arrive (`TracedInbox`). The use cases know nothing of it.
"""

import atexit
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from hashlib import blake2b
from time import time_ns
from typing import Any, Final
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, TraceFlags

from application.messages import Inbox
from application.ports import Existing, IdempotentRequest, Lease, Message, Verdict
from application.trace_context import HEADER, accepted
from domain.entities import Saga
from domain.events import SagaEvent
from infrastructure import metrics
from infrastructure.otlp import export_request
from infrastructure.saga_spans import Kind, Span, not_stored, told
from infrastructure.saga_store import PostgresSagaStore
from infrastructure.span_queue import SpanQueue

SERVICE: Final = "saga-orchestrator"
BATCHING: Final = {
    "OTEL_BSP_MAX_QUEUE_SIZE": 16_384,
    "OTEL_BSP_MAX_EXPORT_BATCH_SIZE": 2_048,
    "OTEL_BSP_SCHEDULE_DELAY": 1_000,
}
"""How spans are sent unless the environment says otherwise: few large requests, and soon, since what has not been sent
is lost with a process that is killed."""
UNTRACED: Final = ("/health", "/api/health/", "/api/saga/health/", "/api/status/", "/metrics/", "/static/")
"""What is asked for every few seconds, and starts no saga; as the pages of the console, while they are only read."""
CONSOLE: Final = "/console/"
READS: Final = frozenset({"GET", "HEAD"})
SERVER_ERROR: Final = 500

_SAMPLED: Final = SpanContext(1, 1, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class Exporter(OTLPSpanExporter):
    """OpenTelemetry's exporter, as the environment says, with an encoder that costs less."""

    def __init__(self, resource: Resource) -> None:
        super().__init__()
        scope = InstrumentationScope(SERVICE)
        empty = encode_spans([ReadableSpan("", _SAMPLED, resource=resource, instrumentation_scope=scope)])
        group = empty.resource_spans[0]
        self._head = group.resource.SerializeToString(), group.scope_spans[0].scope.SerializeToString()

    def send(self, spans: Sequence[Span]) -> bool:
        """Send them; the client logs it when a collector does not take them, and repeats what it may."""
        return self._client.export(export_request(*self._head, spans)).success


class Tracer:
    """Sends spans that have ended. It is safe to share between threads, and survives a fork."""

    def __init__(self) -> None:
        room, batch, delay = (int(os.environ.get(name, default)) for name, default in BATCHING.items())
        self._provider = TracerProvider(resource=_resource())  # it reads the sampler
        self._exporter = Exporter(self._provider.resource)
        self._queue = SpanQueue(self._exporter.send, metrics.observe_spans, room=room, batch=batch, delay=delay / 1000)
        atexit.register(self.end)

    def begin(self, given: str | None) -> str:
        """The `traceparent` of a new span below this one, or of a new trace; it says whether it is sampled."""
        generator, parent = self._provider.id_generator, None
        number = int(given[3:35], 16) if given else generator.generate_trace_id()
        if given:
            remote = SpanContext(
                number, int(given[36:52], 16), is_remote=True, trace_flags=TraceFlags(int(given[53:], 16))
            )
            parent = trace.set_span_in_context(trace.NonRecordingSpan(remote))
        sampled = self._provider.sampler.should_sample(parent, number, "").decision.is_sampled()
        return f"00-{number:032x}-{generator.generate_span_id():016x}-{sampled:02x}"

    def send(self, spans: Iterable[Span]) -> None:
        """Give spans to the thread that exports them."""
        self._queue.put(spans)

    def flush(self) -> None:
        """Send what waits now, however long that takes."""
        self._queue.flush()

    def end(self) -> None:
        """Send what waits, within seconds: a process that ends is not held up by a collector."""
        self._queue.end()
        self._exporter.shutdown()

    def follows(self, saga: Saga) -> bool:
        """Whether this saga's spans are sampled: as its trace is; the sampler says where it has none but itself."""
        given = saga.origin.traceparent
        if given:
            return bool(int(given[-1], 16) & TraceFlags.SAMPLED)
        return self.samples(saga.id)

    def samples(self, saga_id: UUID) -> bool:
        """Whether a saga that is a trace of its own is sampled: the same for every driver of it."""
        drawn = int.from_bytes(blake2b(saga_id.bytes, digest_size=16).digest())  # a UUIDv7 begins with its time
        return self._provider.sampler.should_sample(None, drawn, "").decision.is_sampled()


@cache
def tracer() -> Tracer:
    """The tracer of this process."""
    return Tracer()


def _resource() -> Resource:
    """What the environment says about this service, and a name for it where that says none."""
    named = OTELResourceDetector().detect().attributes.get("service.name")
    return Resource.create({} if named else {"service.name": SERVICE})


class RequestSpans:
    """Django's middleware: each request is a span, below its client's; what it starts is below it."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response
        self._tracer = tracer()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        watched = request.path.startswith(CONSOLE) and request.method in READS
        if watched or request.path.startswith(UNTRACED):
            return self._get_response(request)
        begin, given = time_ns(), accepted(request.META.get("HTTP_TRACEPARENT"))
        own = request.META["HTTP_TRACEPARENT"] = self._tracer.begin(given)
        response = self._get_response(request)
        if own.endswith("1"):
            self._tracer.send([_request_span(request, response, own, given, begin)])
        return response


def _request_span(request: HttpRequest, response: HttpResponse, own: str, given: str | None, begin: int) -> Span:
    """By its route, never by its path: names are few."""
    attributes = {"http.request.method": request.method, "http.response.status_code": response.status_code}
    if request.resolver_match:
        attributes["http.route"] = f"/{request.resolver_match.route}"
    name = " ".join(filter(None, (request.method, attributes.get("http.route"))))
    failure = str(response.status_code) if response.status_code >= SERVER_ERROR else None
    return Span(own[3:35], name, own[36:52], given and given[36:52], begin, time_ns(), attributes, Kind.SERVER, failure)


class TracedStore(PostgresSagaStore):
    """The store, which tells what each checkpoint ends, once it is stored."""

    def __init__(self, *given: Any, tracer: Tracer, **options: Any) -> None:
        super().__init__(*given, **options)
        self._tracer = tracer

    def create(
        self, saga: Saga, events: Sequence[SagaEvent], lease: Lease | None, request: IdempotentRequest | None
    ) -> Existing | None:
        """See `SagaStore`. A repeated request stored nothing, and shows nothing."""
        begin = time_ns()
        existing = super().create(saga, events, lease, request)
        if existing is None:
            self._tell(saga, events, begin)
        return existing

    def checkpoint(self, saga: Saga, events: Sequence[SagaEvent], lease: Lease) -> None:
        """See `SagaStore`."""
        self._told(super().checkpoint, saga, events, lease)

    def intervene(self, saga: Saga, events: Sequence[SagaEvent], now: Any) -> None:
        """See `SagaStore`."""
        self._told(super().intervene, saga, events, now)

    def _told(self, store: Callable[..., None], saga: Saga, events: Sequence[SagaEvent], how: Any) -> None:
        begin = time_ns()
        try:
            store(saga, events, how)
        except Exception as error:
            if self._tracer.follows(saga):
                self._tracer.send([not_stored(saga, events, begin, time_ns(), type(error).__name__)])
            raise
        self._tell(saga, events, begin)

    def _tell(self, saga: Saga, events: Sequence[SagaEvent], begin: int) -> None:
        if self._tracer.follows(saga):
            self._tracer.send(told(saga, events, begin, time_ns()))


class TracedInbox(Inbox):
    """The inbox; each message is a span, below its sender's; what it starts is below it."""

    def handle(self, message: Message) -> Verdict:
        """See `Inbox`."""
        begin, given = time_ns(), accepted(message.properties.get(HEADER))
        own = tracer().begin(given)
        verdict = super().handle(replace(message, properties={**message.properties, HEADER: own}))
        if own.endswith("1"):
            about = {"messaging.system": "pulsar", "messaging.destination.name": message.topic}
            about["saga.verdict"] = verdict.value
            failure = None if verdict is Verdict.DONE else verdict.value
            span = (own[3:35], f"process {message.topic}", own[36:52], given and given[36:52], begin, time_ns(), about)
            tracer().send([Span(*span, Kind.CONSUMER, failure)])
        return verdict
