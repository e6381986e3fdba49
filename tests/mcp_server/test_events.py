from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import anyio
import httpx
import pytest
from mcp import Client
from mcp.client.subscriptions import ResourceUpdated, Subscription, ToolsListChanged
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.shared.exceptions import MCPError
from mcp_types import CallToolResult

from mcp_server import create_app, create_server, events
from mcp_server.events import STREAMS, changed, streaming
from mcp_server.places import DOCUMENT, HISTORY, item_uri
from memory_tools.access import Principal, Scope
from memory_tools.memory import Memory, UserMemory
from memory_tools.operations import CATALOG
from tests.mcp_server.conftest import UNPACED
from tests.mcp_server.serving import MODERN, Caller, Held, bearer, connected, holder, request, served, served_to

PATIENCE: Final = 20.0
"""Seconds after which an event does not come any more."""

PLACES: Final = [DOCUMENT, HISTORY, *(item_uri("prefs", key) for key in ("tone", "tea", "end"))]


@pytest.fixture
def open_memory() -> Iterator[Memory]:
    with Memory.open("sqlite://", through="mcp") as opened:
        yield opened


def people() -> dict[str, Principal]:
    """Return who holds which token."""
    return {"ada": holder("ada"), "bob": holder("bob"), "writer": holder("ada", [Scope.WRITE])}


@asynccontextmanager
async def listening(url: str, token: str, **headers: str) -> AsyncIterator[tuple[Client, Subscription]]:
    """Connect as the holder of a token and listen to the same places as everybody else."""
    async with (
        connected(url, MODERN, **bearer(token), **headers) as client,
        client.listen(resource_subscriptions=PLACES) as subscription,
    ):
        yield client, subscription


async def heard(client: Client, subscription: Subscription) -> set[str]:
    """Return the places that were told of until now: those before one that the listener itself has changed last."""
    await client.call_tool("set_memory_item", {"namespace": "prefs", "key": "end", "value": 1})
    told = set()
    with anyio.fail_after(PATIENCE):
        async for event in subscription:
            assert isinstance(event, ResourceUpdated)
            if event.uri == item_uri("prefs", "end"):
                break
            told.add(event.uri)
    return told


async def do_everything(client: Client) -> None:
    """Change what can be changed."""
    for tool, arguments in (
        ("update_user_memory", {"changes": [{"pointer": "/name", "value": "Ada"}]}),
        ("set_memory_item", {"namespace": "prefs", "key": "tone", "value": "warm"}),
        ("set_memory_item", {"namespace": "prefs", "key": "tea", "value": "green"}),
        ("delete_memory_item", {"namespace": "prefs", "key": "tea"}),
    ):
        assert not (await client.call_tool(tool, arguments)).is_error


EVERYTHING: Final = {DOCUMENT, HISTORY, item_uri("prefs", "tone"), item_uri("prefs", "tea")}


async def what_ada_and_bob_hear(memory: Memory) -> tuple[set[str], set[str]]:
    """Return what each of them is told while ada changes her memory."""
    with served_to(memory, people()) as url:
        async with listening(url, "ada") as ada, listening(url, "bob") as bob:
            await do_everything(ada[0])
            return await heard(*ada), await heard(*bob)


async def test_changes_are_told_to_the_same_person_and_to_nobody_else(memory: Memory) -> None:
    assert await what_ada_and_bob_hear(memory) == (EVERYTHING, set())


async def test_under_a_name_that_does_not_count_several_people_do_not_hear_of_each_other(open_memory: Memory) -> None:
    open_memory.configurations.set({"use_user_id": False})
    tokens = {"gateway": holder(None, [Scope.READ, Scope.WRITE, Scope.ACT_AS])}
    one, other = ({"Memory-User": "desk", "Memory-Phone": f"%2B1202555012{digit}"} for digit in (3, 4))
    with served_to(open_memory, tokens) as url:
        async with listening(url, "gateway", **one) as ada, listening(url, "gateway", **other) as bob:
            await do_everything(ada[0])
            assert (await heard(*ada), await heard(*bob)) == (EVERYTHING, set())


async def test_a_bus_that_told_everybody_would_be_found(open_memory: Memory, monkeypatch: pytest.MonkeyPatch) -> None:
    async def everybody() -> tuple[str, ...]:
        return ("everybody",)

    monkeypatch.setattr(events, "_who", everybody)
    assert await what_ada_and_bob_hear(open_memory) == (EVERYTHING, EVERYTHING)


