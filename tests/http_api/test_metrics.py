"""Metrics: requests are counted by the template of their route, and nobody is found in them."""

from fastapi import APIRouter
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import Response

from http_api.routes import Plain
from memory_tools.memory import Memory
from tests.http_api.calling import app_of, calling


def counts(text: str) -> dict[tuple[str, str, str], float]:
    """Return the requests by method, route and status."""
    [family] = [each for each in text_string_to_metric_families(text) if each.name == "usermemory_http_requests"]
    return {
        (each.labels["method"], each.labels["route"], each.labels["status"]): each.value
        for each in family.samples
        if each.name.endswith("_total")
    }


async def test_requests_are_counted_by_route_and_status(open_memory: Memory) -> None:
    async def fail(_: Request) -> Response:
        raise ValueError

    router = APIRouter(route_class=Plain)
    router.add_api_route("/fail", fail)
    async with calling(app_of(open_memory, routers=[router])) as client:
        for key in ("SECRET-1", "SECRET-2"):
            await client.put(f"/v1/items/a/{key}", json={"value": 1})
        await client.get("/v1/items/a/SECRET-3")
        await client.get("/SECRET-4")
        await client.get("/fail")
        await client.request("SECRET", "/v1/document")
        await client.get("/docs", headers={"Host": "secret-5"})
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    item = "/v1/items/{namespace}/{key}"
    assert counts(answer.text) == {
        ("PUT", item, "200"): 2,
        ("GET", item, "404"): 1,
        ("GET", "other", "404"): 1,
        ("GET", "/fail", "500"): 1,
        ("other", "/v1/document", "405"): 1,
        ("GET", "other", "421"): 1,
    }
    assert "secret" not in answer.text.lower()
    assert "usermemory_http_request_duration_seconds_bucket" in answer.text


async def test_each_app_counts_its_own(open_memory: Memory) -> None:
    async with calling(app_of(open_memory)) as client:
        await client.get("/health")
    async with calling(app_of(open_memory)) as client:
        assert counts((await client.get("/metrics")).text) == {}
