"""Canaries: two people whose memory is full of a text that nobody else may ever be answered with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from memory_tools.access import Scope
from memory_tools.keys import ApiKeys
from memory_tools.memory import Memory
from storage.outcome import Held
from storage.provenance import by_agent

CANARIES: Final = {"ada": "canary-of-ada-5b1f0c", "bob": "canary-of-bob-9e44d2"}
"""By the user id of the person."""

OTHERS: Final = {"ada": "bob", "bob": "ada"}

OK, FORBIDDEN, NOT_FOUND, SERVER_ERROR = 200, 403, 404, 500

_OF_PEOPLE: Final = ("/v1/document", "/v1/document/history", "/v1/items", "/v1/items/prefs/tone")
_OF_OPERATORS: Final = (
    "/v1/profile",
    "/v1/pending",
    "/v1/conversations",
    "/v1/conversations/call-17/messages",
    "/v1/conversations/call-17/memory",
    "/v1/conversation_memories",
)
_BY_NAME: Final = ("/api/user/{}/memory?namespace=prefs", "/api/v1/memory/{}")
_BY_ID: Final = ("/conversations/{}/messages", "/conversations/{}/memory")
_OF_OTHERS: Final[tuple[tuple[str, str, Any], ...]] = (
    *(("GET", path, None) for path in _BY_NAME),
    ("POST", "/api/user/{}/memory", {"key": "tone", "namespace": "prefs", "value": "not yours"}),
    ("DELETE", "/api/user/{}/memory?namespace=prefs&key=tone", None),
    ("POST", "/api/v1/memory", {"user_id": "{}", "content": "not yours"}),
)


@dataclass(frozen=True)
class People:
    """The two, as they are known to who asks for them over HTTP."""

    tokens: Mapping[str, str]
    """API keys by the name of who holds them."""

    conversations: Mapping[str, str]
    """The id of one conversation of each."""


def planted(url: str, worker_url: str) -> People:
    """Fill the memory of both with their canaries, and return them with keys of theirs and of those who act for them.

    A key of "ada" and of "bob", of a "reader" of Ada's, to "act-as", and of an "operator" of theirs and of "acme".
    """
    conversations = {}
    with Memory.open(url) as memory:
        for name, canary in CANARIES.items():
            person = memory.of(user=name)
            person.document.append({"summary": canary, "safety_notes": f"Never mention {canary}."})
            held = person.document.append({"summary": canary, "safety_notes": canary}, provenance=by_agent("chat"))
            assert isinstance(held, Held), "an agent may not rewrite safety notes"
            person.items.set("prefs", "tone", canary)
            person.items.set("prefs", f"key-{canary}", [canary])
            person.items.set("default", "tips", [])
            person.profile.set(canary)
            person.conversations.append("call-17", [{"role": "user", "content": canary}])
            person.conversation_memories.set("call-17", {"summary": canary})
            person.conversations.append(f"call-{canary}", [{"role": "user", "content": canary}])
            conversations[name] = str(person.conversation_memories.get("call-17").id)
    everything = (Scope.READ, Scope.WRITE)
    with Memory.open(worker_url) as memory:
        keys = ApiKeys(memory)
        tokens = {
            "ada": keys.create(user="ada"),
            "bob": keys.create(user="bob"),
            "reader": keys.create(user="ada", scopes=[Scope.READ]),
            "act-as": keys.create(scopes=[*everything, Scope.ACT_AS]),
            "operator": keys.create(scopes=[*everything, Scope.OPERATE]),
            "acme": keys.create(scopes=[*everything, Scope.OPERATE], organization="acme"),
        }
    return People({name: new.token for name, new in tokens.items()}, conversations)


def all_of(client: httpx.Client, people: People, user: str) -> dict[str, Any]:
    """Return everything that an operator reads of a person; each answer holds their canary and nobody else's."""
    by_id = [path.format(people.conversations[user]) for path in _BY_ID]
    read: dict[str, Any] = {}
    for path in (*_OF_PEOPLE, *_OF_OPERATORS, *(path.format(user) for path in _BY_NAME), *by_id):
        named = {} if path in by_id else {"Memory-User": user}
        answer = client.get(path, headers=bringing(people.tokens["operator"]) | named)
        assert (answer.status_code, sung(answer)) == (OK, [user]), f"an operator reads {path}: {answer.text}"
        read[path] = answer.json()
    return read


def shut_doors(client: httpx.Client, people: People) -> int:
    """Try every door to the other person and return how many there are. Raises AssertionError for one that is open."""
    doors = 0
    for me, other in OTHERS.items():
        mine = bringing(people.tokens[me])
        for path in (*_OF_PEOPLE, *(path.format(me) for path in _BY_NAME)):
            answer = client.get(path, headers=mine)
            assert (answer.status_code, sung(answer)) == (OK, [me]), f"{me} reads {path}: {answer.text}"
        for method, path, body in _OF_OTHERS:
            real, none = (_asked(client, method, path, body, user, mine) for user in (other, "nobody-at-all"))
            assert real.status_code == none.status_code == NOT_FOUND, f"{me}: {method} {path} of {other}: {real.text}"
            assert real.content == none.content, f"{me} can tell whether {path} of {other} exists"
            doors += 1
        for path, headers, status in _ways_by_id(people, me, other):
            answer = client.get(path, headers=headers)
            assert (answer.status_code, sung(answer)) == (status, []), f"{path} of {other}: {answer.text}"
            doors += 1
    return doors


def sung(answer: httpx.Response) -> list[str]:
    """Return whose canaries are in an answer."""
    return [name for name, canary in CANARIES.items() if canary in answer.text or canary in str(answer.headers)]


def bringing(token: str) -> dict[str, str]:
    """Return the headers of who brings a token."""
    return {"Authorization": f"Bearer {token}"}


def _asked(
    client: httpx.Client, method: str, path: str, body: Any, user: str, headers: dict[str, str]
) -> httpx.Response:
    if body is not None and "user_id" in body:
        body = {**body, "user_id": user}
    return client.request(method, path.format(user), json=body, headers=headers)


def _ways_by_id(people: People, me: str, other: str) -> Iterator[tuple[str, dict[str, str], int]]:
    """Yield how others try to reach a conversation whose id they know, and what they are answered."""
    for path in _BY_ID:
        yield path.format(people.conversations[other]), bringing(people.tokens[me]), FORBIDDEN
        yield path.format(people.conversations[other]), bringing(people.tokens["acme"]), NOT_FOUND
