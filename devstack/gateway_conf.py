"""From Kong's declarative configuration to an nginx configuration that answers as Kong 3.9.3 does.

Keys, consumers and groups become nginx maps, a route becomes a location, a service an upstream. Everything that
comes from the file passes `quoted` or `pattern`, which refuse what could end an nginx string.
"""

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from devstack.gateway_routes import NO_ROUTE, address, correlation_of, list_name, location
from devstack.kong_file import KongFile, KongFileError
from devstack.kong_rules import API_KEY_HEADER, CLEAR_HEADER
from devstack.nginx_text import answer, header_name, pattern, quoted

KONG = "kong/3.9.3"
BODY_LIMIT = "8m"
# What Kong says for what nginx itself finds wrong with a request or an upstream.
ERRORS = {
    400: "Bad request",
    413: "Payload too large",
    414: "URI too long",
    494: "Request header or cookie too large",
    500: "An unexpected error occurred",
    502: "An invalid response was received from the upstream server",
    504: "The upstream server is timing out",
}
TEMPORARY_PATHS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@dataclass(frozen=True, kw_only=True)
class Gateway:
    """What the command line says besides the Kong file."""

    listen: str
    status_listen: str
    run_dir: Path
    resolve: Mapping[str, str]  # "host:port" as in the Kong file -> "address:port"


def nginx_conf(kong: KongFile, gateway: Gateway) -> str:
    """The whole nginx configuration. Raises KongFileError for what this gateway does not implement."""
    _refuse_unimplemented(kong, gateway)
    blocks = [_process(gateway), "http {", *_http(gateway), *_credentials(kong), *_upstreams(kong, gateway)]
    blocks += ["server {", *_server(kong, gateway), *_errors()]
    ordered = sorted(
        ((service, route, path) for service, route in kong.routes() for path in route.paths),
        key=lambda found: (not found[2].startswith("~"), -len(found[2])),  # regular expressions first, then the longer
    )
    for service, route, path in ordered:
        blocks.append(location(kong, service, route, path, resolved=address(service) in gateway.resolve))
    blocks += ["}", _status_server(kong, gateway), "}", ""]
    return "\n".join(blocks)


def _refuse_unimplemented(kong: KongFile, gateway: Gateway) -> None:
    for plugin in kong.plugins:
        for line in plugin.config.access if plugin.name == "pre-function" else ():
            if not re.fullmatch(rf"\s*(?:{CLEAR_HEADER.pattern}\s*;?\s*)+", line):
                raise KongFileError(f"pre-function: only kong.service.request.clear_header(...) is known, not {line!r}")
    for place in (*kong.services, *(route for _, route in kong.routes())):
        for name in ("pre-function", "correlation-id", "prometheus"):
            if any(plugin.name == name for plugin in place.plugins):
                raise KongFileError(f"{place.name}: the development gateway knows {name} as a global plugin only")
    hosts = {address(service) for service in kong.services}
    if unknown := sorted(set(gateway.resolve) - hosts):
        raise KongFileError(f"--resolve {unknown[0]}: no service has that host and port; known: {sorted(hosts)}")


def _process(gateway: Gateway) -> str:
    """One process, no master: whatever ends it leaves nothing behind."""
    return f"""daemon off;
master_process off;
error_log stderr error;
pid {quoted(gateway.run_dir / "nginx.pid")};
events {{ worker_connections 4096; }}"""


