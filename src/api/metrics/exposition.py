"""Figures -> the text that Prometheus reads. `docs/operations.md` lists the metrics."""

from collections.abc import Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from src.api.metrics.figures import BOUNDS_S, Figures, Series, summed

GAUGES = {
    "database_pool_size": "The most connections (on SQLite: threads that read) that a worker may use at once",
    "database_pool_connections": "Connections to PostgreSQL that are open",
    "database_pool_in_use": "Connections (on SQLite: threads that read) that a request uses now",
    "database_pool_waiting": "Requests that wait for one of them",
    "database_exports_running": "Exports that run, each on a connection of its own",
    "sqlite_writer_waiting": "Writes that wait for the worker's SQLite writer",
    "sqlite_wal_bytes": "Size of SQLite's write-ahead log, which all workers share",
    "process_resident_memory_bytes": "Memory of a worker",
    "process_open_fds": "Files, sockets and pipes that a worker has open",
    "process_start_time_seconds": "When a worker began to serve, in seconds since 1970",
}
BOUNDS = [*(str(bound) for bound in BOUNDS_S), "+Inf"]


def expose(figures: Mapping[int, Figures], about: Mapping[str, str]) -> bytes:
    """Write the figures of all workers, by their numbers, in the text format that every version of Prometheus reads."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Once(figures, about))
    return generate_latest(registry)


class _Once(Collector):
    """What prometheus-client asks for metrics."""

    def __init__(self, figures: Mapping[int, Figures], about: Mapping[str, str]) -> None:
        self._figures = figures
        self._about = about

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from _request_metrics(summed(self._figures.values()))
        for name, text in GAUGES.items():
            yield _gauge(name, text, self._figures)
        cpu_s = sum(each.cpu_s for each in self._figures.values())
        yield CounterMetricFamily("process_cpu_seconds", "Time on a processor of all workers so far", cpu_s)
        yield _info(self._about)


def _request_metrics(series: list[Series]) -> Iterator[Metric]:
    requests = CounterMetricFamily("http_requests", "Requests", labels=["method", "route", "code"])
    sent = CounterMetricFamily("http_response_body_bytes", "Bytes of bodies sent", labels=["method", "route", "code"])
    durations = HistogramMetricFamily(
        "http_request_duration_seconds", "Time until an answer was sent", labels=["method", "route", "status"]
    )
    classes: dict[tuple[str, str, str], tuple[list[int], float]] = {}
    for one in series:
        method, route, status = one.kind
        labels = [method, route, f"{status:03}"]
        requests.add_metric(labels, sum(one.counts))
        sent.add_metric(labels, one.bytes_sent)
        status_class = f"{status // 100}xx" if status else "none"
        counts, seconds = classes.get((method, route, status_class), ([0] * len(BOUNDS), 0.0))
        counts = [count + more for count, more in zip(counts, one.counts, strict=True)]
        classes[method, route, status_class] = counts, seconds + one.seconds
    for key, (counts, seconds) in classes.items():
        durations.add_metric(list(key), list(zip(BOUNDS, accumulate(counts), strict=True)), seconds)
    yield from (requests, durations, sent)


def _gauge(name: str, text: str, figures: Mapping[int, Figures]) -> Metric:
    """One gauge per worker: what is full is one worker's pool, not the sum of all."""
    gauge = GaugeMetricFamily(name, text, labels=["worker"])
    for number, each in sorted(figures.items()):
        if name in each.gauges:
            gauge.add_metric([str(number)], each.gauges[name])
    return gauge


def _info(about: Mapping[str, str]) -> Metric:
    info = GaugeMetricFamily("backendapi_info", "The version of the service", labels=list(about))
    info.add_metric(list(about.values()), 1)
    return info
