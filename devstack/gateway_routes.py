"""One path of a Kong route as an nginx location: the plugins in Kong's order of priority, then the upstream."""

import hashlib
import re
from collections.abc import Iterator
from typing import Any

from devstack.kong_file import CorrelationIdConfig, KongFile, KongFileError, Route, Service
from devstack.kong_rules import API_KEY_HEADER, CLEAR_HEADER, SAFE_PLAIN_PATH, SAFE_REGEX_PATH
from devstack.nginx_text import answer, header_name, plain, quoted

NO_ROUTE = "no Route matched with those values"


def location(kong: KongFile, service: Service, route: Route, path: str, *, resolved: bool) -> str:
    found = SAFE_REGEX_PATH.fullmatch(path) or SAFE_PLAIN_PATH.fullmatch(path)
    if found is None:
        raise KongFileError(f"route {route.name}: path {path!r} is of a form that the gateway does not know")
    literal = re.escape(found["literal"])
    boundary = r"(?:/|(?=\?|$))" if path.startswith("~") else "/"
    allowed = "$kong_allowed_" + list_name(service.plugin("acl", route, kong).allow)
    kept = "$request_uri" if not route.strip_path else "/$kong_rest"
    lines = [
        # nginx chose the location by the decoded path; what is sent on is the path as it came. Both must agree.
        f'if ($request_uri ~ "^(?<kong_matched>{literal}{boundary})(?<kong_rest>.*)$") {{',
        f'    set $kong_target "{kept}";',
        "}",
        f'if ($kong_target = "") {{ {answer(404, NO_ROUTE)} }}',
        f"set $kong_service {quoted(service.name)};",
        f"set $kong_route {quoted(route.name)};",
        *_correlate(kong),
        "set $kong_www_authenticate $kong_authenticate;",
        f"if ($kong_refusal) {{ {answer(401, '$kong_refusal')} }}",
        f'if ({allowed} = "") {{ {answer(403, "You cannot consume this service")} }}',
        *_rate_limit(kong, service, route),
        *(_proxy(kong, service, route) if resolved else [answer(503, "name resolution failed")]),
    ]
    start = f"^{literal}(?:/|$)" if path.startswith("~") else f"^{literal}/"
    return f'location ~ "{start}" {{\n    ' + "\n    ".join(lines) + "\n}"


def address(service: Service) -> str:
    return f"{service.host}:{service.port}"


def list_name(allow: list[str]) -> str:
    return hashlib.sha256("\n".join(sorted(allow)).encode()).hexdigest()[:12]


def correlation_of(kong: KongFile) -> CorrelationIdConfig | None:
    return next((plugin.config for plugin in kong.plugins if plugin.name == "correlation-id"), None)


def _correlate(kong: KongFile) -> Iterator[str]:
    """The client's correlation id or a new UUID, on the way up and back down."""
    if (config := correlation_of(kong)) is not None:
        yield f"set $kong_echo $http_{header_name(config.header_name).lower().replace('-', '_')};"
        yield 'if ($kong_echo = "") { set $kong_echo $kong_uuid; }'


def _rate_limit(kong: KongFile, service: Service, route: Route) -> Iterator[str]:
    """Counted where Kong counts: after key and groups, so that refusals cost nothing."""
    if (config := service.plugin("rate-limiting", route, kong)) is None:
        return
    scope = next(name for name, place in _scopes(kong, service, route) if config in place)
    yield f"set $kong_rate_scope {quoted(scope)};"
    yield f"set $kong_rate_minute {config.minute};"
    yield f"if ($kong_over) {{ {answer(429, 'API rate limit exceeded')} }}"


def _scopes(kong: KongFile, service: Service, route: Route) -> Iterator[tuple[str, list[Any]]]:
    """One counter for each place where the plugin stands."""
    places = ((f"route {route.name}", route), (f"service {service.name}", service), ("global", kong))
    return ((name, [plugin.config for plugin in place.plugins]) for name, place in places)


def _proxy(kong: KongFile, service: Service, route: Route) -> Iterator[str]:
    host = "$http_host" if route.preserve_host else plain(address(service))
    headers = {name: "" for plugin in kong.plugins for name in _cleared(plugin)} | {
        "Host": host,
        "Connection": "",
        API_KEY_HEADER: "",
        "X-Consumer-ID": "$kong_consumer_id",
        "X-Consumer-Username": "$kong_consumer_username",
        "X-Consumer-Custom-ID": "$kong_consumer_custom_id",
        "X-Consumer-Groups": "$kong_consumer_groups",
        "X-Credential-Identifier": "$kong_credential",
        "X-Anonymous-Consumer": "",
        "X-Real-IP": "$remote_addr",
        "X-Forwarded-For": "$proxy_add_x_forwarded_for",
        "X-Forwarded-Proto": "$scheme",
        "X-Forwarded-Host": "$host",
        "X-Forwarded-Port": "$server_port",
        "X-Forwarded-Path": "$kong_path",
        "X-Forwarded-Prefix": "$kong_matched" if route.strip_path else "",
        "X-Kong-Request-Id": "$request_id",
        "Via": "$kong_upstream_via",
    }
    if (correlation := correlation_of(kong)) is not None:
        headers[header_name(correlation.header_name)] = "$kong_echo"
    yield from (f'proxy_set_header {name} "{value}";' for name, value in headers.items())
    if (transformer := service.plugin("request-transformer", route, kong)) is not None:
        for line in transformer.replace.headers:
            name, _, value = line.partition(":")
            yield f"proxy_set_header {header_name(name)} {quoted(value)};"
    yield from (
        "proxy_http_version 1.1;",
        "proxy_next_upstream off;",  # retries: 0: what may be repeated is the orchestrator's to know
        "proxy_pass_header Server;",
        "proxy_pass_header Date;",
        "proxy_redirect off;",
        "proxy_buffer_size 32k;",
        "proxy_buffers 8 32k;",
        "proxy_busy_buffers_size 64k;",
        "proxy_max_temp_file_size 0;",
        f"proxy_connect_timeout {service.connect_timeout}ms;",
        f"proxy_send_timeout {service.write_timeout}ms;",
        f"proxy_read_timeout {service.read_timeout}ms;",
        f"proxy_pass http://service_{kong.services.index(service)}$kong_target;",
    )


def _cleared(plugin: Any) -> list[str]:
    lines = plugin.config.access if plugin.name == "pre-function" else ()
    return [header_name(name) for line in lines for name in CLEAR_HEADER.findall(line)]