def _http(gateway: Gateway) -> Iterator[str]:
    yield from (f"{name}_temp_path {quoted(gateway.run_dir / name)};" for name in TEMPORARY_PATHS)
    yield f"""js_path {quoted(Path(__file__).parent)};
js_import rates from gateway_rates.js;
js_import metrics from gateway_metrics.js;
js_shared_dict_zone zone=rates:1m timeout=2m type=number evict;
js_shared_dict_zone zone=metrics:4m type=number;
js_set $kong_counted metrics.count nocache;
js_set $kong_over rates.over;
js_var $kong_rate_limit;
js_var $kong_rate_remaining;
js_var $kong_rate_reset;
js_var $kong_retry_after;
access_log off;
server_tokens off;
variables_hash_max_size 4096;
merge_slashes off;
uninitialized_variable_warn off;
default_type "application/json; charset=utf-8";
keepalive_requests 100000;
client_max_body_size {BODY_LIMIT};
client_body_buffer_size {BODY_LIMIT};
map $request_id $kong_uuid {{
    "~^(?<u1>.{{8}})(?<u2>.{{4}}).(?<u3>.{{3}}).(?<u4>.{{3}})(?<u5>.{{12}})$" "$u1-$u2-4$u3-a$u4-$u5";
}}
map $upstream_status $kong_via {{ "" ""; default "1.1 {KONG}"; }}
map $upstream_http_server $kong_server {{ "" "{KONG}"; default $upstream_http_server; }}
map $http_via $kong_upstream_via {{ "" "1.1 {KONG}"; default "$http_via, 1.1 {KONG}"; }}
map $request_uri $kong_path {{ "~^(?<raw_path>[^?]*)" $raw_path; }}"""
    yield _milliseconds("$request_time", "$kong_total_ms")
    yield _milliseconds("$kong_started", "$kong_started_ms")
    yield _milliseconds("$upstream_header_time", "$kong_upstream_ms")
    yield """map $upstream_status $kong_response_latency { "" $kong_total_ms; default ""; }
map $upstream_status $kong_proxy_latency { "" ""; default $kong_started_ms; }"""


def _milliseconds(seconds: str, milliseconds: str) -> str:
    """From nginx's seconds in seconds (0.012) to the whole milliseconds of Kong's headers (12)."""
    return rf"""map {seconds} {milliseconds} {{
    default "";
    "~^0\.0{{0,2}}(?<ms>\d+)$" $ms;
    "~^(?<s>[1-9]\d*)\.(?<ms>\d+)$" "$s$ms";
}}"""


def _credentials(kong: KongFile) -> Iterator[str]:
    """From the key to the credential and its consumer.

    The patterns are case-sensitive where nginx's plain map entries are not. nginx joins a repeated header
    with a comma, so a comma, which no key may hold, says that the header came twice.
    """
    owners = [(consumer, credential) for consumer in kong.consumers for credential in consumer.keyauth_credentials]
    if any("," in credential.key or not credential.key.strip() for _, credential in owners):
        raise KongFileError("a consumer's key is empty or holds a comma, which would be read as two headers")
    header = API_KEY_HEADER.lower().replace("-", "_")
    yield _map(
        f"$http_{header}",
        "$kong_credential",
        {
            "default": "unknown",
            '""': "missing",
            '"~,"': "duplicate",
            **{pattern(credential.key): quoted(credential.id) for _, credential in owners},
        },
    )
    yield """map $kong_credential $kong_refusal {
    default "";
    missing "No API key found in request";
    unknown "Unauthorized";
    duplicate "Duplicate API key found";
}
map $kong_refusal $kong_authenticate { "" ""; default "Key"; }"""
    for name in ("id", "username", "custom_id"):
        yield _map(
            "$kong_credential",
            f"$kong_consumer_{name}",
            {quoted(credential.id): quoted(getattr(consumer, name) or "") for consumer, credential in owners},
        )
    groups = {quoted(mine.id): quoted(", ".join(grant.group for grant in who.acls)) for who, mine in owners}
    yield _map("$kong_credential", "$kong_consumer_groups", groups)
    for name, allowed in _access_lists(kong).items():
        yield _map(
            "$kong_credential",
            f"$kong_allowed_{name}",
            {quoted(mine.id): "1" for who, mine in owners if allowed & {grant.group for grant in who.acls}},
        )


