# SPDX-License-Identifier: Apache-2.0
"""The metrics of the server, in the text format of Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5)
ROWS = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)


class Metrics:
    """The counters of one server."""

    def __init__(self):
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)

        def add(kind, name, help_text, labels=(), **options):
            return kind(f"deepfm_{name}", help_text, labels, registry=self.registry, **options)

        self.requests = add(
            Counter, "requests", "Inference requests by protocol and HTTP status.", ["protocol", "status"]
        )
        self.seconds = add(Histogram, "request_seconds", "Time of inference requests.", ["protocol"], buckets=SECONDS)
        self.rows = add(Counter, "rows", "Rows that were scored.")
        self.malformed_rows = add(Counter, "malformed_rows", "Rows that were refused as malformed.")
        self.rejected = add(Counter, "rejected_requests", "Requests refused for load or size, by reason.", ["reason"])
        self.batch_rows = add(Histogram, "batch_rows", "Rows of the batches that were scored.", buckets=ROWS)
        self.rows_in_flight = add(Gauge, "rows_in_flight", "Rows of the requests in progress.")
        self.body_bytes_in_flight = add(Gauge, "body_bytes_in_flight", "Bytes of the bodies in progress, as received.")
        self.packages = add(Counter, "packages", "New packages by result: loaded or refused.", ["result"])
        self.model_info = add(Gauge, "model_info", "1 for the version that is served.", ["version"])

    def count_package(self, version: str | None) -> None:
        """Count a package that is served from now on, or that was refused, None."""
        self.packages.labels("loaded" if version else "refused").inc()
        if version:
            self.model_info.clear()
            self.model_info.labels(version).set(1)

    def text(self) -> bytes:
        """Return all metrics."""
        return generate_latest(self.registry)
