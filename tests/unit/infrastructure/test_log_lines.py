"""Logs: one JSON object a line, whatever is logged, with what is needed to find the saga."""

import io
import json
import logging
import logging.config
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings
from django.http import HttpResponse

from application.trace_context import joined
from interfaces.correlation import CorrelationMiddleware, about, traceparent
from tests.support.dialogue import Dialogue, step, workflow

ROOT = Path(__file__).parents[3]


@pytest.fixture
def log():
    """The service's own logging, its lines read back."""
    written = io.StringIO()
    before = logging.getLogger("saga").level, logging.getLogger().handlers[:]
    logging.config.dictConfig(settings.LOGGING)
    handler = logging.getLogger().handlers[-1]
    handler.setStream(written)
    yield logging.getLogger("saga"), lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    logging.getLogger("saga").setLevel(before[0])
    logging.getLogger().handlers[:] = before[1]


def test_a_line_has_time_level_logger_message_and_what_was_given(log):
    logger, lines = log
    logger.info("saga_started", extra={"saga_id": "s-1", "correlation_id": "c-1"})

    (line,) = lines()
    assert line.pop("time").startswith("20")
    assert line == {
        "level": "INFO", "logger": "saga", "message": "saga_started", "saga_id": "s-1", "correlation_id": "c-1",
    }  # fmt: skip


@pytest.mark.parametrize(
    "value", ['"quoted"', "two\nlines", "\x00\x1b[31m", "Café", {"a": [1, None]}, Path("/tmp"), object()]
)
def test_nothing_that_is_logged_breaks_a_line(log, value):
    logger, lines = log
    logger.warning("said %s", value, extra={"reason": value})

    (line,) = lines()
    assert line["message"] == f"said {value}"
    assert "reason" in line


def test_what_a_library_keeps_at_a_record_for_itself_is_not_told(log):
    logger, lines = log
    logger.info("said", extra={"_private": "x", "count": 1})

    (line,) = lines()
    assert line["count"] == 1
    assert "_private" not in line


def test_a_trace_is_part_of_its_line(log):
    logger, lines = log
    try:
        json.loads("{broken")
    except ValueError:
        logger.exception("failed")

    (line,) = lines()
    assert "JSONDecodeError: " in line["exc_info"]


def test_no_line_is_huge(log):
    def deeper(levels):
        return max((deeper(levels - 1) for _ in range(1)), default=0)

    logger, lines = log
    try:
        deeper(10_000)
    except RecursionError:
        logger.exception("said %s", "x" * 100_000, extra={"reason": ["y" * 100_000], "count": 7})

    (line,) = lines()
    assert all(len(part) < 10_000 for name, part in line.items() if name != "count")
    assert line["exc_info"].startswith("Traceback")
    assert line["exc_info"].splitlines()[-1].startswith("RecursionError: ")
    assert line["count"] == 7


def test_a_line_of_a_request_has_its_correlation_id_unless_it_brings_its_own(log, rf):
    logger, lines = log

    def view(request):
        logger.info("within")
        logger.info("its own", extra={"correlation_id": "other"})
        return HttpResponse()

    CorrelationMiddleware(view)(rf.get("/", headers={"X-Correlation-ID": "desk-7"}))
    logger.info("after")

    assert [line.get("correlation_id") for line in lines()] == ["desk-7", "other", None]


@pytest.mark.parametrize(
    ("given", "ids"), [(f"00-{'a' * 32}-{'b' * 16}-00", ("a" * 32, "b" * 16)), ("00-x", (None, None))]
)
def test_a_line_of_a_request_has_its_clients_trace_where_there_is_a_valid_one(log, rf, given, ids):
    logger, lines = log

    def view(_):
        logger.info("within")
        return HttpResponse(traceparent())

    CorrelationMiddleware(view)(rf.get("/", headers={"traceparent": given}))

    assert [(line.get("trace_id"), line.get("span_id")) for line in lines()] == [ids]
    assert traceparent() is None


def test_a_line_of_a_worker_about_a_saga_is_joined_with_it(log):
    logger, lines = log
    saga = Dialogue(workflow(step("a"))).saga
    with about(joined(saga)):
        logger.info("within")
    logger.info("after")

    within, after = lines()
    assert (within["saga_id"], within["correlation_id"]) == (str(saga.id), "correlation")
    assert within["trace_id"] == saga.id.hex
    assert "saga_id" not in after


WRITER = """
import logging, sys
from infrastructure.logging import JsonFormatter, SharedFile
handler = SharedFile(sys.argv[1], delay=True)
handler.setFormatter(JsonFormatter())
logging.getLogger().addHandler(handler)
for number in range(400):
    logging.getLogger().warning("%d", number, extra={"by": sys.argv[2], "long": "x" * (number % 4 * 5000)})
"""


def test_several_processes_write_one_file_while_it_is_rotated_and_no_line_is_lost_or_torn(tmp_path):
    path = tmp_path / "saga.log"
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [subprocess.Popen([*command, str(n)], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}) for n in range(3)]
    rotated = 0
    while any(writer.poll() is None for writer in writers):
        if path.exists() and path.stat().st_size > 200_000:
            rotated += 1
            path.rename(tmp_path / f"saga.log.{rotated}")

    lines = [json.loads(line) for each in tmp_path.iterdir() for line in each.read_text().splitlines()]
    assert rotated > 1
    assert sorted((line["by"], int(line["message"])) for line in lines) == [
        (str(writer), number) for writer in range(3) for number in range(400)
    ]
