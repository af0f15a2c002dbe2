"""The environment is read once, and what is wrong in it stops the start in words that never repeat a secret."""

import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg2
import pytest

from saga_service import configuration
from saga_service.configuration import CONNECTION_OPTIONS, SERVICES, ConfigurationError, database_settings, read
from tests.support.production import PRODUCTION

ROOT = Path(__file__).parents[2]
SECRETS = {
    "SECRET_KEY": configuration.EXAMPLE_SECRET_KEY,
    "KONG_API_KEY": configuration.EXAMPLE_API_KEY,
    "GATEWAY_SHARED_SECRET": configuration.EXAMPLE_GATEWAY_SECRET,
}


def faults(**changes):
    """What is said about production's environment with these changes; None takes a variable away."""
    environment = {name: value for name, value in {**PRODUCTION, **changes}.items() if value is not None}
    with pytest.raises(ConfigurationError) as refused:
        read(environment)
    assert "s3cret" not in str(refused.value)
    return str(refused.value).splitlines()[1:]


def test_development_needs_nothing():
    found = read({"DEBUG": "True"})

    assert (found.gateway_url, found.gateway_key) == ("http://localhost:8080", "magasin-secret-key-2025")
    assert (found.saga_timeout, found.max_retries, found.log_level) == (30.0, 3, "INFO")
    assert (found.allowed_hosts, found.api_keys, found.database) == (("*",), (), None)
    assert found.services == {name: f"http://localhost:8080/api/{name}" for name in SERVICES}


def test_production_is_what_was_set():
    found = read({**PRODUCTION, "SAGA_TIMEOUT": "12.5", "MAX_RETRIES": "0", "LOG_LEVEL": "debug"})

    assert not found.debug
    assert (found.saga_timeout, found.max_retries, found.log_level) == (12.5, 0, "DEBUG")
    assert (found.secret_key, found.gateway_key) == ("s3cret-of-django", "s3cret-of-the-gateway")


def test_a_configuration_shows_no_secret():
    shown = repr(read({**PRODUCTION, "SAGA_API_KEYS": "desk:saga-client:s3cret-0123456789"}))

    assert "s3cret" not in shown


@pytest.mark.parametrize("name", SECRETS)
def test_without_debug_a_missing_secret_stops_the_start(name):
    for missing in (None, ""):
        assert faults(**{name: missing}) == [f"  {name}: set it; there is a default only with DEBUG=True"]


@pytest.mark.parametrize("name", SECRETS)
def test_without_debug_an_example_secret_stops_the_start(name):
    (fault,) = faults(**{name: SECRETS[name]})

    assert fault.startswith(f"  {name}: the example value is public")
    assert SECRETS[name] not in fault


@pytest.mark.parametrize("name", SECRETS)
def test_without_debug_a_secret_that_can_be_guessed_stops_the_start(name):
    assert faults(**{name: "x" * 15}) == [f"  {name}: 16 characters at least, so that nobody guesses it"]
    read({**PRODUCTION, name: "x" * 16})
    read({"DEBUG": "True", name: "x"})


@pytest.mark.parametrize("name", SECRETS)
@pytest.mark.parametrize(
    "value", ["s3cret-of-a-key-\n", " s3cret-of-a-key-", "s3cret of a key-", "s3cret-d-une-clé", "s3cret-of-a-\0key"]
)
def test_a_secret_that_no_header_can_carry_stops_the_start(name, value):
    (fault,) = faults(**{name: value})

    assert fault.startswith(f"  {name}: only visible ASCII")


def test_a_wrong_gateway_is_one_fault_and_not_one_for_each_service_behind_it():
    (fault,) = faults(KONG_GATEWAY_URL="localhost:8080")

    assert fault.startswith("  KONG_GATEWAY_URL: ")


def test_every_fault_is_named_at_once():
    assert len(faults(**dict.fromkeys(PRODUCTION))) == len(PRODUCTION)


@pytest.mark.parametrize("name", ["ALLOWED_HOSTS", "DATABASE_URL"])
def test_production_says_whom_it_serves_and_where_it_stores(name):
    (fault,) = faults(**{name: None})

    assert fault.startswith(f"  {name}: ")


@pytest.mark.parametrize("text", ["True", "true", "1", "yes", "on", " TRUE "])
def test_debug_is_true_in_any_of_its_words(text):
    assert read({"DEBUG": text}).debug


