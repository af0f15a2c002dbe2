"""What the real Prometheus gets from the real stack: every target answers, and the numbers are the product's."""

import pytest

from tests.support.metrics_page import published

ONLY_IN_TROUBLE = {"saga_topic_failures_total"}
"""Of a topic that could not be listened to."""
BY_WORKFLOW = 'sum by (workflow, statut) (saga_statut_current{statut="STUCK"}) > 0'


def test_every_target_of_the_committed_configuration_is_scraped(prometheus):
    jobs = {each["metric"]["job"] for each in prometheus.found("max_over_time(up[30s]) == 1")}

    assert jobs == {"saga-orchestrator", "saga-worker", "kong", "postgres"}
    assert prometheus.found("pg_up == 1")


@pytest.mark.parametrize("name", sorted(published().keys() - ONLY_IN_TROUBLE))
def test_each_documented_metric_has_samples(prometheus, name):
    found = f"{name}_count" if published()[name][1] == "histogram" else name
    assert prometheus.found(f"count({found}) > 0"), name


def test_parked_sagas_and_what_they_owe_are_told_by_workflow(prometheus):
    parked = prometheus.found(BY_WORKFLOW)
    assert {each["metric"]["workflow"] for each in parked} == {"commandes", "flight_booking"}

    debts = prometheus.found("sum by (workflow, service) (saga_undo_debt_current) > 0")
    assert {(each["metric"]["workflow"], each["metric"]["service"]) for each in debts} == {
        ("commandes", "inventaire"),
        ("flight_booking", "payments"),
        ("flight_booking", "loyalty"),
        ("flight_booking", "flights"),
    }


def test_the_gateway_counts_the_orchestrators_calls_and_its_clients(prometheus):
    called = prometheus.found('sum by (service) (kong_http_requests_total{source="service"})')

    assert {"saga", "inventaire", "payments", "integraciones"} <= {each["metric"]["service"] for each in called}
    assert prometheus.found("histogram_quantile(0.95, sum by (le) (rate(kong_request_latency_ms_bucket[1m]))) > 0")


def test_a_scrape_of_the_service_comes_long_before_its_timeout(prometheus):
    took = prometheus.found('quantile_over_time(0.5, scrape_duration_seconds{job="saga-orchestrator"}[30s])')

    assert took[0]["value"] < 0.25
