"""``python -m participants <service>`` runs one reference service; ``--help`` lists them."""

import argparse
import importlib
import os
import pkgutil

import participants
from participants.server import MEMORY, Options, Server
from participants.service import Service


def services() -> dict[str, Service]:
    """Every module of this package that declares a ``SERVICE``, by the service's name."""
    names = [module.name for module in pkgutil.iter_modules(participants.__path__) if module.name != "__main__"]
    modules = [importlib.import_module(f"participants.{name}") for name in names]
    found = [module.SERVICE for module in modules if hasattr(module, "SERVICE")]
    return {service.name: service for service in sorted(found, key=lambda service: service.port)}


def parser(known: dict[str, Service]) -> argparse.ArgumentParser:
    ports = ", ".join(f"{service.name} {service.port}" for service in known.values())
    made = argparse.ArgumentParser(
        prog="python -m participants",
        description="Run one reference business service over HTTP, on a SQLite database of its own.",
        epilog=f"Default ports: {ports}. GET / of a running service lists its routes.",
    )
    made.add_argument("service", choices=known, help="which service to run")
    made.add_argument("--host", default="127.0.0.1", help="address to listen on (default %(default)s)")
    made.add_argument("--port", type=int, help="port to listen on (default: the service's own, see below)")
    made.add_argument(
        "--database",
        help=f"SQLite file, made and seeded if missing (default .data/<service>.sqlite3); "
        f"{MEMORY} is a temporary file that goes when the service stops",
    )
    made.add_argument(
        "--broker",
        default=os.environ.get("BROKER_URL") or None,
        help="pulsar://host:port, for services that send or listen to messages (default: BROKER_URL, or none)",
    )
    made.add_argument("--threads", type=int, default=16, help="calls handled at once (default %(default)s)")
    made.add_argument("--faults", action="store_true", help="let POST /_faults script faults; for tests only")
    made.add_argument("--access-log", action="store_true", help="write one JSON line a request to standard output")
    return made


def main() -> None:
    known = services()
    arguments = parser(known).parse_args()
    service = known[arguments.service]
    options = Options(
        host=arguments.host,
        port=arguments.port or service.port,
        database=arguments.database or f".data/{service.name}.sqlite3",
        threads=arguments.threads,
        faults=arguments.faults,
        access_log=arguments.access_log,
        broker=arguments.broker,
    )
    Server(service, options).run()


if __name__ == "__main__":
    main()
