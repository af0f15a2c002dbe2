"""What the environment says about logs and traces, and that what is off is not even loaded."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from saga_service.configuration import ConfigurationError, read
from tests.support.production import PRODUCTION

ROOT = Path(__file__).parents[2]


def faults(**changes):
    """What is said about production's environment with these changes."""
    with pytest.raises(ConfigurationError) as refused:
        read({**PRODUCTION, **changes})
    return str(refused.value).splitlines()[1:]


def test_nothing_is_traced_unless_a_collector_is_named():
    assert not read(PRODUCTION).tracing
    assert not read({**PRODUCTION, "OTEL_SERVICE_NAME": "orders"}).tracing
    assert not read(
        {**PRODUCTION, "OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}
    ).tracing
    assert not read({**PRODUCTION, "OTEL_SDK_DISABLED": "TRUE", "OTEL_TRACES_EXPORTER": "otlp"}).tracing


@pytest.mark.parametrize(
    "named",
    [
        {"OTEL_TRACES_EXPORTER": "otlp"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_SDK_DISABLED": "false"},
        {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://collector/v1/traces", "OTEL_TRACES_SAMPLER": "traceidratio"},
        {
            "OTEL_TRACES_EXPORTER": "OTLP",
            "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
            "OTEL_TRACES_SAMPLER_ARG": ".1",
        },
    ],
)
def test_an_exporter_or_its_address_turns_traces_on(named):
    assert read({**PRODUCTION, **named}).tracing


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("OTEL_TRACES_EXPORTER", "zipkin", "'zipkin' is neither otlp nor none"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "must be an http(s) URL like http://collector:4318"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "only http/protobuf is spoken here"),
        ("OTEL_TRACES_SAMPLER", "sometimes", "'sometimes' is none of always_on, "),
        ("OTEL_TRACES_SAMPLER_ARG", "1.5", "'1.5' is not a number from 0 to 1"),
        ("OTEL_BSP_SCHEDULE_DELAY", "soon", "'soon' is not a whole number above 0"),
        ("LOG_LEVELS", "saga.bus", "'saga.bus' must be logger=LEVEL"),
        ("LOG_LEVELS", "saga=INFO,saga.bus=LOUD", "'saga.bus=LOUD' must be logger=LEVEL"),
        ("LOG_FILE", "relative.log", "'relative.log' is not the absolute path of a file that this process may"),
        ("LOG_FILE", "/nowhere/saga.log", "'/nowhere/saga.log' is not the absolute path"),
        ("LOG_FILE", "/tmp", "'/tmp' is not the absolute path"),
    ],
)
def test_what_is_wrong_with_logs_and_traces_stops_the_start(name, value, said):
    ratio = {"OTEL_TRACES_SAMPLER": "traceidratio"} if name.endswith("ARG") else {}
    [fault] = faults(**{"OTEL_TRACES_EXPORTER": "otlp", **ratio, name: value})

    assert fault.strip().startswith(f"{name}: {said}")


def test_the_traces_environment_is_not_looked_at_while_they_are_off():
    assert not read({**PRODUCTION, "OTEL_TRACES_SAMPLER": "sometimes", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}).tracing


def test_each_logger_has_the_level_that_is_asked_for(tmp_path):
    found = read({**PRODUCTION, "LOG_LEVELS": "saga.bus=debug, django=INFO", "LOG_FILE": str(tmp_path / "saga.log")})

    assert found.log_levels == {"saga.bus": "DEBUG", "django": "INFO"}
    assert found.log_file == str(tmp_path / "saga.log")


def started(code, **changes):
    """What the service's settings do in a process of their own."""
    environment = {
        "PATH": os.environ["PATH"],
        **PRODUCTION,
        **changes,
        "DJANGO_SETTINGS_MODULE": "saga_service.settings",
    }
    command = [sys.executable, "-c", f"import django, logging, sys; django.setup(); {code}"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip(), done.stderr


def test_lines_go_to_the_file_and_levels_to_the_loggers(tmp_path):
    log = tmp_path / "saga.log"
    code = "logging.getLogger('saga.bus').debug('heard'); logging.getLogger('saga').debug('unheard')"
    _, errors = started(code, LOG_FILE=str(log), LOG_LEVELS="saga.bus=DEBUG,root=ERROR")

    assert errors == ""
    assert [json.loads(line)["message"] for line in log.read_text().splitlines()] == ["heard"]


def test_opentelemetry_is_not_even_imported_while_traces_are_off():
    code = "from saga_service import bootstrap; bootstrap.engine(); print({'opentelemetry', 'google'} & {*sys.modules})"

    assert started(code)[0] == "set()"
    assert "opentelemetry" in started(code, OTEL_TRACES_EXPORTER="otlp")[0]
