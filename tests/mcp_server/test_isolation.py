import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import httpx
import pytest
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext

import mcp_server.asker
from mcp_server import create_app, create_server
from memory_tools.access import Scope, Verifier
from memory_tools.keys import ApiKeys
from memory_tools.memory import Memory
from storage.database import Database
from tests.mcp_server.conftest import UNPACED
from tests.mcp_server.issuer import RESOURCE, Issuer, issuing
from tests.mcp_server.serving import Held, bearer, holder, request, served, texts

PEOPLE: Final = 20

Headers = Mapping[str, str]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as opened:
        yield opened


class Doors:
    """Hands out what each person shows at the door, in one of the three ways."""

    def __init__(self, kind: str, memory: Memory, operators: Database, issuer: Issuer) -> None:
        self._kind = kind
        self._issuer = issuer
        self._operator = ApiKeys(Memory(operators))
        held = Held({"gateway": holder(None, list(Scope))})
        kinds: dict[str, Verifier] = {"API keys": ApiKeys(memory), "JWTs": issuer.verifier(), "a gateway": held}
        self.verifier = kinds[kind]

    def of(self, user: str) -> Headers:
        """Return the headers of one person."""
        if self._kind == "API keys":
            return bearer(self._operator.create(user=user).token)
        if self._kind == "JWTs":
            return bearer(self._issuer.token(user))
        return bearer("gateway") | {"Memory-User": user}


@pytest.fixture
def doors(credentials: str, memory: Memory, operators_database: Database, issuer: Issuer) -> Doors:
    return Doors(credentials, memory, operators_database, issuer)


def mark(user: str) -> str:
    """Return what stands in the memory of nobody else."""
    return f"<{user}'s own>"


@contextmanager
def meeting_place(memory: Memory, verifier: Verifier, people: int) -> Iterator[str]:
    """Serve people whose requests are all under way before the first of them goes on."""
    server = create_server(memory, pace=UNPACED)
    together = asyncio.Barrier(people)

    async def meet(ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        if ctx.method in ("tools/call", "resources/read", "prompts/get", "completion/complete"):
            await together.wait()
        return await call_next(ctx)

    server.middleware.append(meet)
    with served(create_app(server, memory, verifiers=[verifier], url=RESOURCE)) as url:
        yield f"{url}/mcp"


def visit(user: str) -> list[tuple[str, dict[str, Any]]]:
    """Return what one person asks, one after the other: everything that writes or reads."""

    def tool(name: str, **arguments: Any) -> tuple[str, dict[str, Any]]:
        return "tools/call", {"name": name, "arguments": arguments}

    item = {"namespace": "own", "key": "mark"}
    template = {"type": "ref/resource", "uri": "memory://me/items/{namespace}/{key}"}
    return [
        tool("set_memory_item", **item, value=mark(user)),
        tool("set_memory_item", namespace="own", key=f"of {user}", value=mark(user)),
        tool("update_user_memory", changes=[{"pointer": "/name", "value": mark(user)}], why=mark(user)),
        tool("get_user_memory"),
        tool("get_memory_item", **item),
        tool("list_memory_items", namespace="own"),
        tool("get_memory_history"),
        ("resources/read", {"uri": "memory://me/document"}),
        ("resources/read", {"uri": "memory://me/items/own/mark"}),
        ("resources/read", {"uri": "memory://me/history"}),
        ("prompts/get", {"name": "context"}),
        (
            "completion/complete",
            {
                "ref": template,
                "argument": {"name": "key", "value": "of"},
                "context": {"arguments": {"namespace": "own"}},
            },
        ),
        tool("delete_memory_item", **item),
        tool("get_memory_item", **item),
    ]


async def all_at_once(url: str, era: str, people: Mapping[str, Headers]) -> list[tuple[str, str, str]]:
    """Let all people ask at the same time and return what was wrong: who was shown whose, and at what."""
    wrong: list[tuple[str, str, str]] = []
    own_found = dict.fromkeys(people, 0)

    async def ask_all(client: httpx.AsyncClient, user: str) -> None:
        for method, params in visit(user):
            headers, message = request(era, method, params)
            answer = await client.post(url, headers=headers | dict(people[user]), json=message)
            named = params.get("name") or params.get("uri") or method
            if answer.status_code != 200:
                wrong.append((user, "nobody", f"{named}: {answer.status_code}"))
            wrong.extend((user, other, named) for other in people if other != user and other in answer.text)
            own_found[user] += user in answer.text

    async with calling() as client:
        await asyncio.gather(*(ask_all(client, user) for user in people))
    missing = [(user, "nobody", str(found)) for user, found in own_found.items() if found < 9]
    return wrong + missing


@asynccontextmanager
async def calling() -> AsyncIterator[httpx.AsyncClient]:
    """Open a client whose connections everybody shares, as a proxy in front of the server does."""
    limits = httpx.Limits(max_connections=PEOPLE, max_keepalive_connections=PEOPLE)
    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=60, limits=limits) as client:
        yield client


