import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.metrics import Metrics

METRICS = [
    ("requests", "satcle_requests", "counter", {"route", "method", "status"}),
    ("request_duration", "satcle_request_duration_seconds", "histogram", {"route"}),
    ("points", "satcle_points", "counter", {"model", "source"}),
    ("queue_points", "satcle_queue_points", "gauge", set()),
    ("queue_wait", "satcle_queue_wait_seconds", "histogram", set()),
    ("batch_points", "satcle_batch_points", "histogram", set()),
    ("inference", "satcle_inference_seconds", "histogram", {"model", "provider"}),
    ("rejected", "satcle_rejected", "counter", {"reason"}),
    ("cache_hits", "satcle_cache_hits", "counter", {"tier"}),
    ("cache_misses", "satcle_cache_misses", "counter", {"tier"}),
    ("cache_errors", "satcle_cache_errors", "counter", {"tier"}),
    ("cache_breaker_open", "satcle_cache_breaker_open", "gauge", {"model", "operation"}),
    ("models_loaded", "satcle_models_loaded", "gauge", set()),
    ("model_loads", "satcle_model_loads", "counter", {"model", "result"}),
    ("model_unloads", "satcle_model_unloads", "counter", set()),
    ("build_info", "satcle_build_info", "gauge", {"version", "python"}),
    ("provider_info", "satcle_provider_info", "gauge", {"model", "provider"}),
]


def touch(metric, labels):
    child = metric.labels(**dict.fromkeys(labels, "x")) if labels else metric
    (child.inc if hasattr(child, "inc") else child.observe)(1)


def families(metrics):
    return {family.name: family for family in text_string_to_metric_families(metrics.exposition()[0].decode())}


@pytest.mark.parametrize(("attribute", "name", "kind", "labels"), METRICS)
def test_each_metric_has_its_documented_name_kind_and_labels(attribute, name, kind, labels):
    metrics = Metrics()
    touch(getattr(metrics, attribute), labels)
    family = families(metrics)[name]
    assert family.type == kind
    assert {label for sample in family.samples for label in sample.labels} - {"le"} == labels


def test_every_metric_is_in_the_table():
    attributes = {name for name in vars(Metrics()) if not name.startswith("_")}
    assert attributes == {attribute for attribute, *_ in METRICS}


def test_a_counter_is_scraped_under_its_total():
    metrics = Metrics()
    metrics.rejected.labels("queue_full").inc()
    assert b'satcle_rejected_total{reason="queue_full"} 1.0' in metrics.exposition()[0]


def test_two_apps_in_one_process_count_apart():
    one, other = Metrics(), Metrics()
    one.queue_points.inc(5)
    assert families(one)["satcle_queue_points"].samples[0].value == 5
    assert families(other)["satcle_queue_points"].samples[0].value == 0


def test_the_media_type_is_the_one_that_prometheus_reads():
    assert Metrics().exposition()[1].startswith("text/plain; version=0.0.4")
