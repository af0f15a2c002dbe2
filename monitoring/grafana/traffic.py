"""What goes over the wire: calls to participants, the gateway, requests to the API."""

from monitoring.grafana.panels import Panel, heat, lines, link, rows, timeline
from monitoring.grafana.queries import FAILED_CALL, SERVICE, or_none, quantile, quantiles, rate, share

CALLS = "services_externes_calls_total"
FAILED = f"{SERVICE},{FAILED_CALL}"
NO_CALL = "No call in this time range."
NO_GATEWAY = "No data: does Prometheus scrape Kong's status port?"
NO_REQUEST = "No request in this time range."
BREAKER = {"0": ("closed", "green"), "1": ("open", "red")}
HTTP = "saga_http_requests_total"


def breakers() -> str:
    """1 for each participant that is not called now."""
    seen = rate(CALLS, SERVICE, "service")
    return f"max by (service) (saga_participant_open{{{SERVICE}}}) or 0 * {seen}"


def participants() -> tuple[Panel, ...]:
    """Calls to participants, as the orchestrator sees them."""
    calls, failed = rate(CALLS, SERVICE, "service"), rate(CALLS, FAILED, "service")
    return (
        lines(
            "Calls, by participant",
            "Calls a second, retries included. Calls that rise while started sagas do not are retries.",
            "reqps",
            {"{{service}}": calls},
            stacked=True,
            empty=NO_CALL,
        ),
        lines(
            "Calls without a valid answer",
            "The share of calls that ended without the participant's own yes or no: 5xx, time-outs, refused"
            " connections, a wrong key, too many. Call the team of the participant; 401 and 403 are a wrong"
            " KONG_API_KEY.",
            "percentunit",
            {"{{service}}": share(failed, calls, by="service")},
            limits=(0.05, 0.25),
            top=1,
            empty=NO_CALL,
        ),
        timeline(
            "Circuit breakers",
            "Open: the participant did not answer several times in a row and is not called for a while; its sagas"
            " wait without using attempts. It closes by itself when the participant answers again.",
            breakers(),
            "{{service}}",
            BREAKER,
        ),
        lines(
            "Duration of calls, by participant, p95",
            "Through the gateway. A participant that grows slow holds the orchestrator's threads: see"
            " SAGA_PARTICIPANT_CALLS.",
            "s",
            {"{{service}}": quantile(0.95, "services_externes_duree_seconds", SERVICE, "service")},
            limits=(1, 5),
            empty=NO_CALL,
        ),
        lines(
            "Duration of calls, all participants",
            "Half, 95 and 99 of 100 calls took less. p99 at a call's timeout: somebody does not answer at all.",
            "s",
            quantiles("services_externes_duree_seconds", SERVICE),
            empty=NO_CALL,
        ),
        heat(
            "Duration of calls",
            "How many calls took how long. A second band far above the first is a time-out or a retry behind the"
            " gateway.",
            f"sum by (le) (increase(services_externes_duree_seconds_bucket{{{SERVICE}}}[$__rate_interval]))",
        ),
    )


def participants_now() -> tuple[Panel, ...]:
    """A row a participant, and what they answer."""
    calls, failed = (rate(CALLS, where, "service", over="$__range") for where in (SERVICE, FAILED))
    trouble = link("Sagas in trouble", "${console}/console/trouble/")
    return (
        rows(
            "Participants",
            "A row a participant, over this time range. Begin with the open breakers, then the greatest share.",
            {
                "Calls": ("reqps", calls),
                "No valid answer": ("percentunit", share(failed, calls, by="service")),
                "p50": ("s", quantile(0.5, "services_externes_duree_seconds", SERVICE, "service", over="$__range")),
                "p99": ("s", quantile(0.99, "services_externes_duree_seconds", SERVICE, "service", over="$__range")),
                "Breaker open": ("short", breakers()),
            },
            links={"service": (trouble,)},
            limits={"No valid answer": (0.05, 0.25), "Breaker open": (None, 1)},
            sort="No valid answer",
            empty=NO_CALL,
            width=16,
        ),
        lines(
            "Answers, by status",
            "HTTP status, or unavailable and unknown where there was none. 4xx but 401, 403, 408, 425 and 429 are the"
            " participant's own refusals: business, not trouble.",
            "reqps",
            {"{{statut}}": rate(CALLS, SERVICE, "statut")},
            stacked=True,
            empty=NO_CALL,
        ),
    )


def gateway() -> tuple[Panel, ...]:
    """What Kong says."""
    requests, by = "kong_http_requests_total", ("service", "code")
    return (
        lines(
            "Requests through the gateway",
            "By Kong's service; saga is the way in, the others the way to the participants. Nothing although sagas"
            " start: participants are addressed past the gateway.",
            "reqps",
            {"{{service}}": rate(requests, "", "service")},
            stacked=True,
            empty=NO_GATEWAY,
            width=6,
        ),
        lines(
            "Answered by the gateway itself",
            "401, 403: a wrong key or group. 429: a consumer over its rate. 502, 504: a participant is down or slow."
            " 503: none of its addresses is well. What no route takes (404) is not counted.",
            "reqps",
            {"{{service}} {{code}}": or_none(rate(requests, 'source!="service"', *by), *by)},
            empty=NO_GATEWAY,
            width=6,
        ),
        lines(
            "Latency at the gateway, p95",
            "kong: what the gateway adds; tens of milliseconds mean that it lacks CPU. upstream: until the"
            " participant's answer began. Compare with the calls above.",
            "ms",
            {
                "kong": quantile(0.95, "kong_kong_latency_ms", ""),
                "upstream": quantile(0.95, "kong_upstream_latency_ms", ""),
                "whole request": quantile(0.95, "kong_request_latency_ms", ""),
            },
            empty=NO_GATEWAY,
            width=6,
        ),
        lines(
            "Connections to the gateway",
            "Open now. Many more than clients and orchestrator threads together: clients that do not reuse theirs, or"
            " do not go away.",
            "short",
            {"{{instance}}": 'sum by (instance) (kong_nginx_connections_total{state="active"})'},
            empty=NO_GATEWAY,
            width=6,
        ),
    )


def routes() -> tuple[Panel, ...]:
    """Requests to the API."""
    by_route, failed = rate(HTTP, "", "route"), rate(HTTP, 'statut=~"5.."', "route")
    return (
        lines(
            "Requests, by route",
            "Requests that the service answered, a second. Polling of one route that rises: clients wait for sagas"
            " that do not end.",
            "reqps",
            {"{{route}}": by_route},
            stacked=True,
            empty=NO_REQUEST,
        ),
        lines(
            "Answers with 5xx, share by route",
            "500 is a fault of the service: look in the logs for the correlation id. 502 and 504 are participants'"
            " failures told to the client. 503: the database or a worker is missing.",
            "percentunit",
            {"{{route}}": share(failed, by_route, by="route")},
            limits=(0.01, 0.1),
            top=1,
            empty=NO_REQUEST,
        ),
        lines(
            "Duration of requests, by route, p95",
            "A start lasts as long as its saga, up to the wait budget (25 s). Any other route above a second: look at"
            " the database.",
            "s",
            {"{{route}}": quantile(0.95, "saga_http_duree_seconds", "", "route")},
            empty=NO_REQUEST,
        ),
    )
