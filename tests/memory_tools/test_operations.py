import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, NotRequired, get_args, get_type_hints

import pytest
from langchain_core.tools import StructuredTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from pydantic import AliasChoices, AliasPath, BaseModel, Field, ValidationError
from pydantic.fields import FieldInfo
from pydantic.json_schema import SkipJsonSchema
from typing_extensions import TypedDict, is_typeddict

from memory_tools.memory import Memory, UserMemory
from memory_tools.operation import Audience, Effect, Input, Omittable, Operation, by_name, operation
from memory_tools.operations import CATALOG
from storage.database import Database
from storage.errors import InvalidInput, InvalidPatch, NotFound, VersionConflict
from storage.items import Item
from storage.outcome import Held, Saved, Unchanged
from storage.provenance import WHY_LIMIT, Actor, Provenance, by_agent
from tests.contents import Contents

TOOLS_LIMIT = 10
"""Operations that an agent is offered: each one is read with every call of the model."""

SCHEMA_LIMIT = 3_600
"""Bytes of compact JSON that the agent's operations take in OpenAI's format, about 900 tokens."""

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
    "update_user_memory": [
        {"changes": [{"pointer": "/facts/-", "value": "has a dog"}]},
        {"changes": [{"pointer": "/mood", "value": None}], "expected_version": 0, "why": "She said so."},
    ],
    "get_memory_history": [{}, {"limit": 1, "before": 3}],
    "compare_memory_versions": [{"before": 0, "after": 2}],
    "revert_user_memory": [{"version": 1}],
    "list_memory_items": [
        {"namespace": "prefs"},
        {"namespace": "prefs", "limit": 1, "after": "pace"},
        {},
        {"after": "/prefs/pace"},
    ],
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
    "get_conversation_memory": [{"conversation": "call-1"}],
    "set_conversation_memory": [
        {"conversation": "call-1", "data": {"summary": "They met again."}},
        {"conversation": "call-1", "data": {}, "message_count": 1},
    ],
    "list_conversation_memories": [{}, {"limit": 1}],
    "note_activity": [{}],
    "list_pending_versions": [{}, {"limit": 1}],
    "get_pending_version": [{"id": "PENDING"}],
    "accept_pending_version": [{"id": "PENDING"}],
    "reject_pending_version": [{"id": "PENDING"}],
}

MAKERS = (
    "set_memory_item",
    "push_memory_item",
    "set_profile_text",
    "append_messages",
    "update_user_memory",
    "set_memory_configuration",
)
"""What keeps something where nobody was met, of the person or of their organization."""

EACH = [(name, ask) for name, each in CATALOG.items() for ask in EXAMPLES.get(name, [dict(each.example)])]
"""Every operation, asked with its own example unless there are better questions to `ada` above."""

EACH_OPERATION = pytest.mark.parametrize("each", CATALOG.values(), ids=CATALOG)


@pytest.fixture
def ada(operators_database: Database) -> UserMemory:
    """A person with some of everything, asked by an operator."""
    person = Memory(operators_database).of(user="ada")
    person.memory.configurations.set({"retentionDays": 90}, flow="support-line")
    person.items.set("prefs", "tone", "warm")
    person.items.set("prefs", "pace", "slow")
    person.profile.set("Likes tea.")
    person.conversations.append("call-1", [{"role": "user", "content": "hello"}, {"role": "tool", "content": [1]}])
    person.conversation_memories.set("call-1", {"summary": "They met."})
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


