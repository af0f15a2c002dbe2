"""What Swagger UI and ReDoc say of each route: its parameters, bodies and every status code."""

from collections.abc import Callable
from typing import Any

from django.http.response import HttpResponseBase
from drf_yasg import openapi
from drf_yasg.renderers import ReDocRenderer
from drf_yasg.utils import swagger_auto_schema

from interfaces import contracts
from interfaces.contracts import Schema

API_INFO = openapi.Info(
    title="Saga orchestrator",
    default_version="v1",
    description=(
        "Drives business transactions across services step by step, and undoes them in reverse order when a step "
        "fails. A start is answered `201` completed, `409` refused by a participant and undone, `502`/`504` failed "
        "technically and undone, `202` with `Location` when it goes on. Send `Idempotency-Key` to repeat a start "
        "safely, `Prefer: wait=N` or `Prefer: respond-async` to choose how long to wait. Every answer carries "
        "`X-Correlation-ID`."
    ),
)

_OWN_HOST_ONLY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; font-src 'self' data:; worker-src 'self' blob:"
)

_STARTED = {
    201: "Completed: every step is done",
    202: "Not finished: see `Location`, ask again after `Retry-After` seconds",
    409: "Refused by a participant; what had been done is undone",
    502: "A participant failed; what had been done is undone",
    504: "The saga's deadline passed; what had been done is undone",
}
_ANYWHERE = {406: "`Accept` allows none of the route's media types", 500: "A defect of the service; it is logged"}
_OF_BODIES = {
    408: "The body was not sent in time; nothing was done",
    411: "The body has no length, and this server does not decode chunks",
    413: "The body is too large",
    415: "The body is not application/json",
}
_FOR_CALLERS = {
    400: "The service does not answer to this `Host`",
    401: "No key, or an unknown one",
    403: "The caller has not the role for this",
}
_FROM_THE_DATABASE = {503: "The database does not answer"}
_START_HEADERS = [
    ("Idempotency-Key", "The same key and body give the first saga again; another body is refused with 422"),
    ("Prefer", "`wait=N` seconds for the end (25 unless told; at most 30 less the longest call's), or `respond-async`"),
    ("X-Correlation-ID", "Yours, carried to every participant; a new one otherwise"),
]


def to_openapi(schema: Schema) -> openapi.Schema:
    """A JSON Schema as OpenAPI 2.0 says it: no type unions, null as an extension."""
    kind = schema.get("type", "object")
    nullable = isinstance(kind, list)
    options: dict[str, Any] = {"type": kind[0] if nullable else kind}
    options |= {
        name: schema[name]
        for name in ("format", "enum", "minimum", "maximum", "description", "example")
        if name in schema
    }
    options |= {"min_items": schema["minItems"]} if "minItems" in schema else {}
    options |= {"max_items": schema["maxItems"]} if "maxItems" in schema else {}
    if "items" in schema:
        options["items"] = to_openapi(schema["items"])
    if "properties" in schema:
        options["properties"] = {name: to_openapi(part) for name, part in schema["properties"].items()}
        options["required"] = schema.get("required") or None
    if nullable:
        options["x_nullable"] = True
    return openapi.Schema(**options)


class OwnReDoc(ReDocRenderer):
    """ReDoc without its maker's logo, which it would fetch from elsewhere, telling somebody who reads here."""

    template = "saga/redoc.html"