def _map(source: str, target: str, entries: Mapping[str, str]) -> str:
    lines = "\n".join(f"    {key} {value};" for key, value in {"default": '""', **entries}.items())
    return f"map {source} {target} {{\n{lines}\n}}"


def _access_lists(kong: KongFile) -> dict[str, set[str]]:
    """The groups allowed on each route, under a name that can stand in an nginx variable."""
    lists = (service.plugin("acl", route, kong).allow for service, route in kong.routes())
    return {list_name(allow): set(allow) for allow in lists}


def _upstreams(kong: KongFile, gateway: Gateway) -> Iterator[str]:
    for number, service in enumerate(kong.services):
        if target := gateway.resolve.get(address(service)):
            yield f"upstream service_{number} {{ server {quoted(target)}; keepalive 128; keepalive_timeout 60s; }}"


def _server(kong: KongFile, gateway: Gateway) -> Iterator[str]:
    headers = {
        "X-Kong-Request-Id": "$request_id",
        "X-Kong-Response-Latency": "$kong_response_latency",
        "X-Kong-Proxy-Latency": "$kong_proxy_latency",
        "X-Kong-Upstream-Latency": "$kong_upstream_ms",
        "Via": "$kong_via",
        "WWW-Authenticate": "$kong_www_authenticate",
        "Retry-After": "$kong_retry_after",
        "RateLimit-Limit": "$kong_rate_limit",
        "RateLimit-Remaining": "$kong_rate_remaining",
        "RateLimit-Reset": "$kong_rate_reset",
        "X-RateLimit-Limit-Minute": "$kong_rate_limit",
        "X-RateLimit-Remaining-Minute": "$kong_rate_remaining",
    }
    yield f"listen {quoted(gateway.listen)};"
    yield "set $kong_started $request_time;"
    yield from (f'set {name} "";' for name in ("$kong_www_authenticate", "$kong_echo", "$kong_target", "$kong_prefix"))
    yield 'set $kong_service "";'
    if measured := _measured(kong):
        yield f"set $kong_measured {quoted(measured)};"
        yield "access_log /dev/null combined if=$kong_counted;"
    yield from (f'add_header {name} "{value}" always;' for name, value in headers.items())
    yield 'more_set_headers "Server: $kong_server";'
    if (correlation := correlation_of(kong)) and correlation.echo_downstream:
        yield f'more_set_headers "{header_name(correlation.header_name)}: $kong_echo";'
    yield f"location / {{ {answer(404, NO_ROUTE)} }}"


def _measured(kong: KongFile) -> str | None:
    """What the prometheus plugin measures; None without it."""
    config = next((plugin.config for plugin in kong.plugins if plugin.name == "prometheus"), None)
    if config is None:
        return None
    measured = {
        "status": config.status_code_metrics,
        "consumer": config.per_consumer,
        "latency": config.latency_metrics,
        "bandwidth": config.bandwidth_metrics,
    }
    return " ".join(["requests", *(name for name, wanted in measured.items() if wanted)])


def _errors() -> Iterator[str]:
    for status, message in ERRORS.items():
        yield f"error_page {status} = @kong_{status};"
        yield f"location @kong_{status} {{ {answer(status if status != 494 else 400, message)} }}"  # noqa: PLR2004 nginx's own number


def _status_server(kong: KongFile, gateway: Gateway) -> str:
    digest = hashlib.sha256(repr(kong).encode()).hexdigest()[:32]
    port = gateway.listen.rpartition(":")[2]
    metrics = "js_content metrics.tell;" if _measured(kong) is not None else "return 404;"
    return f"""server {{
    listen {quoted(gateway.status_listen)};
    set $kong_port {port};
    set $kong_version {KONG.partition("/")[2]};
    location = /metrics {{ {metrics} }}
    location = /status {{ return 200 '{{"configuration_hash":"{digest}"}}'; }}
    location = /status/ready {{ return 200 '{{"message":"ready"}}'; }}
    location / {{ return 404 '{{"message":"Not found"}}'; }}
}}"""