async def test_the_same_person_hears_of_changes_through_other_tokens(open_memory: Memory) -> None:
    with served_to(open_memory, people()) as url:
        async with listening(url, "ada") as ada:
            kept = {"namespace": "prefs", "key": "tone", "value": "warm"}
            assert Caller(url, headers=bearer("writer")).call("set_memory_item", kept).status_code == 200
            assert await heard(*ada) == {item_uri("prefs", "tone")}


async def test_a_delete_in_the_namespace_nobody_named_is_told_under_its_name(open_memory: Memory) -> None:
    place = item_uri("default", "tea")
    with served_to(open_memory, people()) as url:
        async with (
            connected(url, MODERN, **bearer("ada")) as client,
            client.listen(resource_subscriptions=[place]) as subscription,
        ):
            await client.call_tool("set_memory_item", {"key": "tea", "value": "green"})
            with anyio.fail_after(PATIENCE):
                assert await anext(subscription) == ResourceUpdated(place)
            await client.call_tool("delete_memory_item", {"key": "tea"})
            with anyio.fail_after(PATIENCE):
                assert await anext(subscription) == ResourceUpdated(place)


async def test_what_changed_nothing_is_not_told(open_memory: Memory) -> None:
    open_memory.of(user="ada").document.append({"name": "Ada"})
    with served_to(open_memory, people()) as url:
        async with listening(url, "ada") as (client, subscription):
            for tool, arguments in (
                ("update_user_memory", {"changes": [{"pointer": "/name", "value": "Ada"}]}),
                ("update_user_memory", {"changes": [{"pointer": "/name", "value": 1}], "expected_version": 9}),
                ("set_memory_item", {"namespace": "prefs", "key": "tone", "value": "x" * 11_000}),
                ("set_memory_item", {"namespace": "prefs", "key": "tone", "value": 1, "expected_version": 7}),
                ("delete_memory_item", {"namespace": "prefs", "key": "tone"}),
                ("get_user_memory", {}),
                ("get_memory_item", {"namespace": "prefs", "key": "tone"}),
            ):
                await client.call_tool(tool, arguments)
            assert await heard(client, subscription) == set()


@pytest.mark.parametrize("status", ["unchanged", "held"])
def test_a_change_that_is_not_in_force_is_none(status: str) -> None:
    answer = CallToolResult(content=[], structured_content={"status": status, "version": 1})
    assert list(changed(CATALOG["update_user_memory"], {"changes": []}, answer)) == []


async def test_a_gateway_hears_of_the_person_it_names(open_memory: Memory) -> None:
    with served_to(
        open_memory, {"gateway": holder(None, list(Scope), "acme"), "ada": holder("ada", organization="acme")}
    ) as url:
        ada = {"Memory-User": "ada"}
        beside = ada | {"Memory-Phone": "+12025550123"}  # which says nothing about who she is
        bob = {"Memory-User": "bob"}
        async with (
            listening(url, "gateway", **ada) as named,
            listening(url, "gateway", **beside) as by_phone_too,
            listening(url, "gateway", **bob) as other,
            listening(url, "ada") as own,
        ):
            await own[0].call_tool("set_memory_item", {"namespace": "prefs", "key": "tone", "value": "warm"})
            assert item_uri("prefs", "tone") in await heard(*named)
            assert item_uri("prefs", "tone") in await heard(*by_phone_too)
            assert await heard(*other) == set()


async def test_who_names_nobody_hears_nothing(open_memory: Memory) -> None:
    with served_to(open_memory, {"gateway": holder(None, list(Scope))}) as url:
        answer = Caller(url, headers=bearer("gateway")).ask("subscriptions/listen", {"notifications": {}})
    assert answer.json()["error"]["data"] == {"code": "no_identity"}


def test_who_may_not_read_hears_nothing(open_memory: Memory) -> None:
    with served_to(open_memory, people()) as url:
        answer = Caller(url, headers=bearer("writer")).ask("subscriptions/listen", {"notifications": {}})
    assert answer.status_code == 403
    assert 'scope="memory:read"' in answer.headers["www-authenticate"]