def fields(kind: Any) -> Iterator[tuple[str, FieldInfo | None, Any]]:
    """Yield each name under which something can be given, its field and its type, for all that is inside a type."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            for given in (name, *aliases(field.alias), *aliases(field.validation_alias)):
                yield given, field, field.annotation
            yield from fields(field.annotation)
    elif isinstance(kind, type) and (is_typeddict(kind) or is_dataclass(kind)):
        for name, inside in get_type_hints(kind).items():
            yield name, None, inside
            yield from fields(inside)
    for inside in get_args(kind):
        yield from fields(inside)


def aliases(alias: Any) -> Iterator[str]:
    if isinstance(alias, str):
        yield alias
    elif isinstance(alias, AliasPath):
        yield from (token for token in alias.path if isinstance(token, str))
    elif isinstance(alias, AliasChoices):
        for choice in alias.choices:
            yield from aliases(choice)


def identities(each: Operation[Any, Any]) -> list[str]:
    """Return the names in a question that could say whose memory it is. A switch names nobody."""
    return [name for name, _, kind in fields(each.input) if IDENTITY.search(name) and kind is not bool]


@EACH_OPERATION
def test_no_input_says_whose_memory_it_is(each: Operation[Any, Any]) -> None:
    assert identities(each) == []


class Typed(TypedDict):
    tenant: NotRequired[str]


@dataclass
class Kept:
    account: str


class Inside(Input):
    for_whom: Omittable[str]


class Plain(BaseModel):
    user_id: str


class Called(BaseModel):
    name: Annotated[str, Field(alias="phoneNumber")]


class Chosen(BaseModel):
    name: Annotated[str, Field(validation_alias=AliasChoices("n", AliasPath("caller", 0)))]


class Hidden(BaseModel):
    organization: SkipJsonSchema[str | None] = None


@pytest.mark.parametrize(
    "planted", [Plain, Called, Chosen, Hidden, Inside, Typed, Kept], ids=lambda kind: kind.__name__
)
def test_an_input_that_said_so_would_be_found(planted: Any) -> None:
    class Hostile(Input):
        """An input with something planted in it, as deep as it may be."""

        deep: Omittable[list[dict[str, Annotated[planted, "here"] | None]]]

    @operation(Effect.READ, "GET /hostile", example={})
    def hostile(memory: UserMemory, ask: Hostile) -> None:
        """Read the memory of somebody else. Use it never."""

    assert identities(hostile)


@pytest.mark.parametrize("name", ["user", "user_id", "phone_number", "organization", "ownerId", "on_behalf_of_whom"])
def test_a_name_that_said_so_would_be_found(name: str) -> None:
    assert IDENTITY.search(name)


@EACH_OPERATION
@pytest.mark.parametrize("name", ["user", "user_id", "phone", "organization", "owner_id", "x"])
def test_an_identity_smuggled_in_is_refused(each: Operation[Any, Any], name: str) -> None:
    with pytest.raises(ValidationError) as refused:
        each.input.model_validate({name: "bob"})
    assert "extra_forbidden" in [error["type"] for error in refused.value.errors()]


@EACH_OPERATION
def test_a_description_says_what_it_does_and_when_to_use_it(each: Operation[Any, Any]) -> None:
    what, when, *_ = re.split(r"(?<=[.]) ", each.description)
    assert re.match(r"[A-Z][a-z]+ .*[.]$", what)
    assert re.match(r"Use it .*[.]$", when)
    assert "\n" not in each.description


@EACH_OPERATION
def test_every_field_is_described(each: Operation[Any, Any]) -> None:
    for name, field, _ in fields(each.input):
        assert field is None or len(field.description or "") > 5, name
    assert each.input.__doc__


@EACH_OPERATION
def test_the_example_is_a_question_that_may_be_asked(each: Operation[Any, Any]) -> None:
    assert each.input.model_validate(each.example)
    assert json.loads(json.dumps(each.example)) == each.example


def as_tools() -> list[dict[str, Any]]:
    """Return what a model reads of the agent's operations, as LangChain writes it for OpenAI."""
    return [
        convert_to_openai_tool(
            StructuredTool.from_function(
                func=lambda: None, name=each.name, description=each.description, args_schema=each.input
            )
        )
        for each in CATALOG.values()
        if each.audience is Audience.AGENT
    ]


def test_what_a_model_reads_of_the_catalog_has_a_budget() -> None:
    tools = as_tools()
    assert 0 < len(tools) <= TOOLS_LIMIT
    assert len(json.dumps(tools, separators=(",", ":"), ensure_ascii=False).encode()) <= SCHEMA_LIMIT


def test_what_may_be_left_out_is_shown_without_null_and_default() -> None:
    written = json.dumps(as_tools())
    assert '"null"' not in written
    assert '"default"' not in written
    assert '"anyOf"' not in written
    asked = {tool["function"]["name"]: tool["function"]["parameters"] for tool in as_tools()}
    assert asked["get_user_memory"]["properties"]["at"]["type"] == ["integer", "string"]
    assert "required" not in asked["get_user_memory"]
    assert asked["update_user_memory"]["required"] == ["changes"]
    change = asked["update_user_memory"]["properties"]["changes"]["items"]
    assert change["properties"].keys() == {"pointer", "value", "remove"}
    assert change["required"] == ["pointer"]


@EACH_OPERATION
def test_null_for_what_may_be_left_out_leaves_it_out(each: Operation[Any, Any]) -> None:
    optional = [name for name, field in each.input.model_fields.items() if not field.is_required()]
    without = {name: value for name, value in each.example.items() if name not in optional}
    nulls = each.input.model_validate(without | dict.fromkeys(optional))
    assert nulls == each.input.model_validate(without)
    tool = StructuredTool.from_function(
        func=lambda **asked: asked, name=each.name, description=each.description, args_schema=each.input
    )
    asked = tool.invoke(without | dict.fromkeys(optional))
    assert each.input.model_validate(asked) == nulls


