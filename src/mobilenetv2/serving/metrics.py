"""Metrics of a server for Prometheus.

One process answers all requests, so that the figures are those of the whole server, however many
processes compute.
"""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
"""Upper bounds of the histograms of seconds."""
SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters, gauges and histograms of one server, in a registry of their own."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "mobilenetv2_requests", "Answered requests, by route and status.",
            ("route", "status"), registry=self.registry,
        )  # fmt: skip
        self.seconds = Histogram(
            "mobilenetv2_request_seconds", "Seconds from a request's head to its answer.",
            ("route",), buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.photos = Counter(
            "mobilenetv2_photos",
            "Photos by model and outcome: answered, refused (no picture, or damaged), late (at the "
            "deadline), dropped (the caller left), lost (a process died), full (429).",
            ("model", "outcome"), registry=self.registry,
        )  # fmt: skip
        self.computing = Histogram(
            "mobilenetv2_group_seconds", "Seconds that a process takes for a group of photos.",
            ("model",), buckets=SECONDS, registry=self.registry,
        )  # fmt: skip
        self.groups = Histogram(
            "mobilenetv2_group_photos", "Photos that are computed together.", ("model",),
            buckets=SIZES, registry=self.registry,
        )  # fmt: skip
        self.waiting = Gauge(
            "mobilenetv2_waiting_photos", "Photos that wait for a process.", registry=self.registry
        )
        self.places = Gauge(
            "mobilenetv2_admitted_photos", "Photos that were admitted and have no answer yet.",
            registry=self.registry,
        )  # fmt: skip
        self.ready = Gauge(
            "mobilenetv2_ready_processes", "Processes that can compute.", registry=self.registry
        )
        self.restarts = Counter(
            "mobilenetv2_process_restarts", "Processes that died and were replaced.",
            registry=self.registry,
        )  # fmt: skip

    def text(self) -> bytes:
        """Return all figures as Prometheus reads them."""
        return generate_latest(self.registry)
