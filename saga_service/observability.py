"""What the environment says about logs and traces, checked at the start."""

import logging
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

SAMPLERS: Final = {
    name: ratio
    for kind, ratio in (("always_on", False), ("always_off", False), ("traceidratio", True))
    for name in (kind, f"parentbased_{kind}")
}
"""What `OTEL_TRACES_SAMPLER` may be, and whether `OTEL_TRACES_SAMPLER_ARG` is its ratio."""
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
WHOLE_NUMBERS: Final = ("OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "OTEL_BSP_SCHEDULE_DELAY")


def tracing(environment: Mapping[str, str], faults: list[str]) -> bool:
    """Whether traces are sent: once an exporter, or the address of a collector, is given."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    addressed = any(environment.get(name) for name in ENDPOINTS)
    exporter = environment.get("OTEL_TRACES_EXPORTER", "").strip().lower() or ("otlp" if addressed else "none")
    if exporter == "none":
        return False
    if exporter != "otlp":
        faults.append(f"OTEL_TRACES_EXPORTER: {exporter!r} is neither otlp nor none")
    _check_transport(environment, faults)
    _check_sampler(environment, faults)
    _check_batches(environment, faults)
    return True


def _check_transport(environment: Mapping[str, str], faults: list[str]) -> None:
    words = "only http/protobuf is spoken here (a collector listens for it on port 4318)"
    spoken = {None, "", "http/protobuf"}
    faults += [f"{name}: {words}" for name in PROTOCOLS if environment.get(name) not in spoken]
    addresses = {name: environment[name] for name in ENDPOINTS if environment.get(name)}
    wrong = [name for name, value in addresses.items() if not _is_url(value)]
    faults += [f"{name}: must be an http(s) URL like http://collector:4318" for name in wrong]


def _check_sampler(environment: Mapping[str, str], faults: list[str]) -> None:
    sampler = environment.get("OTEL_TRACES_SAMPLER", "").strip().lower()
    if sampler and sampler not in SAMPLERS:
        faults.append(f"OTEL_TRACES_SAMPLER: {sampler!r} is none of {', '.join(SAMPLERS)}")
    ratio = environment.get("OTEL_TRACES_SAMPLER_ARG", "")
    if SAMPLERS.get(sampler) and ratio and not 0 <= _float(ratio) <= 1:
        faults.append(f"OTEL_TRACES_SAMPLER_ARG: {ratio!r} is not a number from 0 to 1")


def _check_batches(environment: Mapping[str, str], faults: list[str]) -> None:
    for name in WHOLE_NUMBERS:
        value = environment.get(name)
        if value is not None and not (value.isdecimal() and int(value)):
            faults.append(f"{name}: {value!r} is not a whole number above 0")


def levels(environment: Mapping[str, str], faults: list[str]) -> dict[str, str]:
    """`LOG_LEVELS`: the level of each logger that is named there, `saga.bus=DEBUG,django=INFO`."""
    known, found = logging.getLevelNamesMapping(), {}
    for entry in filter(None, (part.strip() for part in environment.get("LOG_LEVELS", "").split(","))):
        name, _, level = (part.strip() for part in entry.partition("="))
        found[name] = level.upper()
        if not name or level.upper() not in known:
            faults.append(f"LOG_LEVELS: {entry!r} must be logger=LEVEL, LEVEL one of {', '.join(known)}")
    return found


def log_file(environment: Mapping[str, str], faults: list[str]) -> str | None:
    """`LOG_FILE`: where log lines go instead of to standard error."""
    value = environment.get("LOG_FILE") or None
    if value is None:
        return None
    path = Path(value)
    writable = os.access(path, os.W_OK) if path.exists() else os.access(path.parent, os.W_OK)
    if not path.is_absolute() or path.is_dir() or not path.parent.is_dir() or not writable:
        faults.append(f"LOG_FILE: {value!r} is not the absolute path of a file that this process may write to")
    return value


def _is_url(value: str) -> bool:
    try:
        parts = urlsplit(value)
        return bool(parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0)
    except ValueError:
        return False


def _float(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        return math.nan