@pytest.mark.parametrize("text", ["False", "0", "no", "off", ""])
def test_debug_is_false_in_any_of_its_words(text):
    assert not read({**PRODUCTION, "DEBUG": text}).debug


def test_debug_is_nothing_else():
    assert faults(DEBUG="ture") == ["  DEBUG: 'ture' is neither True nor False"]


@pytest.mark.parametrize("name", ["KONG_GATEWAY_URL", *SERVICES.values()])
@pytest.mark.parametrize(
    "url",
    [
        "kong:8080", "ftp://kong", "http://", "http://kong:port", "http://kong:99999", "http://[::1", "http://kong/?a=b",
        "http://kong/#a", "http://user:s3cret@kong", "http://ko ng", "//kong",
    ],
)  # fmt: skip
def test_an_address_that_is_none_stops_the_start(name, url):
    assert faults(**{name: url})[0].startswith(f"  {name}: ")


@pytest.mark.parametrize(("name", "variable"), SERVICES.items())
def test_a_service_can_be_reached_elsewhere_than_through_the_gateway(name, variable):
    found = read({**PRODUCTION, "KONG_GATEWAY_URL": "http://kong:8080/", variable: "https://elsewhere:8443/base/"})

    assert found.services[name] == "https://elsewhere:8443/base"
    assert {url for other, url in found.services.items() if other != name} == {
        f"http://kong:8080/api/{other}" for other in SERVICES if other != name
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("SAGA_TIMEOUT", value) for value in ("0", "-1", "0.5", "86401", "nan", "inf", "30s")),
        *(("MAX_RETRIES", value) for value in ("-1", "2.5", "three", "1e9", "nan")),
        *(("LOG_LEVEL", value) for value in ("VERBOSE", "10")),
    ],
)
def test_a_number_or_level_out_of_its_range_stops_the_start(name, value):
    (fault,) = faults(**{name: value})

    assert fault.startswith(f"  {name}: ")


@pytest.mark.parametrize(
    "url", ["pulsar://pulsar:6650", "pulsar+ssl://a.example:6651", "pulsar://a:6650,b:6650", "pulsar://[::1]:6650", ""]
)
def test_a_broker_is_a_pulsar_url_or_none(url):
    assert read({**PRODUCTION, "BROKER_URL": url}).broker_url == url
    assert not read(PRODUCTION).broker_url


@pytest.mark.parametrize("url", ["pulsar:6650", "http://pulsar:8080", "pulsar://pulsar", "pulsar://s3cret@pulsar:6650"])
def test_a_broker_that_is_none_stops_the_start(url):
    (fault,) = faults(BROKER_URL=url)

    assert fault.startswith("  BROKER_URL: must be pulsar://host:port")


TRIGGER = '[{"topic": "wanted", "workflow": "commandes", "input": {"client_id": "${message.client}"}}]'


def test_a_trigger_may_say_for_which_messages_it_is():
    text = TRIGGER.replace('"input"', '"when": "${message.paid}", "input"')
    assert read({**PRODUCTION, "SAGA_TRIGGERS": text}).triggers[0]["when"] == "${message.paid}"


def test_messages_that_start_sagas_are_named_as_json():
    (trigger,) = read({**PRODUCTION, "SAGA_TRIGGERS": TRIGGER}).triggers
    assert (trigger["topic"], trigger["workflow"]) == ("wanted", "commandes")
    assert read(PRODUCTION).triggers == ()


@pytest.mark.parametrize(
    "text",
    [
        TRIGGER.replace('"input"', '"when": "x ${message}", "input"'),
        "{",
        "[1]",
        '[{"topic": "t"}]',
        TRIGGER.replace("wanted", ""),
        TRIGGER.replace("${message", "${mess age"),
    ],
)
def test_a_trigger_that_is_none_stops_the_start(text):
    (fault,) = faults(SAGA_TRIGGERS=text)
    assert fault.startswith("  SAGA_TRIGGERS: must be JSON like")


@pytest.mark.parametrize("topic", ["a/b", "a:b", "persistent://a", "http://a/b/c", "a/b/c/d", "x" * 201, 7])
def test_a_trigger_of_a_topic_that_no_broker_has_stops_the_start(topic):
    (fault,) = faults(SAGA_TRIGGERS=TRIGGER.replace('"wanted"', json.dumps(topic)))
    assert fault.startswith(f"  SAGA_TRIGGERS: the topic {topic!r} must be name, tenant/namespace/name or")


