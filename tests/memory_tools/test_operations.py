import re
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from memory_tools.memory import Memory, UserMemory
from memory_tools.operation import Effect, Operation, by_name
from memory_tools.operations import CATALOG
from storage.database import Database
from storage.errors import InvalidInput, NotFound, VersionConflict
from storage.items import Item
from storage.outcome import Held
from storage.provenance import by_agent
from tests.contents import Contents

IDENTITY = re.compile(
    r"user|phone|organi[sz]ation|owner|identit|person|tenant|account|customer|caller|member|actor|principal|who|whose",
    re.IGNORECASE,
)
"""What an input would be called that says whose memory is meant, or who asks."""

Ask = dict[str, Any]

EXAMPLES: dict[str, list[Ask]] = {
    "get_user_memory": [
        {},
        {"pointer": "/summary"},
        {"at": 1, "pointer": "/facts/0"},
        {"at": "2100-01-01T00:00:00Z"},
        {"at": 0},
    ],
    "get_memory_history": [{}, {"limit": 1, "before": 3}],
    "compare_memory_versions": [{"before": 0, "after": 2}],
    "revert_user_memory": [{"version": 1}],
    "list_memory_items": [{"namespace": "prefs"}, {"namespace": "prefs", "limit": 1, "after": "pace"}, {}],
    "get_memory_item": [{"namespace": "prefs", "key": "tone"}],
    "set_memory_item": [{"key": "k", "value": None}, {"namespace": "n", "key": "k", "value": 1, "expected_version": 0}],
    "push_memory_item": [{"key": "list", "value": {"a": 1}, "keep": 2}],
    "delete_memory_item": [{"namespace": "prefs", "key": "tone"}],
    "get_profile_text": [{}],
    "set_profile_text": [{"text": "Likes coffee."}],
    "delete_profile_text": [{}],
    "append_messages": [
        {"conversation": "call-2", "messages": [{"role": "user", "content": "hi", "external_id": "1"}]}
    ],
    "list_messages": [{"conversation": "call-1"}, {"conversation": "call-1", "limit": 1, "after": 1}],
    "list_conversations": [{}, {"limit": 1, "after": "2100-01-01T00:00:00+00:00 01930000-0000-7000-8000-000000000000"}],
    "list_pending_versions": [{}, {"limit": 1}],
    "get_pending_version": [{"id": "PENDING"}],
    "accept_pending_version": [{"id": "PENDING"}],
    "reject_pending_version": [{"id": "PENDING"}],
}

EACH = [(name, ask) for name, asks in EXAMPLES.items() for ask in asks]
EACH_OPERATION = pytest.mark.parametrize("each", CATALOG.values(), ids=CATALOG)


@pytest.fixture
def ada(database: Database) -> UserMemory:
    """A person with some of everything."""
    person = Memory(database).of(user="ada")
    person.items.set("prefs", "tone", "warm")
    person.items.set("prefs", "pace", "slow")
    person.profile.set("Likes tea.")
    person.conversations.append("call-1", [{"role": "user", "content": "hello"}, {"role": "tool", "content": [1]}])
    person.document.append({"summary": "Ada.", "facts": ["has a cat"]})
    person.document.append({"summary": "Ada.", "facts": ["has a cat"], "safety_notes": "Never mention the flood."})
    held = person.document.append({"summary": "Ada.", "facts": ["has a cat"]}, provenance=by_agent("loop"))
    assert isinstance(held, Held)
    return person


def ask(person: UserMemory, name: str, members: Ask) -> Any:
    """Ask as a door does: by name, with JSON."""
    pending = person.pending.waiting().entries
    members = {key: pending[0].id if value == "PENDING" else value for key, value in members.items()}
    operation = CATALOG[name]
    return operation(person, operation.input.model_validate(members))


def fields(model: type[BaseModel]) -> dict[str, dict[str, Any]]:
    """Return the JSON schema of every field of a model and of the models inside, by name."""
    schema = model.model_json_schema()
    inside = [schema, *schema.get("$defs", {}).values()]
    return {name: field for each in inside for name, field in each.get("properties", {}).items()}


@EACH_OPERATION
def test_no_input_says_whose_memory_it_is(each: Operation[Any, Any]) -> None:
    assert [name for name in fields(each.input) if IDENTITY.search(name)] == []


@pytest.mark.parametrize("name", ["user", "user_id", "phone_number", "organization", "ownerId", "on_behalf_of_whom"])
def test_an_input_that_said_so_would_be_found(name: str) -> None:
    assert IDENTITY.search(name)