@pytest.mark.parametrize(
    ("credentials", "era", "count"),
    [
        ("API keys", "legacy", 2),
        ("API keys", "2026-07-28", PEOPLE),
        ("JWTs", "legacy", PEOPLE),
        ("JWTs", "2026-07-28", 2),
        ("a gateway", "legacy", 2),
        ("a gateway", "2026-07-28", 2),
    ],
)
async def test_people_who_ask_at_the_same_time_never_see_each_others_memory(
    memory: Memory, doors: Doors, era: str, count: int
) -> None:
    people = {f"person-{number:03}": doors.of(f"person-{number:03}") for number in range(count)}
    with meeting_place(memory, doors.verifier, count) as url:
        assert await all_at_once(url, era, people) == []
    for user in people:
        assert memory.of(user=user).document.current().document["name"] == mark(user)


class Shared:
    """What a careless server would have: one place for whoever asks."""

    def __init__(self) -> None:
        self._value: Any = None

    def get(self) -> Any:
        return self._value

    def set(self, value: Any) -> None:
        self._value = value

    def reset(self, _: Any) -> None:
        pass


async def test_an_identity_on_a_shared_object_would_be_found(monkeypatch: pytest.MonkeyPatch, era: str) -> None:
    monkeypatch.setattr(mcp_server.asker, "_asking", Shared())
    with Memory.open("sqlite://", through="mcp") as memory:
        people = {user: bearer(user) for user in ("ada", "bob")}
        verifier = Held({user: holder(user) for user in people})
        with meeting_place(memory, verifier, len(people)) as url:
            assert await all_at_once(url, era, people) != []


# One who waits does not keep the others waiting.
def test_a_call_that_takes_too_long_is_told_so(memory: Memory, era: str) -> None:
    ada, bob = memory.of(user="ada"), memory.of(user="bob")
    ada.items.set("prefs", "tone", "warm")
    bob.items.set("prefs", "tone", "calm")
    tokens = Held({user: holder(user) for user in ("ada", "bob")})
    server = create_server(memory, pace=UNPACED, seconds=0.3)
    wanted = {"namespace": "prefs", "key": "tone"}
    with served(create_app(server, memory, verifiers=[tokens])) as url, httpx.Client(timeout=30) as client:

        def call(user: str, tool: str, **more: Any) -> str:
            headers, message = request(era, "tools/call", {"name": tool, "arguments": wanted | more})
            return texts(client.post(f"{url}/mcp", headers=headers | bearer(user), json=message))

        with ada.begin() as stores:
            stores.items.set("prefs", "tone", "held by another transaction")
            line = call("ada", "set_memory_item", value="cool")
            assert line.startswith("timed_out: ")
            assert "\n" not in line
            assert '"calm"' in call("bob", "get_memory_item")
        assert '"value"' in call("ada", "get_memory_item")