def test_hosts_are_separated_by_commas_and_spaces():
    assert read({**PRODUCTION, "ALLOWED_HOSTS": "a.example, b.example,"}).allowed_hosts == ("a.example", "b.example")


def test_own_keys_are_name_role_and_key():
    desk, boss = read(
        {**PRODUCTION, "SAGA_API_KEYS": "desk:saga-client:0123456789abcdef, boss:saga-admin:with:colons:0123456789"}
    ).api_keys

    assert (desk.name, desk.role, desk.key) == ("desk", "saga-client", "0123456789abcdef")
    assert (boss.name, boss.role, boss.key) == ("boss", "saga-admin", "with:colons:0123456789")


@pytest.mark.parametrize(
    "entry",
    [
        "s3cret-0123456789abcdef", "desk:s3cret-0123456789abcdef", "desk:saga-client:s3cret",
        ":saga-client:s3cret-0123456789", "desk:saga-king:s3cret-0123456789", "desk:saga-client:s3cret-clé-0123456789",
    ],
)  # fmt: skip
def test_an_own_key_that_is_none_is_named_by_its_place(entry):
    (fault,) = faults(SAGA_API_KEYS=f"fine:saga-reader:s3cret-0123456789,{entry}")

    assert fault.startswith("  SAGA_API_KEYS: entry 2 must be name:role:key")


def test_the_example_key_is_nobodys_own_without_debug():
    assert "public example" in faults(SAGA_API_KEYS=f"desk:saga-client:{configuration.EXAMPLE_API_KEY}")[0]


def test_a_database_url_says_everything():
    found = database_settings("postgresql://sa%40ga:p%2Fw@db.example:5439/sa%20ga?sslmode=require&connect_timeout=7")

    assert found == {
        "HOST": "db.example",
        "PORT": "5439",
        "NAME": "sa ga",
        "USER": "sa@ga",
        "PASSWORD": "p/w",
        "OPTIONS": {**CONNECTION_OPTIONS, "sslmode": "require", "connect_timeout": "7"},
    }


@pytest.mark.parametrize(
    "url",
    ["mysql://saga:s3cret@db/saga", "postgresql://saga:s3cret@db", "postgresql://saga:s3cret@db:port/saga", "saga",
     "postgresql://saga:s3cret@db:99999/saga", "postgresql://[::1/saga", "postgresql://saga:s3/cret@db/saga"],
)  # fmt: skip
def test_a_database_url_that_is_none_stops_the_start(url):
    (fault,) = faults(DATABASE_URL=url)

    assert fault.startswith("  DATABASE_URL: must be postgresql://")


def test_a_database_in_parts_has_the_published_defaults():
    found = read({**PRODUCTION, "DATABASE_URL": "", "DB_HOST": "db"}).database

    assert found == {
        "HOST": "db", "PORT": "5432", "NAME": "saga", "USER": "saga", "PASSWORD": "", "OPTIONS": CONNECTION_OPTIONS,
    }  # fmt: skip
    assert faults(DATABASE_URL=None, DB_HOST="db", DB_PORT="s")[0].startswith("  DB_PORT: ")


def test_a_database_that_does_not_say_a_word_is_given_up_before_a_lease_is_over():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"postgresql://saga@127.0.0.1:{silent.getsockname()[1]}/saga"
        options = database_settings(url)["OPTIONS"]
        began = time.monotonic()
        with pytest.raises(psycopg2.OperationalError, match="timeout expired"):
            psycopg2.connect(url, **options)

    assert time.monotonic() - began < 5
    gone_after = options["keepalives_idle"] + options["keepalives_interval"] * options["keepalives_count"]
    assert max(gone_after, options["tcp_user_timeout"] / 1000) + options["connect_timeout"] < 20


def run(*command, **environment):
    environment = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=30, check=False
    )


