from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from mcp_server import create_app, create_server
from memory_tools.access import Scope
from memory_tools.memory import Memory
from tests.mcp_server.serving import Caller, bearer, challenged, holder, request, served, served_to, texts


def named(**said: str | None) -> dict[str, str]:
    headers = {"user": "Memory-User", "phone": "Memory-Phone", "verified": "Memory-Phone-Verified"}
    headers["organization"] = "Memory-Organization"
    return {headers[name]: value for name, value in said.items() if value is not None}


@pytest.fixture(scope="module")
def gateway(open_memory: Memory) -> Iterator[Caller]:
    """A caller that acts for people of acme; and one who may not by the token `ada`."""
    open_memory.of(organization="acme", user="ada").items.set("whose", "it", "ada of acme")
    open_memory.of(organization="acme", user="Jürgen +1/ü").items.set("whose", "it", "Jürgen of acme")
    open_memory.of(organization="acme", phone="+12025550123").items.set("whose", "it", "the caller of acme")
    open_memory.of(user="ada").items.set("whose", "it", "ada of default")
    tokens = {
        "gateway": holder(None, list(Scope), organization="acme"),
        "ada": holder("ada", organization="acme"),
    }
    with served_to(open_memory, tokens) as url:
        yield Caller(url, headers=bearer("gateway"))


def whose(gateway: Caller, headers: Mapping[str, str]) -> Any:
    """Return the value of an item that says whose it is, or the whole answer."""
    answer = gateway.call("get_memory_item", {"namespace": "whose", "key": "it"}, **headers)
    if answer.status_code != 200:
        return answer.status_code, answer.json()["error"]["code"]
    result = answer.json()["result"]
    return texts(answer) if result["isError"] else result["structuredContent"]["value"]


@pytest.mark.parametrize(
    ("said", "found"),
    [
        (named(user="ada"), "ada of acme"),
        (named(user="ada", organization="acme"), "ada of acme"),
        (named(user="J%C3%BCrgen%20%2B1%2F%C3%BC"), "Jürgen of acme"),
        (named(phone="+12025550123"), "the caller of acme"),
        (named(phone="%2B1%20202%20555%200123"), "the caller of acme"),
        (named(phone="+12025550123", verified="true"), "the caller of acme"),
        (named(user="ada", phone="+12025550123"), "ada of acme"),
    ],
)
def test_a_gateway_names_the_person_in_each_request(gateway: Caller, said: dict[str, str], found: str) -> None:
    assert whose(gateway, said) == found


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        (named(user="ada", organization="default"), (403, "insufficient_scope")),
        (named(user="ada", organization="ACME"), (403, "insufficient_scope")),
        (named(user="ada", organization=""), (403, "insufficient_scope")),
        (named(organization="acme"), (400, "no_identity")),
        (named(phone="anonymous"), (400, "no_identity")),
        (named(phone=""), (400, "no_identity")),
        (named(verified="true"), (400, "no_identity")),
        (named(user=""), (400, "invalid_identity")),
        (named(user="%20ada"), (400, "invalid_identity")),
        (named(user="ada%0d%0aMemory-Organization:%20default"), (400, "invalid_identity")),
        (named(user="ada%00"), (400, "invalid_identity")),
        (named(user="ada%E2%80%8B"), (400, "invalid_identity")),
        (named(user="%FF%FE"), (400, "invalid_identity")),
        (named(user="J%FCrgen"), (400, "invalid_identity")),
        (named(user="Ju%CC%88rgen"), (400, "invalid_identity")),
        (named(user="a" * 257), (400, "invalid_identity")),
        (named(user="%C3%BC" * 300), (400, "invalid_identity")),
        (named(user="ada", verified="yes"), (400, "invalid_identity")),
        (named(user="ada", verified="TRUE"), (400, "invalid_identity")),
    ],
)
def test_whom_a_gateway_may_not_name_is_refused(gateway: Caller, said: dict[str, str], answer: Any) -> None:
    assert whose(gateway, said) == answer


def test_a_name_as_raw_bytes_names_nobody_else(gateway: Caller) -> None:
    headers, message = request("2026-07-28", "tools/call", {"name": "get_user_memory", "arguments": {}})
    for name in ("Jürgen".encode(), "Jürgen".encode("latin-1")):
        raw = [(k.encode(), v.encode()) for k, v in (headers | bearer("gateway")).items()] + [(b"Memory-User", name)]
        assert httpx.post(gateway.url, headers=raw, json=message).status_code == 400


def test_a_person_is_named_once(gateway: Caller) -> None:
    headers, message = request("2026-07-28", "tools/call", {"name": "get_user_memory", "arguments": {}})
    for twice in ("Memory-User", "Memory-Phone", "Memory-Organization", "Memory-Phone-Verified"):
        both = [*(headers | bearer("gateway")).items(), ("Memory-User", "ada"), (twice, "bob"), (twice.lower(), "bob")]
        assert httpx.post(gateway.url, headers=both, json=message).status_code == 400


def test_who_names_nobody_is_told_so_by_the_tool(gateway: Caller, era: str) -> None:
    asking = Caller(gateway.url, era, gateway.headers)
    assert texts(asking.call("get_user_memory")).startswith("no_identity: Nobody was named")
    assert asking.ask("resources/read", {"uri": "memory://me/document"}).json()["error"]["data"] == {
        "code": "no_identity"
    }


@pytest.mark.parametrize("said", [named(user="ada"), named(user="bob"), named(organization="acme"), named(phone="1")])
def test_who_may_not_act_for_others_names_nobody(gateway: Caller, said: dict[str, str], era: str) -> None:
    answer = Caller(gateway.url, era, bearer("ada")).call("get_user_memory", {}, **said)
    assert answer.status_code == 403
    assert challenged(answer)["scope"] == "memory:act-as"


@pytest.mark.parametrize("where", ["arguments", "_meta", "params"])
def test_nobody_is_named_by_what_a_model_writes(gateway: Caller, where: str) -> None:
    headers, message = request("2026-07-28", "tools/call", {"name": "get_user_memory", "arguments": {}})
    inside = message["params"] if where == "params" else message["params"][where]
    inside |= {"user": "ada", "user_id": "ada", "Memory-User": "ada", "organization": "acme"}
    answer = httpx.post(gateway.url, headers=headers | bearer("gateway"), json=message)
    assert answer.json()["result"]["isError"]
    assert texts(answer).startswith(("no_identity", "invalid_input"))


@pytest.mark.parametrize("headers", [named(user="bob"), named(phone="%2B12025550123"), named(organization="acme")])
def test_where_no_token_counts_naming_somebody_is_refused(
    open_memory: Memory, headers: dict[str, str], era: str
) -> None:
    """They would get the memory of whoever the server was started for."""
    server = create_server(open_memory, person=open_memory.of(user="ada"))
    with served(create_app(server, open_memory)) as url:
        asking = Caller(f"{url}/mcp", era)
        assert asking.call("get_user_memory").status_code == 200
        answer = asking.call("get_user_memory", **headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "insufficient_scope")
