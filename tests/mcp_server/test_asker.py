import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest
from mcp import Client
from mcp.server.auth.middleware.auth_context import get_access_token
from starlette.types import Receive, Send
from starlette.types import Scope as Asgi

from mcp_server import create_app, create_server
from mcp_server.asker import Asker, asker
from memory_tools.access import Named, Scope
from memory_tools.configurations import Configurations
from memory_tools.memory import Memory
from storage.database import Database
from storage.errors import InsufficientScope, NoIdentity, Unauthenticated
from storage.provenance import Actor
from tests.mcp_server.conftest import ERAS, UNPACED
from tests.mcp_server.serving import Caller, Held, bearer, connected, holder, request, served, served_to, texts


def whose(memory: Memory, **said: Any) -> Asker:
    """Return who asks; without anything said nobody whom anybody knows."""
    return Asker(memory, said.get("own"), None, said.get("principal"), said.get("named"))


def test_outside_of_a_request_nobody_asks() -> None:
    with pytest.raises(Unauthenticated):
        asker()


def test_where_nobody_is_named_there_is_no_memory(open_memory: Memory) -> None:
    asking = whose(open_memory)
    assert asking.key is None
    with pytest.raises(NoIdentity, match="start the server with --user"):
        asking.person(Scope.READ)


def test_the_person_of_the_process_needs_no_scope(open_memory: Memory) -> None:
    asking = whose(open_memory, own=open_memory.of(user="ada"))
    assert asking.person(Scope.WRITE).identity.user == "ada"
    assert asking.key == ("default", "user", "ada")


def test_what_comes_through_this_door_an_agent_wrote(open_memory: Memory) -> None:
    ada = open_memory.of(user="ada")
    by = whose(open_memory, own=ada).person(Scope.WRITE).provenance
    assert (by.actor, by.through) == (Actor.AGENT, "mcp")
    assert ada.provenance.actor is Actor.USER


def test_each_request_has_a_person_of_its_own(open_memory: Memory) -> None:
    asking = whose(open_memory, own=open_memory.of(user="ada"))
    assert asking.person(Scope.READ) is not asking.person(Scope.READ)


@pytest.mark.parametrize("scope", [Scope.READ, Scope.WRITE])
def test_a_token_has_to_be_given_for_what_is_asked(open_memory: Memory, scope: Scope) -> None:
    other = {Scope.READ, Scope.WRITE} - {scope}
    assert whose(open_memory, principal=holder("ada", [scope])).person(scope).identity.user == "ada"
    with pytest.raises(InsufficientScope):
        whose(open_memory, principal=holder("ada", other)).person(scope)


def test_a_gateway_reaches_its_own_organization_alone(open_memory: Memory) -> None:
    gateway = holder(None, list(Scope), organization="acme")
    named = whose(open_memory, principal=gateway, named=Named(user="ada"))
    assert named.person(Scope.READ).identity.organization == "acme"
    assert named.key == ("acme", "user", "ada")
    for elsewhere in (whose(open_memory, principal=gateway, named=Named(user="ada", organization="other")),):
        with pytest.raises(InsufficientScope):
            elsewhere.person(Scope.READ)
        with pytest.raises(InsufficientScope):
            _ = elsewhere.key
    with pytest.raises(NoIdentity):
        whose(open_memory, principal=gateway).person(Scope.READ)


def test_a_phone_number_counts_where_it_alone_names_the_person(open_memory: Memory) -> None:
    gateway = holder(None, list(Scope))

    def key(**named: Any) -> Any:
        return whose(open_memory, principal=gateway, named=Named(**named)).key

    assert key(phone="+1 202 555 0123") == key(phone="tel:+12025550123") == ("default", "phone", "+12025550123")
    assert key(user="ada", phone="+12025550123") == key(user="ada") == ("default", "user", "ada")
    assert key(user="ada", phone="+12025550123", phone_verified=True) == key(user="ada")
    assert key(user="+12025550123") != key(phone="+12025550123")


def test_who_operates_is_counted_apart_from_the_person_and_a_gateway_is_not(open_memory: Memory) -> None:
    def bucket(actor: str, scopes: list[Scope], user: str | None = None, named: Named | None = None) -> Any:
        principal = replace(holder(user, [Scope.READ, *scopes]), actor=actor)
        return whose(open_memory, principal=principal, named=named).bucket

    ada = Named(user="ada")
    own = bucket("key 1", [], "ada")
    assert (
        own == bucket("key 2", [Scope.ACT_AS], named=ada) == whose(open_memory, own=open_memory.of(user="ada")).bucket
    )
    operators = {bucket(f"key {number}", [Scope.OPERATE], named=ada) for number in (3, 4)}
    beside = {bucket("key 3", [Scope.OPERATE], named=Named(user="bob")), own, bucket("key 5", [], "bob")}
    assert len(operators | beside) == 5
    assert whose(open_memory).bucket is None