@pytest.mark.parametrize(
    "command",
    [
        ["manage.py", "check"],
        ["manage.py", "saga_worker"],
        ["-m", "gunicorn", "saga_service.wsgi:application", "--config", "saga_service/gunicorn_conf.py"],
    ],
    ids=["check", "worker", "server"],
)
def test_no_process_starts_with_an_example_secret_and_says_just_that(command):
    ended = run(*command, **{**PRODUCTION, "KONG_API_KEY": configuration.EXAMPLE_API_KEY})

    assert ended.returncode != 0
    assert ended.stderr.splitlines() == [
        "The environment is wrong:",
        "  KONG_API_KEY: the example value is public; choose another (or DEBUG=True for development)",
    ]
    assert "s3cret" not in ended.stdout


@pytest.mark.parametrize("command", [["help"], ["saga_worker", "--help"], ["migrate", "-h"]])
def test_help_needs_neither_secrets_nor_a_database(command):
    ended = run("manage.py", *command)

    assert ended.returncode == 0, ended.stderr
    assert command[0] in ended.stdout


@pytest.mark.parametrize(
    "what", [["lint", "fixtures/loan.json"], ["export", "fixtures/loan.json"], ["diff", *["fixtures/loan.json"] * 2]]
)
def test_workflow_files_are_judged_with_neither_secrets_nor_a_database(what):
    ended = run("manage.py", "saga_definitions", *what)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_what_is_wrong_in_a_workflow_file_is_told_without_a_database(tmp_path):
    file = tmp_path / "x.json"
    content = (ROOT / "fixtures" / "partner_creation.json").read_text()
    file.write_text(content.replace('"name": "partner_creation"', '"name": "x"').replace('"topic": "', '"topic": "a//'))

    ended = run("manage.py", "saga_definitions", "lint", str(file))

    assert ended.returncode == 1
    assert "publish.topic: 'a//" in ended.stderr


@pytest.mark.parametrize("what", [["lint"], ["lint", "loan"], ["diff", "fixtures/loan.json"], ["list"]])
def test_what_is_stored_needs_the_environment(what):
    assert run("manage.py", "saga_definitions", *what).stderr.startswith("The environment is wrong:")


WRONG_WORKFLOW = """
import django; django.setup()
from domain.exceptions import DefinitionChanged
from saga_service import bootstrap
def start():
    raise DefinitionChanged("commandes version 1 was changed")
bootstrap.start = start
import saga_service.wsgi
"""


def test_a_workflow_that_is_wrong_stops_the_server_with_a_sentence():
    ended = run("-c", WRONG_WORKFLOW, **PRODUCTION, DJANGO_SETTINGS_MODULE="saga_service.settings")

    assert ended.returncode == 3, "gunicorn's word for a worker that need not be tried again"
    (line,) = ended.stderr.splitlines()
    assert '"reason":"commandes version 1 was changed"' in line


def test_fault_injection_and_the_booking_log_are_off_unless_they_are_asked_for(tmp_path):
    assert (read({"DEBUG": "True"}).fault_injection, read({"DEBUG": "True"}).log_directory) == (False, None)
    found = read({"DEBUG": "True", "SAGA_FAULT_INJECTION": "True", "SAGA_LOG_DIRECTORY": str(tmp_path)})
    assert (found.fault_injection, found.log_directory) == (True, str(tmp_path))
    assert not found.log_correlation
    assert read({**PRODUCTION, "SAGA_LOG_CORRELATION": "True"}).log_correlation


def test_fault_injection_stops_the_start_of_a_production():
    (fault,) = faults(SAGA_FAULT_INJECTION="True")

    assert fault.startswith("  SAGA_FAULT_INJECTION: only with DEBUG=True")


def test_a_log_directory_that_cannot_be_written_to_stops_the_start(tmp_path):
    (fault,) = faults(SAGA_LOG_DIRECTORY=str(tmp_path / "nowhere"))

    assert fault.startswith("  SAGA_LOG_DIRECTORY: ")


@pytest.mark.parametrize("counted", ["True", "False"])
def test_no_request_passes_what_counts_requests_where_nothing_is_counted(counted):
    told = "from django.conf import settings; print(*settings.MIDDLEWARE)"
    environment = {
        **os.environ,
        **PRODUCTION,
        "SAGA_METRICS": counted,
        "DJANGO_SETTINGS_MODULE": "saga_service.settings",
    }
    done = subprocess.run(
        [sys.executable, "-c", told], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )

    assert ("infrastructure.request_metrics.RequestMetrics" in done.stdout) is (counted == "True")
