"""Counts and times of a server, as Prometheus reads them."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

MEDIA_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_PICTURES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """What is counted. Each server has its own; names of paths that do not exist are not among them."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self.requests = Counter(
            'denseclip_requests', 'Requests that were answered', ['path', 'status'], registry=self._registry
        )
        self.seconds = Histogram(
            'denseclip_request_seconds',
            'From the first byte to the answer',
            ['path'],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.batches = Histogram(
            'denseclip_batch_pictures', 'Pictures that ran together', buckets=_PICTURES, registry=self._registry
        )
        self.present = Gauge('denseclip_requests_present', 'Requests that are in work or wait', registry=self._registry)

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)
