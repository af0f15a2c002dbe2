"""The arithmetic and the wiring of a comparison; that it runs is shown by running it (docs/benchmark.md)."""

from argparse import Namespace
from pathlib import Path

import pytest

from devstack import bench_pair
from devstack.bench import BenchError
from devstack.bench_pair import Cost, kinds, report, scraped
from tests.support.waiting import until

HERE = {"SAGA_METRICS", "LOG_LEVEL", "OTEL_SDK_DISABLED"}


def options(**chosen):
    return Namespace(**{"telling": False, "tracing": False, "checkout": None, "alike": False, **chosen})


def test_a_ratio_is_of_the_orchestrators_alone_or_with_what_serves_both():
    cost = Cost(first=4.0, second=5.0, shared=1.0)
    assert (cost.of_service, cost.of_all) == (1.25, 1.2)


def test_both_orders_of_a_start_are_one_cost():
    assert Cost.mean([Cost(4, 5, 1), Cost(6, 5, 2)]) == Cost(5, 5, 1.5)


def test_the_report_has_the_medians_and_the_quartiles():
    found = [Cost(first=4.0, second=4.0 * ratio, shared=0.0) for ratio in (1.0, 1.1, 1.2, 1.3, 1.4)]
    alone = report(found).splitlines()[1].split()
    assert alone[-5:] == ["4.00", "1.200", "1.050", "to", "1.350"]
    assert "1.200   1.200 to 1.200" in report(found[2:3])


def test_what_the_environment_of_the_command_says_decides_nothing():
    for chosen in ({"telling": True}, {"tracing": True}, {"alike": True}, {"checkout": Path("/before")}):
        assert all(set(kind.environment) >= HERE for kind in kinds(options(**chosen), "http://collector"))


def test_telling_is_metrics_that_are_scraped_and_log_lines_against_neither():
    silent, told = kinds(options(telling=True), "")
    assert (silent.environment["SAGA_METRICS"], silent.environment["LOG_LEVEL"], silent.scraped) == (
        "False", "CRITICAL", False,
    )  # fmt: skip
    assert (told.environment["SAGA_METRICS"], told.environment["LOG_LEVEL"], told.scraped) == ("True", "INFO", True)


def test_only_the_second_is_traced():
    first, second = kinds(options(tracing=True), "http://collector")
    assert first.environment["OTEL_SDK_DISABLED"] == "true"
    assert second.environment["OTEL_SDK_DISABLED"] == "false"
    assert second.environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector"


def test_a_scrape_without_an_answer_voids_the_measurement(monkeypatch):
    monkeypatch.setattr(bench_pair, "SECONDS_BETWEEN_SCRAPES", 0.001)
    asked = []
    monkeypatch.setattr(bench_pair, "answers", lambda url: asked.append(url) or len(asked) != 2)
    one = Namespace(scraped=True, metrics="http://here/metrics/")
    with pytest.raises(BenchError, match="scraped"), scraped(one):
        until(lambda: len(asked) >= 3, "three scrapes")


def test_telling_is_measured_for_a_scrape_at_least(capsys):
    with pytest.raises(SystemExit):
        bench_pair.main(["--telling", "--seconds", "4"])
    assert "--seconds 4 is shorter than a scrape's 5" in capsys.readouterr().err
