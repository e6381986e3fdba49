import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import pytest
from mcp import Client

from mcp_server import create_server
from memory_tools.access import Scope
from memory_tools.memory import Memory
from storage.errors import InvalidInput
from tests.mcp_server.serving import Caller, bearer, holder, served_to, texts

PACE: Final = "3/hour"


@pytest.fixture
def url(open_memory: Memory) -> Iterator[str]:
    tokens = {
        "ada": holder("ada"),
        "ada's other": holder("ada"),
        "bob": holder("bob"),
        "ada of acme": holder("ada", organization="acme"),
        "gateway": holder(None, list(Scope)),
    }
    with served_to(open_memory, tokens, pace=PACE) as address:
        yield address


def test_whoever_asks_too_often_is_told_when_to_come_back(url: str, era: str) -> None:
    asking = Caller(url, era, bearer("ada"))
    for _ in range(3):
        assert asking.call("get_user_memory").json()["result"]["isError"] is False
    answer = asking.call("get_user_memory")
    assert answer.status_code == 200
    assert answer.json()["result"]["isError"] is True
    if era != "legacy":
        assert answer.json()["result"]["resultType"] == "complete"
    line = texts(answer)
    assert line.startswith("rate_limited: Too many requests for this person")
    said = re.search(r"The next one may come in (\d+) seconds\.", line)
    assert said is not None
    assert 0 < int(said[1]) <= 3_600


def test_what_is_no_tool_is_refused_by_an_error(url: str, era: str) -> None:
    asking = Caller(url, era, bearer("ada"))
    for _ in range(3):
        asking.call("get_user_memory")
    listening: list[tuple[str, dict[str, Any]]] = (
        [] if era == "legacy" else [("subscriptions/listen", {"notifications": {}})]
    )
    for method, params in (
        ("resources/read", {"uri": "memory://me/document"}),
        ("prompts/get", {"name": "context"}),
        *listening,
    ):
        assert asking.ask(method, params).json()["error"]["data"] == {"code": "rate_limited"}


def test_the_pace_of_one_person_is_not_that_of_another(url: str, era: str) -> None:
    for _ in range(4):
        Caller(url, era, bearer("ada")).call("get_user_memory")
    for token in ("bob", "ada of acme"):
        assert texts(Caller(url, era, bearer(token)).call("get_user_memory")) == '{"value":{}}'
    assert "rate_limited" in texts(Caller(url, era, bearer("ada's other")).call("get_user_memory"))


def test_what_a_gateway_asks_counts_for_the_person_it_names(url: str) -> None:
    asking = Caller(url, headers=bearer("gateway"))
    for number in range(5):
        # Beside a user id an unverified number says nothing: it is no way to begin anew.
        named = {"Memory-User": "ada", "Memory-Phone": f"+1202555012{number}"}
        answer = asking.call("get_user_memory", {}, **named)
        assert ("rate_limited" in answer.text) == (number >= 3)
    assert texts(asking.call("get_user_memory", {}, **{"Memory-User": "eve"})) == '{"value":{}}'


def test_to_find_its_way_a_client_may_ask_as_often_as_it_likes(url: str, era: str) -> None:
    asking = Caller(url, era, bearer("ada"))
    for _ in range(10):
        assert "result" in asking.ask("tools/list").json()


def test_names_cannot_be_made_to_count_for_others(open_memory: Memory) -> None:
    tokens = {
        "one": holder("b/c", organization="a"),
        "two": holder("c", organization="a/b"),
        "gw": holder(None, list(Scope)),
    }
    with served_to(open_memory, tokens, pace="1/hour") as address:
        for token in ("one", "two"):
            assert texts(Caller(address, headers=bearer(token)).call("get_user_memory")) == '{"value":{}}'
        asking = Caller(address, headers=bearer("gw"))
        for said in ({"Memory-User": "+12025550123"}, {"Memory-Phone": "+12025550123"}, {"Memory-User": "4:user"}):
            assert texts(asking.call("get_user_memory", {}, **said)) == '{"value":{}}'


def test_a_person_over_the_limit_is_refused_at_once_and_keeps_nobody_waiting(url: str) -> None:
    flooding, calm = Caller(url, headers=bearer("ada")), Caller(url, headers=bearer("bob"))
    with ThreadPoolExecutor(8) as threads:
        # Whoever waited for their turn would wait for 20 minutes, and longer than this client.
        flood = [threads.submit(flooding.call, "get_user_memory") for _ in range(50)]
        assert texts(calm.call("get_user_memory")) == '{"value":{}}'
        answers = [texts(each.result()) for each in flood]
    assert sum("rate_limited" in each for each in answers) == 47


async def test_the_person_of_the_process_has_a_pace_too(open_memory: Memory, era: str) -> None:
    server = create_server(open_memory, person=open_memory.of(user="ada"), pace="2/minute")
    async with Client(server, mode=era) as client:
        answers = [(await client.call_tool("get_user_memory")).is_error for _ in range(3)]
    assert answers == [False, False, True]


@pytest.mark.parametrize(
    "pace",
    ["", "often", "0/minute", "-5/minute", "5", "5/fortnight", "1/minute; 9/hour", "10/minute,3/day", "x 5/hour"],
)
def test_a_pace_that_is_none_is_refused(open_memory: Memory, pace: str) -> None:
    with pytest.raises(InvalidInput, match="is no pace: write it as 600/minute"):
        create_server(open_memory, pace=pace)


@pytest.mark.parametrize("pace", ["600/minute", "20 per second", "5 per hour", "1000000/second"])
def test_a_pace_is_written_as_people_say_it(open_memory: Memory, pace: str) -> None:
    made: Any = create_server(open_memory, pace=pace)
    assert made.name == "usermemory"
