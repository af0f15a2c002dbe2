"""The protocol's bytes, held against what OpenTelemetry's own package reads in them and writes."""

import pytest
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode

from infrastructure.otlp import export_request
from infrastructure.saga_spans import Kind, Span

TRACE, OWN, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "b7ad6b7169203331"
RESOURCE, SCOPE = Resource({"service.name": "orders", "n": 1}), InstrumentationScope("saga-orchestrator", "1.0")
PLAIN = Span(TRACE, "saga commandes", OWN, None, 1_795_258_343_507_219_000, 1_795_258_343_512_310_847, {})
ATTEMPT = PLAIN._replace(
    parent=PARENT,
    kind=Kind.CLIENT,
    attributes={
        "saga.id": "01a1fdcf-ebf4-714e-aa37-2adda0ebd29a",
        "saga.step": "reservation_stock",
        "saga.attempt": 1,
        "saga.outcome": "succeeded",
        "http.response.status_code": 201,
    },
)


def theirs(span: Span) -> ReadableSpan:
    """The same span, as the SDK has it."""
    trace = int(span.trace, 16)
    return ReadableSpan(
        span.name,
        SpanContext(trace, int(span.id, 16), is_remote=False),
        SpanContext(trace, int(span.parent, 16), is_remote=False) if span.parent else None,
        RESOURCE,
        span.attributes,
        [Event(name, timestamp=at) for name, at in span.happened],
        kind=SpanKind[span.kind.name],
        status=Status(StatusCode.ERROR, span.failure) if span.failure else Status(),
        start_time=span.begin,
        end_time=span.end,
        instrumentation_scope=SCOPE,
    )


@pytest.mark.parametrize(
    "spans",
    [
        [PLAIN],
        [ATTEMPT],
        [PLAIN, PLAIN._replace(parent=PARENT), PLAIN._replace(name="étape " + "x" * 300)],
        [PLAIN._replace(kind=kind) for kind in Kind],
        [PLAIN._replace(failure="rejected", parent=PARENT), PLAIN._replace(failure="é" * 200)],
        [PLAIN._replace(attributes={"a": "b", "saga.item": 0, "http.response.status_code": 503, "n": 2**40, "é": ""})],
        [PLAIN._replace(attributes={str(n): "x" * n for n in range(120, 135)})],
        [PLAIN._replace(happened=[("driver_replaced", 7), ("deadline_passed", 1_795_258_343_507_219_000)])],
        [PLAIN] * 500,
    ],
    ids=["plain", "an attempt", "parents and names", "kinds", "failures", "attributes", "lengths", "events", "many"],
)
def test_ours_says_what_theirs_says(spans):
    expected = encode_spans([theirs(span) for span in spans])
    [group] = expected.resource_spans
    ours = export_request(
        group.resource.SerializeToString(), group.scope_spans[0].scope.SerializeToString(), iter(spans)
    )

    assert ExportTraceServiceRequest.FromString(ours) == expected
