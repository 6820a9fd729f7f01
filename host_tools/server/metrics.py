"""What `/metrics` shows, in Prometheus' text format. Names and labels hold nothing of any client."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
_SECONDS = (0.005, 0.02, 0.1, 0.5, 2, 10, 60)
_COUNTS = (1, 4, 16, 64, 256, 1024, 4096)


class Metrics:
    """Of one service; nothing is shared between two in one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "jiaozi_requests", "Requests answered", ("endpoint", "method", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "jiaozi_request_seconds", "From a request's first byte to its answer's last", ("endpoint",),
            buckets=_SECONDS, registry=self._registry,
        )  # fmt: skip
        self.limited = Counter(
            "jiaozi_rate_limited", "Requests refused for their number", ("by",), registry=self._registry
        )
        self.received = Counter("jiaozi_upload_bytes", "Bytes of uploads received", registry=self._registry)
        self.waiting = Gauge("jiaozi_uploads_waiting", "Whole uploads that wait to be settled", registry=self._registry)
        self.group = Histogram(
            "jiaozi_uploads_per_group", "Uploads settled together", buckets=_COUNTS, registry=self._registry
        )
        self.uploads = Counter(
            "jiaozi_uploads", "Uploads by what became of them", ("outcome",), registry=self._registry
        )
        self.records = Counter(
            "jiaozi_records", "Records accepted, and kept aside", ("outcome",), registry=self._registry
        )

    def text(self) -> bytes:
        return generate_latest(self._registry)