def test_an_operator_and_the_person_do_not_slow_each_other_down(open_memory: Memory) -> None:
    tokens = {"ada": holder("ada"), "operator": holder(None, [Scope.READ, Scope.OPERATE])}
    with served_to(open_memory, tokens, pace="2/hour") as url:
        operator = Caller(url, headers=bearer("operator") | {"Memory-User": "ada"})
        for asking in (operator, Caller(url, headers=bearer("ada"))):
            said = [texts(asking.call("get_user_memory")).partition(":")[0] for _ in range(3)]
            assert said == ['{"value"', '{"value"', "rate_limited"]


# The two ways to know a person are never mixed.
def test_the_person_of_the_process_is_never_meant_by_a_request_with_a_token(open_memory: Memory) -> None:
    open_memory.of(user="ada").items.set("whose", "it", "ada's")
    tokens = {"bob": holder("bob"), "gateway": holder(None, list(Scope))}
    with served_to(open_memory, tokens, person=open_memory.of(user="ada")) as url:
        wanted = {"namespace": "whose", "key": "it"}
        for era in ERAS:
            assert "not_found" in texts(Caller(url, era, bearer("bob")).call("get_memory_item", wanted))
            assert "no_identity" in texts(Caller(url, era, bearer("gateway")).call("get_memory_item", wanted))
        assert Caller(url).call("get_memory_item", wanted).status_code == 401


def test_without_a_person_and_without_tokens_every_call_says_what_to_do(open_memory: Memory, era: str) -> None:
    with served(create_app(create_server(open_memory), open_memory)) as url:
        line = texts(Caller(f"{url}/mcp", era).call("get_user_memory"))
    assert line.startswith("no_identity: Nobody was named: start the server with --user")


async def test_memory_that_is_switched_off_is_off_for_every_way_in(
    memory: Memory, operators_database: Database, era: str
) -> None:
    memory.of(user="ada").items.set("whose", "it", "ada's")
    Configurations(operators_database).set({"enabled": False})
    with served_to(memory, {"ada": holder("ada")}) as url:
        async with connected(url, era, **bearer("ada")) as client:
            answer = await client.call_tool("get_memory_item", {"namespace": "whose", "key": "it"})
    assert answer.is_error
    assert answer.content[0].text.startswith("memory_disabled: ")  # type: ignore[union-attr]


# Nothing stays behind.
async def test_after_a_request_nobody_asks_any_more(open_memory: Memory, era: str) -> None:
    server = create_server(open_memory, person=open_memory.of(user="ada"), pace=UNPACED)
    async with Client(server, mode=era) as client:
        await client.call_tool("get_user_memory")
        with pytest.raises(Unauthenticated):
            asker()
        await asyncio.gather(*(client.call_tool("get_user_memory") for _ in range(10)))
        with pytest.raises(Unauthenticated):
            asker()


async def test_nobody_is_left_behind_on_a_connection_that_stays_open(open_memory: Memory, era: str) -> None:
    seen: list[object] = []
    tokens = {name: holder(name) for name in ("ada", "bob")}
    app = create_app(create_server(open_memory, pace=UNPACED), open_memory, verifiers=[Held(tokens)])

    async def looking(scope: Asgi, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            seen.append((who_asks(), get_access_token()))
        await app(scope, receive, send)
        if scope["type"] == "http":
            seen.append((who_asks(), get_access_token()))

    # Longer than what comes in one piece: then the server reads on in the midst of the request.
    headers, message = request(era, "tools/call", {"name": "set_memory_item", "arguments": {"value": "x" * 500_000}})
    with served(looking) as url:
        async with httpx.AsyncClient(verify=False, trust_env=False) as client:
            for name in ("ada", "bob", "ada"):
                answer = await client.post(f"{url}/mcp", headers=headers | bearer(name), json=message)
                assert answer.json()["result"]["isError"]
    assert seen == [(None, None)] * 6


def who_asks() -> object:
    try:
        return asker()
    except Unauthenticated:
        return None
