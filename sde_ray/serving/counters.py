"""Counters: what the server has done, in the text format of Prometheus."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
BATCH = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Counters:
    """Of one server. `waiting`: tells the texts in the queue."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        registry = self._registry = CollectorRegistry()
        self._requests = Counter("sde_requests", "Requests by path and status.", ["path", "status"], registry=registry)
        self._seconds = Histogram("sde_request_seconds", "Seconds of a request.", registry=registry, buckets=SECONDS)
        self._texts = Counter("sde_texts", "Texts that were answered.", registry=registry)
        self._batch = Histogram(
            "sde_batch_texts", "Texts that were decoded together.", registry=registry, buckets=BATCH
        )
        Gauge("sde_waiting_texts", "Texts in the queue.", registry=registry).set_function(waiting)

    def request(self, path: str, status: int, seconds: float) -> None:
        """A request has ended. `path`: one of the server's own, else many strange ones would be counted."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.observe(seconds)

    def batch(self, texts: int) -> None:
        """So many texts are decoded together."""
        self._texts.inc(texts)
        self._batch.observe(texts)

    def exposition(self) -> bytes:
        """The page that Prometheus reads."""
        return generate_latest(self._registry)
