"""What a model and a program are told of the tools, before anything is called."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from mcp_server.schemas import input_schema, output_schema
from mcp_server.tools import memory_tool, offered
from memory_tools.operation import Effect, Operation

AGENTS = offered("all")

every_operation = pytest.mark.parametrize("operation", AGENTS, ids=lambda each: each.name)


def parts(schema: Any) -> Iterator[dict[str, Any]]:
    """Yield every schema in a schema, the names of properties aside."""
    if isinstance(schema, list):
        for each in schema:
            yield from parts(each)
    elif isinstance(schema, dict):
        yield schema
        for name, member in schema.items():
            yield from parts(list(member.values()) if name == "properties" else member)


def test_a_model_is_shown_at_most_10_tools_and_3600_bytes() -> None:
    tools = [memory_tool(each, answer_tokens=2_000, seconds=1) for each in AGENTS]
    shown = [{"name": each.name, "description": each.description, "inputSchema": each.parameters} for each in tools]
    assert len(tools) <= 10
    assert len(json.dumps(shown, separators=(",", ":"), ensure_ascii=False).encode()) <= 3_600


@every_operation
def test_every_object_of_an_input_refuses_what_it_does_not_name(operation: Operation[Any, Any]) -> None:
    objects = [each for each in parts(input_schema(operation)) if "properties" in each]
    assert objects
    assert all(each["type"] == "object" and each["additionalProperties"] is False for each in objects)


@every_operation
def test_an_input_has_no_null_no_list_of_types_no_title_and_no_reference(operation: Operation[Any, Any]) -> None:
    for part in parts(input_schema(operation)):
        assert part.get("type") != "null"
        assert not isinstance(part.get("type"), list)
        assert not part.keys() & {"title", "$ref", "$defs", "default"}


@every_operation
def test_every_argument_says_of_which_type_it_is(operation: Operation[Any, Any]) -> None:
    for part in parts(input_schema(operation)):
        for argument in part.get("properties", {}).values():
            assert "type" in argument or all("type" in each for each in argument["anyOf"])


@every_operation
def test_the_example_of_an_operation_fits_its_schema_and_an_unknown_argument_does_not(
    operation: Operation[Any, Any],
) -> None:
    schema = Draft202012Validator(input_schema(operation))
    assert schema.is_valid(operation.example)
    for name in ("user", "user_id", "phone", "organization", "owner", "max_token"):
        assert not schema.is_valid({**operation.example, name: 1})


@every_operation
def test_the_schemas_are_schemas(operation: Operation[Any, Any]) -> None:
    for schema in (input_schema(operation), output_schema(operation)):
        Draft202012Validator.check_schema(schema)
        assert schema["type"] == "object"


def test_an_output_has_no_list_of_types_and_names_all_it_may_hold() -> None:
    for operation in AGENTS:
        for part in parts(output_schema(operation)):
            assert not isinstance(part.get("type"), list)
        assert output_schema(operation)["additionalProperties"] is False


def test_only_what_reads_has_max_tokens() -> None:
    having = [each.name for each in AGENTS if "max_tokens" in input_schema(each)["properties"]]
    assert having == [each.name for each in AGENTS if each.effect is Effect.READ]
