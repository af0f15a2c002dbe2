"""What Kong accepts and should not: the checks to run on `kong/kong.yml` before Kong sees it.

Every rule is a function that yields its faults, each saying where it is and what to do. Run it as
`python -m devstack.kong_rules kong/kong.yml docker-compose.yml`: prints the faults, exit status 1 if any.
"""

import argparse
import difflib
import re
import sys
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

from devstack.kong_file import KongFile, KongFileError, Plugin, RequestTransformerConfig, load, read
from interfaces.command_help import ending

API_KEY_HEADER = "X-API-Key"
CLEAR_HEADER = re.compile(r'kong\.service\.request\.clear_header\("(?P<name>[A-Za-z0-9_-]+)"\)')
SAFE_REGEX_PATH = re.compile(r"~(?P<literal>(?:/[A-Za-z0-9_-]+)+)\(\?:/\|\$\)")
SAFE_PLAIN_PATH = re.compile(r"(?P<literal>(?:/[A-Za-z0-9_-]+)+)/")
TIMEOUTS = ("connect_timeout", "write_timeout", "read_timeout")
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def faults(kong: Any, known_hosts: Collection[str] | None = None) -> list[str]:
    """Everything wrong with a parsed kong.yml; an empty list means that it may be used.

    `known_hosts`: the names that a service's host may have (the compose services); None leaves that rule out.
    """
    parsed, found = read(kong)
    if parsed is None:
        return found
    found = [fault for rule in RULES for fault in rule(parsed)]
    return found + list(_unknown_hosts(parsed, known_hosts)) if known_hosts is not None else found


def _format_version(kong: KongFile) -> Iterator[str]:
    if kong.format_version != "3.0":
        yield f'_format_version is {kong.format_version!r}: write "3.0", in quotes (a number is not accepted)'


def _unsafe_paths(kong: KongFile) -> Iterator[str]:
    for _, route in kong.routes():
        for path in route.paths:
            if SAFE_REGEX_PATH.fullmatch(path) or SAFE_PLAIN_PATH.fullmatch(path):
                continue
            safe = "~/" + "/".join(re.findall(r"[A-Za-z0-9_-]+", path.split("(")[0])) + "(?:/|$)"
            yield f"route {route.name}: path {path!r} {_what_is_unsafe(path)}; write {safe!r}"


def _what_is_unsafe(path: str) -> str:
    if path.startswith("~"):
        return "does not end at a segment boundary that can be checked"
    if re.search(r"[()\[\]?*+$|\\^]", path):
        return "is a regular expression without ~, which Kong takes literally"
    return f"is a prefix without a segment boundary: it matches {path + 'xyz'!r} too"


def _repeated_paths(kong: KongFile) -> Iterator[str]:
    paths = Counter(path for _, route in kong.routes() for path in route.paths)
    for path in (path for path, times in paths.items() if times > 1):
        names = ", ".join(route.name for _, route in kong.routes() if path in route.paths)
        yield f"path {path!r} is on more than one route ({names}): Kong serves one of them; keep one"


def _unknown_hosts(kong: KongFile, known_hosts: Collection[str]) -> Iterator[str]:
    for service in kong.services:
        if service.host not in known_hosts:
            close = difflib.get_close_matches(service.host, known_hosts, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(sorted(known_hosts))}"
            yield f"service {service.name}: host {service.host!r} is nobody's name; {hint}"


def _service_settings(kong: KongFile) -> Iterator[str]:
    for service in kong.services:
        if service.url is not None:
            yield f"service {service.name}: url together with host: Kong uses one silently; remove url"
        if service.retries != 0:
            yield (
                f"service {service.name}: retries is {service.retries or 'not set (Kong: 5)'}: Kong would repeat "
                "calls that have effects; write retries: 0"
            )
        for timeout in TIMEOUTS:
            if (getattr(service, timeout) or 0) <= 0:
                yield f"service {service.name}: {timeout} is not set (Kong: 60000 ms); say how long you will wait"