async def test_in_one_process_the_person_of_the_process_hears(server: MCPServer[Any], person: UserMemory) -> None:
    async with Client(server, mode=MODERN) as client, client.listen(resource_subscriptions=PLACES) as subscription:
        await do_everything(client)
        assert await heard(client, subscription) == EVERYTHING


async def test_what_is_no_memory_of_anybody_is_told_to_all(open_memory: Memory) -> None:
    server = create_server(open_memory, pace=UNPACED)

    @server.tool()
    async def announce(ctx: Context) -> str:
        await ctx.notify_tools_changed()
        return "done"

    with served(create_app(server, open_memory, verifiers=[Held(people())])) as url:
        async with (
            connected(f"{url}/mcp", MODERN, **bearer("ada")) as ada,
            connected(f"{url}/mcp", MODERN, **bearer("bob")) as bob,
            bob.listen(tools_list_changed=True) as subscription,
        ):
            await ada.call_tool("announce")
            with anyio.fail_after(PATIENCE):
                assert await anext(subscription) == ToolsListChanged()


# How many, and for how long.
@asynccontextmanager
async def stream(url: str, token: str, **named: str) -> AsyncIterator[httpx.Response]:
    """Open a stream of events as a request of its own."""
    headers, message = request(MODERN, "subscriptions/listen", {"notifications": {"resourceSubscriptions": PLACES}})
    async with (
        httpx.AsyncClient(verify=False, trust_env=False, timeout=PATIENCE) as client,
        client.stream("POST", url, headers=headers | bearer(token) | named, json=message) as response,
    ):
        yield response


async def test_one_person_has_so_many_streams_and_no_more(open_memory: Memory) -> None:
    with served_to(open_memory, people()) as url:
        async with AsyncExitStack() as stack:
            for _ in range(STREAMS):
                response = await stack.enter_async_context(stream(url, "ada"))
                assert response.headers["content-type"] == "text/event-stream"
            async with stream(url, "ada") as refused, stream(url, "bob") as other:
                assert other.headers["content-type"] == "text/event-stream"
                assert refused.headers["content-type"] == "application/json"  # and no stream, which would not end
                error = httpx.Response(200, content=await refused.aread()).json()["error"]
                assert error["data"] == {"code": "rate_limited"}
                assert error["message"].startswith(f"rate_limited: {STREAMS} streams of events are open")
        with anyio.fail_after(PATIENCE):
            while True:  # the server finds out that the client has gone
                async with stream(url, "ada") as again:
                    if again.headers["content-type"] == "text/event-stream":
                        break


async def test_the_streams_of_an_operator_are_none_of_the_persons(open_memory: Memory) -> None:
    tokens = people() | {"operator": holder(None, [Scope.READ, Scope.OPERATE])}
    with served_to(open_memory, tokens) as url:
        async with AsyncExitStack() as stack:
            for _ in range(STREAMS):
                await stack.enter_async_context(stream(url, "operator", **{"Memory-User": "ada"}))
            async with stream(url, "ada") as own, stream(url, "operator", **{"Memory-User": "ada"}) as refused:
                assert own.headers["content-type"] == "text/event-stream"
                assert refused.headers["content-type"] == "application/json"


def ending_after(seconds: float, memory: Memory, **options: Any) -> MCPServer[Any]:
    """Return a server whose streams end after so many seconds."""
    server = create_server(memory, pace=UNPACED, **options)
    server.middleware[-1] = streaming(seconds)
    return server


async def test_a_stream_ends_in_good_order_and_the_token_has_to_be_shown_again(open_memory: Memory) -> None:
    tokens = people()
    server = ending_after(0.3, open_memory)
    with served(create_app(server, open_memory, verifiers=[Held(tokens)])) as url:
        async with connected(f"{url}/mcp", MODERN, **bearer("ada")) as client:
            async with client.listen(resource_subscriptions=PLACES) as subscription:
                del tokens["ada"]  # revoked
                with anyio.fail_after(PATIENCE):
                    assert [event async for event in subscription] == []
            with pytest.raises(MCPError):
                async with client.listen(resource_subscriptions=PLACES):
                    pass


async def test_without_a_token_a_stream_lasts(open_memory: Memory) -> None:
    server = ending_after(0.0, open_memory, person=open_memory.of(user="ada"))
    async with Client(server, mode=MODERN) as client, client.listen(resource_subscriptions=PLACES) as subscription:
        await do_everything(client)
        assert await heard(client, subscription) == EVERYTHING
