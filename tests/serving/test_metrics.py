from prometheus_client.parser import text_string_to_metric_families

from mobilenetv2.serving.metrics import Metrics


def test_the_text_is_prometheus_own_and_each_server_has_figures_of_its_own() -> None:
    one, other = Metrics(), Metrics()
    one.requests.labels("/predict", "200").inc()
    one.photos.labels("shoes", "late").inc(2)
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(one.text().decode())
        for sample in family.samples
    }
    assert found["mobilenetv2_requests_total", "/predict", "200"] == 1
    assert found["mobilenetv2_photos_total", "shoes", "late"] == 2
    assert b'route="/predict"' not in other.text()