def test_bounds_that_a_model_does_not_read_hold() -> None:
    for name, beyond in (
        ("get_memory_history", {"limit": 0}),
        ("get_memory_history", {"limit": 101}),
        ("get_memory_history", {"before": -1}),
        ("update_user_memory", {"changes": []}),
        ("update_user_memory", {"changes": [{"pointer": "/a", "value": 1}] * 101}),
        ("update_user_memory", {"changes": [{"pointer": "/a", "value": 1}], "why": "x" * (WHY_LIMIT + 1)}),
        ("update_user_memory", {"changes": [{"pointer": "/a", "value": 1}], "expected_version": -1}),
        ("set_memory_item", {"key": "k", "value": 1, "expected_version": -1}),
    ):
        with pytest.raises(ValidationError):
            CATALOG[name].input.model_validate(beyond)


def test_what_was_said_is_not_in_the_message_about_it() -> None:
    for members in (
        {"key": "k", "value": "v", "my secret": "v"},
        {"key": ["my secret"], "value": "v"},
        {"changes": [{"pointer": "/a", "value": "my secret", "remove": True}]},
        {"changes": "my secret"},
    ):
        for name in ("set_memory_item", "update_user_memory"):
            with pytest.raises(ValidationError) as refused:
                CATALOG[name].input.model_validate(members)
            assert "'my secret'" not in str(refused.value)


def test_names_and_routes_are_used_once() -> None:
    assert set(EXAMPLES) <= set(CATALOG)
    assert len({each.route for each in CATALOG.values()}) == len(CATALOG)
    assert all(re.fullmatch(r"(GET|PUT|PATCH|POST|DELETE) (/[a-z_{}]+)+", each.route) for each in CATALOG.values())
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
    operators_database: Database, contents: Callable[[], Contents], name: str, members: Ask
) -> None:
    nobody = Memory(operators_database).of(user="nobody")
    before = contents()
    with suppress(NotFound):
        ask(nobody, name, members)
    made = contents() != before
    assert made == (name in MAKERS)


def test_a_part_of_the_document_is_found_by_its_pointer(ada: UserMemory) -> None:
    assert ask(ada, "get_user_memory", {"pointer": "/facts/0"}) == "has a cat"
    assert ask(ada, "get_user_memory", {"pointer": "/version"}) == 2
    assert ask(ada, "get_user_memory", {"at": 1}) == {
        "version": 1,
        "last_updated_by": "user",
        "summary": "Ada.",
        "facts": ["has a cat"],
    }
    assert ask(ada, "get_user_memory", {"pointer": "/facts/has a cat", "at": 1}) == "has a cat"
    for nowhere in ("/nothing", "/facts/1", "/facts/-", "/facts/has a dog", "/summary/0"):
        with pytest.raises(NotFound):
            ask(ada, "get_user_memory", {"pointer": nowhere})
    with pytest.raises(InvalidInput):
        ask(ada, "get_user_memory", {"pointer": "facts"})


def change(person: UserMemory, *changes: Ask, **more: Any) -> Any:
    return ask(person, "update_user_memory", {"changes": list(changes)} | more)


def test_changes_of_the_document_name_entries_and_never_indexes(ada: UserMemory) -> None:
    saved = change(ada, {"pointer": "/facts/-", "value": "sings"}, {"pointer": "/mood", "value": "calm"})
    assert isinstance(saved, Saved)
    assert ask(ada, "get_user_memory", {"pointer": "/facts"}) == ["has a cat", "sings"]
    assert change(ada, {"pointer": "/facts/-", "value": "sings"}) == Unchanged(3)
    change(ada, {"pointer": "/facts/sings", "remove": True}, {"pointer": "/mood", "value": None, "remove": False})
    assert ask(ada, "get_user_memory", {"pointer": "/facts"}) == ["has a cat"]
    assert ask(ada, "get_user_memory", {"pointer": "/mood"}) is None
    change(ada, {"pointer": "/mood", "value": None, "remove": True})
    for refused, error in (
        ({"pointer": "/facts/0", "remove": True}, InvalidPatch),
        ({"pointer": "/mood", "remove": True}, NotFound),
        ({"pointer": "", "value": {}}, InvalidPatch),
        ({"pointer": "/version", "value": 9}, InvalidPatch),
    ):
        with pytest.raises(error):
            change(ada, {"pointer": "/never", "value": "kept"}, refused)
    assert "never" not in ada.document.current().document


@pytest.mark.parametrize(
    "neither_or_both",
    [
        {"pointer": "/mood"},
        {"pointer": "/mood", "remove": False},
        {"pointer": "/mood", "remove": None},
        {"pointer": "/mood", "value": "calm", "remove": True},
        {"pointer": "/mood", "value": False, "remove": True},
        {"value": "calm"},
        {"pointer": "/mood", "value": "calm", "index": 0},
    ],
    ids=str,
)
def test_a_change_is_a_value_or_a_removal(neither_or_both: Ask) -> None:
    with pytest.raises(ValidationError):
        CATALOG["update_user_memory"].input.model_validate({"changes": [neither_or_both]})


