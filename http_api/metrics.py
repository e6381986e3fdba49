"""Metrics: how many requests there were and how long they took, as Prometheus reads it. Nothing of it is personal."""

from time import perf_counter
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""The methods that are counted by name."""

OTHER: Final = "other"
"""What another method, or a path that no route has, is counted as: labels come from us and never from a client."""

SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
"""Where the buckets of the durations end."""


class Metrics:
    """The figures of one app."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Counter(
            "usermemory_http_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self._durations = Histogram(
            "usermemory_http_request_duration_seconds",
            "How long requests take.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count one request."""
        key = method, route, status
        found = self._known.get(key)
        if found is None:  # to look up labels takes longer than to count
            found = self._requests.labels(method, route, str(status)), self._durations.labels(method, route)
            self._known[key] = found
        found[0].inc()
        found[1].observe(seconds)

    async def shown(self, _: Request) -> Response:
        """Answer with the figures."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


class Measured:
    """Counts every request by the template of its route."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on everything."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        status = 500

        async def begin(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, begin)
        finally:
            method = scope["method"]
            route = getattr(scope.get("route"), "path", OTHER)
            self._metrics.count(method if method in METHODS else OTHER, route, status, perf_counter() - began)