def self_contained(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """The page, which may ask no other host."""

    def page(*arguments: Any, **options: Any) -> HttpResponseBase:
        response = view(*arguments, **options)
        response.headers["Content-Security-Policy"] = _OWN_HOST_ONLY
        return response

    return page


def _route(
    summary: str,
    tag: str,
    answers: dict[int, tuple[str, Schema | None]],
    *,
    body: Schema | None = None,
    parameters: list[openapi.Parameter] | None = None,
    public: bool = False,
    stored: bool = True,
) -> Callable[..., Any]:
    """A route's documentation. `public`: anybody may call it; `stored`: it asks the database."""
    problems = _ANYWHERE | ({} if public else _FOR_CALLERS) | (_FROM_THE_DATABASE if stored else {})
    problems |= _OF_BODIES if body else {}
    answers = {status: _problem(text) for status, text in problems.items()} | answers
    responses = {
        status: openapi.Response(text, to_openapi(shape) if shape else None)
        for status, (text, shape) in sorted(answers.items())
    }
    return swagger_auto_schema(
        operation_summary=summary,
        tags=[tag],
        responses=responses,
        request_body=to_openapi(body) if body else None,
        manual_parameters=parameters or [],
        security=[] if public else None,
    )


def _problem(text: str) -> tuple[str, Schema]:
    return text, contracts.PROBLEM


def _query(name: str, text: str, kind: str = openapi.TYPE_STRING) -> openapi.Parameter:
    return openapi.Parameter(name, openapi.IN_QUERY, description=text, type=kind)


def _start_route(
    summary: str, tag: str, shape: Schema, body: Schema | None, more: dict[int, str] | None = None
) -> Callable[..., Any]:
    answers: dict[int, tuple[str, Schema | None]] = {status: (text, shape) for status, text in _STARTED.items()}
    answers[400] = _problem("A field is wrong; nothing was stored. `errors` names every one")
    answers[422] = _problem("The Idempotency-Key was used for another request")
    answers[503] = _problem("The database does not answer; repeat with the same Idempotency-Key")
    answers |= {status: _problem(text) for status, text in (more or {}).items()}
    headers = [
        openapi.Parameter(name, openapi.IN_HEADER, description=text, type=openapi.TYPE_STRING)
        for name, text in _START_HEADERS
    ]
    return _route(summary, tag, answers, body=body, parameters=headers)


_PAGE = [_query("cursor", "`next` of the page before"), _query("limit", "1 to 200, 50 unless told", "integer")]
_NO_SAGA = {404: _problem("There is no such saga")}
_BAD_QUERY = {400: _problem("A parameter is wrong; `errors` names it")}

_TOO_OFTEN = {429: "The caller asks for cash-outs too often; `Retry-After` says for how long"}
start = _start_route(
    "Start a saga", "sagas", contracts.SAGA, contracts.START, {404: "There is no such workflow", **_TOO_OFTEN}
)
_SAGA_FILTERS = [
    _query("workflow", "Only this workflow"),
    _query("status", "Only this status"),
    _query("state", "Only this business state"),
    _query("tenant", "Only this tenant"),
    _query("correlation_id", "Only this correlation id"),
    _query("created_after", "From this time on (RFC 3339)"),
    _query("created_before", "Before this time (RFC 3339)"),
    _query("active", "`true`: not finished; `false`: finished", openapi.TYPE_BOOLEAN),
    _query("q", "A saga id, a correlation id or a business id, whole"),
    *_PAGE,
]
saga_list = _route(
    "List sagas, newest first",
    "sagas",
    {200: ("A page", contracts.SAGA_PAGE), **_BAD_QUERY},
    parameters=_SAGA_FILTERS,
)
saga_detail = _route("Show a saga", "sagas", {200: ("The saga", contracts.SAGA_DETAIL), **_NO_SAGA})
_EVENT_FILTERS = [_query("type", "Only this type"), _query("step", "Only this step"), *_PAGE]
saga_events = _route(
    "Show a saga's history, oldest first",
    "sagas",
    {200: ("A page", contracts.EVENT_PAGE), **_BAD_QUERY, **_NO_SAGA},
    parameters=_EVENT_FILTERS,
)
events = _route(
    "List all events, those of the newest saga first",
    "sagas",
    {200: ("A page", contracts.EVENT_PAGE), **_BAD_QUERY},
    parameters=_EVENT_FILTERS,
)
statistics = _route("Count sagas", "sagas", {200: ("Counts", contracts.STATISTICS)})
definition_list = _route("List workflows", "definitions", {200: ("All versions", contracts.DEFINITION_LIST)})
definition_detail = _route(
    "Show a workflow",
    "definitions",
    {200: ("The definition, its states and transitions", contracts.DEFINITION), 404: _problem("There is none")},
)
definition_diagram = _route(
    "Draw a workflow, in Mermaid's language",
    "definitions",
    {
        200: ("`text/plain`, or `text/vnd.mermaid` where `Accept` says so", None),
        404: _problem("There is none"),
    },
    parameters=[_query("of", "`states`, as unless told, or `steps`")],
)
definition_publish = _route(
    "Publish a workflow, or a new version of one",
    "definitions",
    {
        200: ("Just this is stored already, or it was only tried", contracts.DEFINITION),
        201: ("Stored; new sagas start under it within a second", contracts.DEFINITION),
        400: _problem("The body is not a JSON object, or a parameter is wrong"),
        409: _problem(
            "The version is stored with another content, and a stored version never changes; or a workflow of this "
            "name ships with the product, and `shipped` does not say that it is meant"
        ),
        422: _problem("It cannot be run safely; `errors` names every fault by its path"),
    },
    body=contracts.DEFINITION_BODY,
    parameters=[
        _query("dry_run", "`true`: only check it, store nothing", openapi.TYPE_BOOLEAN),
        _query("shipped", "`true`: a new version of a workflow that ships is meant", openapi.TYPE_BOOLEAN),
    ],
)


def _operation(summary: str, body: Schema = contracts.OPERATION) -> Callable[..., Any]:
    """A verb: `?preview=true` answers with the calls that would go out."""
    return _route(
        summary,
        "operations",
        {
            200: ("The saga; with `preview`, what would happen instead", contracts.SAGA),
            400: _problem("A field is wrong; nothing was changed"),
            409: _problem(
                "Its status does not allow it (`not_allowed`), a driver owns it now (`saga_driven`), or its `seq` is "
                "another than the expected one (`saga_moved`)"
            ),
            **_NO_SAGA,
        },
        body=body,
        parameters=[_query("preview", "`true`: only show what would happen", openapi.TYPE_BOOLEAN)],
    )


retry = _operation("Try again now: what waits, and what was given up")
skip = _operation("Take the step at which the saga stands, or its undo, as done", contracts.SKIP)
compensate = _operation("Turn back and undo what was done, also of a completed saga")
signal = _route(
    "Give a waiting saga the message that it waits for",
    "operations",
    {
        200: ("The saga, due for a worker; with `preview`, what would happen instead", contracts.SAGA),
        400: _problem("The body is no object, or a parameter is wrong; nothing was changed"),
        409: _problem(
            "The saga does not wait for this (`not_awaited`); is paused, or cannot read it, since something is missing "
            "(`not_allowed`); a driver owns it now (`saga_driven`); or its `seq` is another than the expected one "
            "(`saga_moved`)"
        ),
        **_NO_SAGA,
    },
    body=contracts.ANY_OBJECT,
    parameters=[
        _query("reason", "Why it is given by hand; kept in the saga's history, as is who gives it"),
        _query("preview", "`true`: only show what would happen", openapi.TYPE_BOOLEAN),
        _query("expected_seq", contracts.EXPECTED_SEQ["description"], openapi.TYPE_INTEGER),
    ],
)
pause = _operation("Hold the saga")
resume = _operation("Let a paused saga go on")
resolve = _operation("Declare a parked or paused saga settled by hand", contracts.RESOLVE)


def _group_operation(summary: str) -> Callable[..., Any]:
    return _route(
        summary,
        "failures",
        {
            200: ("With `preview`: how many sagas, and how long it takes", contracts.BULK_PREVIEW),
            202: ("A worker does it; `Location` tells how far it has come", contracts.BULK),
            400: _problem("A field is wrong; nothing was changed"),
            404: _problem("No live saga is in that trouble now"),
            409: _problem(
                "The same is being done already; `detail` says where. Or there are more sagas than the expected "
                "(`group_grown`)"
            ),
        },
        body=contracts.BULK_REQUEST,
        parameters=[_query("preview", "`true`: only show what would happen", openapi.TYPE_BOOLEAN)],
    )


_NO_BULK = {404: _problem("There is no such remedy")}
failures = _route("Group live sagas by what is wrong", "failures", {200: ("The groups", contracts.FAILURES)})
retry_group = _group_operation("Retry all sagas of a group")
compensate_group = _group_operation("Undo all sagas of a group")
bulk_list = _route("List bulk remedies, newest first", "failures", {200: ("The newest 50", contracts.BULK_LIST)})
bulk_detail = _route("Show a bulk remedy", "failures", {200: ("The remedy", contracts.BULK_DETAIL), **_NO_BULK})
bulk_cancel = _route("Stop a bulk remedy", "failures", {200: ("The remedy", contracts.BULK), **_NO_BULK})

_ORDER_BODY = {**contracts.COMMANDE_INPUT, "example": contracts.EXAMPLE_ORDER}
commande_start = _start_route("Start an order", "commandes", contracts.COMMANDE, _ORDER_BODY)
partner_start = _route(
    "Start the creation of a partner; a worker drives it",
    "partner_creation",
    {
        202: ("Started: `Location` tells how far it is", contracts.PARTNER_STARTED),
        400: _problem("A field is wrong; nothing was stored"),
        422: _problem("The Idempotency-Key was used for another request"),
    },
    body=contracts.PARTNER_INPUT,
    parameters=[openapi.Parameter(name, openapi.IN_HEADER, description=text, type=openapi.TYPE_STRING)
                for name, text in _START_HEADERS if name != "Prefer"],
)  # fmt: skip
partner_status = _route(
    "Show the creation of a partner", "partner_creation", {200: ("How far it is", contracts.PARTNER), **_NO_SAGA}
)
partners_active = _route(
    "List the partners that are being created",
    "partner_creation",
    {200: ("The newest 200", contracts.PARTNERS_ACTIVE)},
)
commande_failure = _start_route("Start an order that is refused for stock", "commandes", contracts.COMMANDE, None)
commande_detail = _route("Show an order", "commandes", {200: ("The order", contracts.COMMANDE), **_NO_SAGA})
commande_list = _route(
    "List orders, newest first, 200 a page",
    "commandes",
    {200: ("The orders", contracts.COMMANDE_LIST), **_BAD_QUERY},
    parameters=[
        _query("actives_seulement", "`true`: only those that are not finished", openapi.TYPE_BOOLEAN),
        _query("etat", "Only this state"),
        _query("curseur", "`suivant` of the page before"),
    ],
)
commande_info = _route("Describe the order saga", "commandes", {200: ("What it is", contracts.INFO)}, stored=False)

food_start = _start_route("Start a food order", "order_processing", contracts.FOOD_RESULT, contracts.FOOD_START)
food_status = _route(
    "Show how a food order stands", "order_processing", {200: ("The order", contracts.FOOD_STATUS), **_NO_SAGA}
)
food_compensate = _route(
    "Turn back and undo a food order, also a completed one",
    "order_processing",
    {
        200: ("It is undone already", contracts.FOOD_RESULT),
        202: ("It is being undone, by a worker: `Location` tells how it stands", contracts.FOOD_RESULT),
        400: _problem("A field is wrong; nothing was changed"),
        409: _problem("Its status does not allow it (`not_allowed`), or a driver owns it now (`saga_driven`)"),
        **_NO_SAGA,
    },
    body=contracts.FOOD_COMPENSATE,
)

# --- cash-outs


def _cashout_verb(summary: str, body: Schema) -> Callable[..., Any]:
    header = openapi.Parameter("Prefer", openapi.IN_HEADER, description="`wait=N` seconds", type=openapi.TYPE_STRING)
    answers: dict[int, tuple[str, Schema | None]] = {
        200: ("It has ended", contracts.CASHOUT),
        202: ("Not ended yet, or parked: see `Location`, ask again after `Retry-After` seconds", contracts.CASHOUT),
        400: _problem("A field is wrong; nothing was changed"),
        404: _problem("There is no such cash-out, or no such step"),
        409: _problem("Its status does not allow it (`not_allowed`), or a driver owns it now (`saga_driven`)"),
        **{status: _problem(text) for status, text in _TOO_OFTEN.items()},
    }
    return _route(summary, "cashout", answers, body=body, parameters=[header])


cashout_start = _start_route("Start a cash-out", "cashout", contracts.CASHOUT, contracts.CASHOUT_INPUT, _TOO_OFTEN)
cashout_rollback = _cashout_verb("Undo a cash-out, also a completed one, last step first", contracts.CASHOUT_ROLLBACK)
cashout_retry = _cashout_verb("Try the step again at which a cash-out stands", contracts.CASHOUT_RETRY)
cashout_status = _route(
    "Show a cash-out with every step", "cashout", {200: ("The cash-out", contracts.CASHOUT), **_NO_SAGA}
)
cashout_list = _route(
    "List cash-outs, newest first",
    "cashout",
    {200: ("A page", contracts.CASHOUT_PAGE), **_BAD_QUERY},
    parameters=_SAGA_FILTERS[1:],
)
fault_page = _route(
    "Page to have a step fail and watch, with SAGA_FAULT_INJECTION=True", "sagas", {200: ("HTML", None)}
)

live = _route("Is the process alive", "health", {200: ("It is", contracts.LIVE)}, public=True, stored=False)
ready = _route(
    "Is the service ready",
    "health",
    {200: ("It is", contracts.READY), 503: ("A part is not; it is named", contracts.READY)},
)
status = _route("What runs here", "health", {200: ("The service", contracts.SERVICE_STATUS)})
metrics = _route("Prometheus' metrics", "health", {200: ("Text format 0.0.4", None)}, stored=False)
