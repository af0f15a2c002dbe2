"""The part of Kong's declarative configuration that this project uses, as strict types.

Kong refuses any key that it does not know, and so does `read`: what is not in these types is a fault, whether
Kong has never heard of it or this project merely does not use it. A larger subset starts with a line here, then
in the rules (`kong_rules`) and in the development gateway (`gateway_conf`).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml


class KongFileError(ValueError):
    """A Kong configuration that must not be used; the message lists every fault, one a line."""


class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class KeyAuthConfig(Strict):
    key_names: list[str]
    key_in_header: bool = True
    key_in_query: bool = True
    key_in_body: bool = False
    hide_credentials: bool = False


class AclConfig(Strict):
    allow: list[str]


class RateLimitingConfig(Strict):
    minute: int
    limit_by: Literal["consumer"] = "consumer"
    policy: Literal["local"] = "local"


class CorrelationIdConfig(Strict):
    header_name: str
    generator: Literal["uuid"]
    echo_downstream: bool = False


class PreFunctionConfig(Strict):
    access: list[str]


class HeaderLines(Strict):
    headers: list[str] = []


class RequestTransformerConfig(Strict):
    replace: HeaderLines = HeaderLines()
    add: HeaderLines = HeaderLines()


class PrometheusConfig(Strict):
    per_consumer: bool = False
    status_code_metrics: bool = False
    latency_metrics: bool = False
    bandwidth_metrics: bool = False
    upstream_health_metrics: bool = False


PLUGIN_CONFIGS: dict[str, type[Strict]] = {
    "pre-function": PreFunctionConfig,
    "correlation-id": CorrelationIdConfig,
    "key-auth": KeyAuthConfig,
    "acl": AclConfig,
    "rate-limiting": RateLimitingConfig,
    "request-transformer": RequestTransformerConfig,
    "prometheus": PrometheusConfig,
}


class Plugin(Strict):
    name: str
    config: Any = None


class Route(Strict):
    name: str
    paths: list[str]
    strip_path: bool = True
    preserve_host: bool = False
    plugins: list[Any] = []


class Service(Strict):
    name: str
    host: str
    port: int = 80
    protocol: Literal["http"] = "http"
    url: str | None = None
    retries: int | None = None
    connect_timeout: int | None = None
    write_timeout: int | None = None
    read_timeout: int | None = None
    routes: list[Any] = []
    plugins: list[Any] = []

    def plugin(self, name: str, route: Route, kong: "KongFile") -> Any:
        """The configuration of a plugin as a request on this route meets it, or None.

        Kong runs a plugin once a request: the route's over the service's over the global one.
        """
        for plugins in (route.plugins, self.plugins, kong.plugins):
            for plugin in plugins:
                if plugin.name == name:
                    return plugin.config
        return None


class Credential(Strict):
    key: str
    id: str | None = None


class Group(Strict):
    group: str


class Consumer(Strict):
    username: str
    id: str | None = None
    custom_id: str | None = None
    keyauth_credentials: list[Credential] = []
    acls: list[Group] = []


class KongFile(Strict):
    format_version: Any = msgspec.field(name="_format_version", default=None)
    services: list[Any] = []
    consumers: list[Any] = []
    plugins: list[Any] = []

    def routes(self) -> Iterator[tuple[Service, Route]]:
        for service in self.services:
            for route in service.routes:
                yield service, route


def load(path: Path) -> Any:
    """The YAML file's content; a fault of syntax names the line."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise KongFileError(f"{path}: not readable as YAML: {error}") from error


def read(raw: Any) -> tuple[KongFile | None, list[str]]:
    """The configuration as types, or None and every place where it does not fit them."""
    faults: list[str] = []
    kong = _part(raw, KongFile, "the file", faults)
    if kong is None:
        return None, faults
    kong = msgspec.structs.replace(
        kong,
        plugins=_plugins(kong.plugins, "global", faults),
        services=_present(_service(part, faults) for part in kong.services),
        consumers=_present(_part(part, Consumer, _label("consumer", part), faults) for part in kong.consumers),
    )
    return (None, faults) if faults else (kong, [])


def _service(raw: Any, faults: list[str]) -> Service | None:
    where = _label("service", raw)
    service = _part(raw, Service, where, faults)
    if service is None:
        return None
    return msgspec.structs.replace(
        service,
        routes=_present(_route(part, where, faults) for part in service.routes),
        plugins=_plugins(service.plugins, where, faults),
    )


def _route(raw: Any, service: str, faults: list[str]) -> Route | None:
    where = f"{service}, {_label('route', raw)}"
    route = _part(raw, Route, where, faults)
    return route and msgspec.structs.replace(route, plugins=_plugins(route.plugins, where, faults))


def _plugins(raw: list[Any], where: str, faults: list[str]) -> list[Plugin]:
    return _present(_plugin(part, where, faults) for part in raw)


def _plugin(raw: Any, where: str, faults: list[str]) -> Plugin | None:
    where = f"{where}, {_label('plugin', raw)}"
    plugin = _part(raw, Plugin, where, faults)
    if plugin is None:
        return None
    if plugin.name not in PLUGIN_CONFIGS:
        faults.append(f"{where}: this project does not implement that plugin; known: {', '.join(PLUGIN_CONFIGS)}")
        return None
    config = _part(plugin.config or {}, PLUGIN_CONFIGS[plugin.name], where, faults)
    return config and msgspec.structs.replace(plugin, config=config)


def _part(raw: Any, kind: type[Any], where: str, faults: list[str]) -> Any:
    try:
        return msgspec.convert(raw, kind)
    except msgspec.ValidationError as error:
        keys = ", ".join(field.encode_name for field in msgspec.structs.fields(kind))
        faults.append(f"{where}: {error}; correct or remove it (keys known here: {keys})")
        return None


def _label(kind: str, raw: Any) -> str:
    named = raw if isinstance(raw, Mapping) else {}
    return f"{kind} {named.get('name') or named.get('username') or '(unnamed)'}"


def _present(parts: Iterator[Any]) -> list[Any]:
    return [part for part in parts if part is not None]