@EACH_OPERATION
@pytest.mark.parametrize("name", ["user", "user_id", "phone", "organization", "owner_id", "x"])
def test_an_identity_smuggled_in_is_refused(each: Operation[Any, Any], name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        each.input.model_validate({name: "bob"})
    assert "extra_forbidden" in [error["type"] for error in refused.value.errors()]


@EACH_OPERATION
def test_a_description_says_what_it_does_and_when_to_use_it(each: Operation[Any, Any]) -> None:
    what, when, *more = re.split(r"(?<=[.]) ", each.description)
    assert not more
    assert re.match(r"[A-Z][a-z]+ .*[.]$", what)
    assert re.match(r"Use (it|list_memory_items) .*[.]$", when)
    assert "\n" not in each.description


@EACH_OPERATION
def test_every_field_is_described(each: Operation[Any, Any]) -> None:
    for name, field in fields(each.input).items():
        assert len(field.get("description", "")) > 5, name
    assert each.input.__doc__


def test_names_and_routes_are_used_once() -> None:
    assert list(CATALOG) == list(EXAMPLES)
    assert len({each.route for each in CATALOG.values()}) == len(CATALOG)
    assert all(re.fullmatch(r"(GET|PUT|POST|DELETE) (/[a-z_{}]+)+", each.route) for each in CATALOG.values())
    one = CATALOG["get_memory_item"]
    with pytest.raises(ValueError, match="same name"):
        by_name(one, one)


@EACH_OPERATION
def test_what_only_reads_is_got_and_what_writes_is_not(each: Operation[Any, Any]) -> None:
    assert (each.effect is Effect.READ) == each.route.startswith("GET ")


@EACH_OPERATION
def test_what_a_route_names_is_asked_for(each: Operation[Any, Any]) -> None:
    assert set(re.findall(r"{(\w+)}", each.route)) <= set(each.input.model_fields)


@pytest.mark.parametrize(("name", "members"), EACH, ids=[f"{name}-{ask}" for name, ask in EACH])
def test_every_operation_runs_and_what_only_reads_writes_nothing(
    ada: UserMemory, contents: Callable[[], Contents], name: str, members: Ask
) -> None:
    before = contents()
    ask(ada, name, members)
    assert (contents() == before) == (CATALOG[name].effect is Effect.READ)


@pytest.mark.parametrize(
    ("name", "members"), [(name, ask) for name, ask in EACH if "PENDING" not in ask.values()], ids=str
)
def test_asking_about_nobody_makes_nobody(
    database: Database, contents: Callable[[], Contents], name: str, members: Ask
) -> None:
    nobody = Memory(database).of(user="nobody")
    before = contents()
    with suppress(NotFound):
        ask(nobody, name, members)
    made = contents() != before
    assert made == (name in ("set_memory_item", "push_memory_item", "set_profile_text", "append_messages"))


def test_a_part_of_the_document_is_found_by_its_pointer(ada: UserMemory) -> None:
    assert ask(ada, "get_user_memory", {"pointer": "/facts/0"}) == "has a cat"
    assert ask(ada, "get_user_memory", {"pointer": "/version"}) == 2
    assert ask(ada, "get_user_memory", {"at": 1}) == {
        "version": 1,
        "last_updated_by": "user",
        "summary": "Ada.",
        "facts": ["has a cat"],
    }
    for nowhere in ("/nothing", "/facts/1", "/facts/-", "/summary/0"):
        with pytest.raises(NotFound):
            ask(ada, "get_user_memory", {"pointer": nowhere})
    with pytest.raises(InvalidInput):
        ask(ada, "get_user_memory", {"pointer": "facts"})


def test_what_was_set_by_one_operation_is_got_by_another(ada: UserMemory) -> None:
    kept = ask(ada, "set_memory_item", {"key": "tone", "value": ["w"]})
    assert isinstance(kept, Item)
    assert kept.namespace == "default"
    assert ask(ada, "get_memory_item", {"key": "tone"}) == kept
    assert ask(ada, "delete_memory_item", {"key": "tone"}) is None
    with pytest.raises(NotFound):
        ask(ada, "get_memory_item", {"key": "tone"})


@pytest.mark.parametrize("value", [1, 1.0, True, "1", " [1] ", None, {"a": [1.0, 1]}], ids=repr)
def test_a_value_keeps_its_kind(ada: UserMemory, value: Any) -> None:
    ask(ada, "set_memory_item", {"key": "any", "value": value})
    assert repr(ask(ada, "get_memory_item", {"key": "any"}).value) == repr(value)


def test_only_the_operator_accepts(ada: UserMemory) -> None:
    ask(ada, "accept_pending_version", {"id": "PENDING"})
    assert ada.document.current().document["last_updated_by"] == "operator"
    assert ask(ada, "list_pending_versions", {}).entries == ()


@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("get_user_memory", {"at": 2**200}),
        ("get_memory_history", {"before": 2**200}),
        ("compare_memory_versions", {"before": 2**200, "after": 0}),
        ("revert_user_memory", {"version": 2**200}),
        ("set_memory_item", {"key": "k", "value": 1, "expected_version": 2**200}),
        ("set_memory_item", {"key": "k", "value": 2**200}),
        ("get_memory_item", {"key": "\ud800"}),
        ("get_memory_item", {"key": "\0"}),
        ("list_messages", {"conversation": "call-1", "after": 2**200}),
        ("list_messages", {"conversation": "\0"}),
        ("list_memory_items", {"after": "\0"}),
        ("set_profile_text", {"text": "\0"}),
        ("get_pending_version", {"id": "\0"}),
        ("get_user_memory", {"at": datetime(2026, 1, 1).isoformat()}),
        ("list_conversations", {"before": datetime(2026, 1, 1).isoformat()}),
        ("get_user_memory", {"at": datetime.max.replace(tzinfo=UTC).isoformat()}),
        ("get_user_memory", {"at": "0001-01-01T00:00:00+14:00"}),
        ("get_user_memory", {"at": "9999-12-31T23:59:59-14:00"}),
        ("list_conversations", {"before": "0001-01-01T00:00:00+14:00"}),
        (
            "append_messages",
            {
                "conversation": "call-1",
                "messages": [{"role": "user", "content": "x", "said_at": "0001-01-01T00:00:00+14:00"}],
            },
        ),
    ],
    ids=str,
)
def test_an_extreme_question_has_an_answer_or_an_error_of_ours(ada: UserMemory, name: str, members: Ask) -> None:
    with suppress(InvalidInput, NotFound, VersionConflict, ValidationError):
        ask(ada, name, members)
    for listing in ("list_messages", "list_conversations", "list_memory_items", "get_memory_history"):
        ask(ada, listing, {"conversation": "call-1"} if listing == "list_messages" else {})