def _open_routes(kong: KongFile) -> Iterator[str]:
    for service, route in kong.routes():
        where = f"service {service.name}, route {route.name}"
        key_auth = service.plugin("key-auth", route, kong)
        if key_auth is None:
            yield f"{where}: no key-auth: anybody may call it; add the plugin"
        elif key_auth.key_names != [API_KEY_HEADER] or not key_auth.key_in_header:
            yield f"{where}: key-auth must read {API_KEY_HEADER} from the header; set key_names: [{API_KEY_HEADER}]"
        elif key_auth.key_in_query or key_auth.key_in_body:
            yield f"{where}: key-auth reads keys where logs keep them; set key_in_query: false and key_in_body: false"
        elif not key_auth.hide_credentials:
            yield f"{where}: key-auth shows the key to the service; set hide_credentials: true"
        if service.plugin("acl", route, kong) is None:
            yield f"{where}: no acl: any consumer may call it; add the plugin with the groups allowed"


def _groups_nobody_has(kong: KongFile) -> Iterator[str]:
    granted = {grant.group for consumer in kong.consumers for grant in consumer.acls}
    for where, plugin in _plugins(kong):
        for group in plugin.config.allow if plugin.name == "acl" else ():
            if group not in granted:
                yield f"{where}, acl: group {group!r} is granted to no consumer; grant it or remove it"


def _transformed_headers(kong: KongFile) -> Iterator[str]:
    for where, plugin in _plugins(kong):
        if isinstance(plugin.config, RequestTransformerConfig):
            added, replaced = plugin.config.add.headers, plugin.config.replace.headers
            for line in (line for line in added if line not in replaced):
                yield f"{where}: request-transformer adds {_name(line)!r}, which does not override; replace it too"
            for line in (line for line in replaced if line not in added):
                yield f"{where}: request-transformer replaces {_name(line)!r} only where a client sent it; add it too"


def _name(line: str) -> str:
    """The header's name alone: its value may be a secret and has no place in a message."""
    return line.partition(":")[0]


def _spoofable_groups(kong: KongFile) -> Iterator[str]:
    code = [line for plugin in kong.plugins if plugin.name == "pre-function" for line in plugin.config.access]
    if not any(name == "X-Consumer-Groups" for line in code for name in CLEAR_HEADER.findall(line)):
        yield (
            "global: a client's own X-Consumer-Groups reaches the services; add a pre-function with "
            'access: [kong.service.request.clear_header("X-Consumer-Groups")]'
        )


def _consumers(kong: KongFile) -> Iterator[str]:
    keys = Counter(credential.key for consumer in kong.consumers for credential in consumer.keyauth_credentials)
    for consumer in kong.consumers:
        if not UUID.fullmatch(consumer.id or ""):
            yield f"consumer {consumer.username}: no explicit id: give it a UUID of its own"
        for credential in consumer.keyauth_credentials:
            if not UUID.fullmatch(credential.id or ""):
                yield (
                    f"consumer {consumer.username}: a credential has no explicit id: X-Credential-Identifier "
                    "would change at each load; give it a UUID of its own"
                )
            if keys[credential.key] > 1:
                yield f"consumer {consumer.username}: its key is somebody else's too; keys must be unique"


def _repeated_plugins(kong: KongFile) -> Iterator[str]:
    for (where, name), times in Counter((where, plugin.name) for where, plugin in _plugins(kong)).items():
        if times > 1:
            yield f"{where}: plugin {name} is there {times} times: Kong keeps one; merge them"


def _plugins(kong: KongFile) -> Iterator[tuple[str, Plugin]]:
    for plugin in kong.plugins:
        yield "global", plugin
    for service in kong.services:
        for plugin in service.plugins:
            yield f"service {service.name}", plugin
    for service, route in kong.routes():
        for plugin in route.plugins:
            yield f"service {service.name}, route {route.name}", plugin


RULES: tuple[Callable[[KongFile], Iterator[str]], ...] = (
    _format_version,
    _unsafe_paths,
    _repeated_paths,
    _service_settings,
    _open_routes,
    _groups_nobody_has,
    _transformed_headers,
    _spoofable_groups,
    _consumers,
    _repeated_plugins,
)


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m devstack.kong_rules",
        description="Check a Kong configuration for what Kong itself lets pass.",
        **ending(
            "python -m devstack.kong_rules kong/kong.yml docker-compose.yml",
            exits="0 no fault, 1 faults (each on a line), 2 wrong usage",
        ),
    )
    made.add_argument("kong", type=Path, help="the declarative configuration, kong/kong.yml")
    made.add_argument("compose", type=Path, help="the compose file whose services are the hosts there are")
    return made


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        found = faults(load(options.kong), set(load(options.compose)["services"]))
    except KongFileError as error:
        found = [str(error)]
    for fault in found:
        print(fault)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