def test_a_change_keeps_the_version_it_was_made_from(ada: UserMemory) -> None:
    with pytest.raises(VersionConflict):
        change(ada, {"pointer": "/safety_notes", "value": "Other."}, expected_version=1)
    merged = change(ada, {"pointer": "/facts/-", "value": "sings"}, expected_version=1)
    assert isinstance(merged, Saved)
    assert merged.merged


def test_a_change_is_on_record_as_that_of_who_asks(ada: UserMemory) -> None:
    agent = ada.acting(Provenance(Actor.AGENT, "mcp", conversations=("call-1",)))
    change(agent, {"pointer": "/moods/-", "value": "calm"}, why="She said so.")
    change(agent, {"pointer": "/moods/-", "value": "calmer"}, why=None)
    change(agent, {"pointer": "/moods/-", "value": "calmest"}, why="")
    *plain, reasoned = [entry.provenance for entry in ada.document.history(limit=3).entries]
    assert plain == [agent.provenance, agent.provenance]
    assert reasoned == Provenance(Actor.AGENT, "mcp", conversations=("call-1",), why="She said so.")
    assert ada.document.current().document["last_updated_by"] == "agent"
    held = change(agent, {"pointer": "/safety_notes", "remove": True}, why="It is over.")
    assert isinstance(held, Held)
    assert ada.pending.get(held.pending_id).provenance.why == "It is over."


def test_changes_reach_the_memory_through_a_langchain_tool(ada: UserMemory) -> None:
    operation = CATALOG["update_user_memory"]
    tool = StructuredTool.from_function(
        func=lambda **asked: operation(ada, operation.input.model_validate(asked)),
        name=operation.name,
        description=operation.description,
        args_schema=operation.input,
    )
    asked = {"changes": [{"pointer": "/mood", "value": None}, {"pointer": "/facts", "value": None, "remove": True}]}
    assert isinstance(tool.invoke(asked), Held | Saved)


def test_what_was_set_by_one_operation_is_got_by_another(ada: UserMemory) -> None:
    kept = ask(ada, "set_memory_item", {"key": "tone", "value": ["w"]})
    assert isinstance(kept, Item)
    assert kept.namespace == "default"
    assert ask(ada, "get_memory_item", {"key": "tone"}) == kept
    assert ask(ada, "delete_memory_item", {"key": "tone"}) is None
    with pytest.raises(NotFound):
        ask(ada, "get_memory_item", {"key": "tone"})


def test_items_are_listed_of_one_namespace_or_of_all_of_them(ada: UserMemory) -> None:
    ask(ada, "set_memory_item", {"key": "a/b~c", "value": 1, "namespace": "/"})

    def listed(**members: Any) -> tuple[list[tuple[str, str]], str | None]:
        page = ask(ada, "list_memory_items", members)
        return [(item.namespace, item.key) for item in page.entries], page.next

    slash, pace, tone = ("/", "a/b~c"), ("prefs", "pace"), ("prefs", "tone")
    assert listed() == ([slash, pace, tone], None)
    assert listed(namespace=None, after=None) == listed()
    assert listed(limit=1) == ([slash], "/~1/a~1b~0c")
    assert listed(limit=1, after="/~1/a~1b~0c") == ([pace], "/prefs/pace")
    assert listed(limit=1, after="/prefs/pace") == ([tone], None)
    assert listed(namespace="prefs", limit=1) == ([pace], "pace")
    assert listed(namespace="prefs", limit=1, after="pace") == ([tone], None)
    assert listed(namespace="default") == ([], None)
    assert [item.key for item in ada.items.all(limit=2).entries] == ["a/b~c", "pace"]
    assert ada.items.all(limit=2, after=pace).entries == (ada.items.get(*tone),)


@pytest.mark.parametrize("place", ["", "pace", "/pace", "prefs/pace", "/a/b/c", "/a/~", "/a/", "//a", "/a/\0", "/a/ b"])
def test_what_no_page_of_all_items_gave_is_refused(ada: UserMemory, place: str) -> None:
    with pytest.raises(InvalidInput):
        ask(ada, "list_memory_items", {"after": place})


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


@pytest.mark.parametrize("moment", [5.5, True, "5.5", "-1", " 3 ", "9" * 11], ids=repr)
def test_a_number_that_is_no_version_is_not_taken_for_a_time(moment: object) -> None:
    """Pydantic would read seconds since 1970."""
    with pytest.raises(ValidationError, match="a version is a whole number"):
        CATALOG["get_user_memory"].input(at=moment)
