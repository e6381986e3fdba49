"""Tools: the agent's operations of the catalog as MCP tools, checked as strictly as through every other door."""

from typing import Any, Final, Literal, TypeAlias

import anyio
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.server.mcpserver.utilities.func_metadata import ArgModelBase, FuncMetadata
from mcp_types import CallToolResult, ToolAnnotations
from pydantic import ValidationError

from mcp_server.answers import answered
from mcp_server.asker import DOOR, Asker, asker
from mcp_server.events import changed
from mcp_server.failures import failed, misasked, told, unforeseen
from mcp_server.fitting import LEAST_TOKENS, MOST_TOKENS
from mcp_server.schemas import MAX_TOKENS, input_schema, output_schema
from memory_tools.access import Scope
from memory_tools.operation import Audience, Effect, Operation
from memory_tools.operations import CATALOG
from memory_tools.telemetry import memory_operation, observed
from storage.errors import InvalidInput, TimedOut, UserMemoryError

Selection: TypeAlias = Literal["read", "core", "all"]
"""Which tools there are: those that read; those, and the ones that write; those, and the ones that delete."""

_EFFECTS: Final[dict[str, tuple[Effect, ...]]] = {
    "read": (Effect.READ,),
    "core": (Effect.READ, Effect.WRITE),
    "all": tuple(Effect),
}

ENTRY_TOKENS: Final = 64
"""Tokens of an entry of a list with a short value: what there is no room for is not read at all."""

OVERWRITING: Final = frozenset({"set_memory_item"})
"""Writes that leave nothing of what was there. A document is not among them: each of its versions is kept."""

SCOPES: Final = {Effect.READ: Scope.READ, Effect.WRITE: Scope.WRITE, Effect.ERASE: Scope.WRITE}
"""What a token has to be given for."""


def offered(selection: Selection) -> list[Operation[Any, Any]]:
    """Return the operations that are offered, in the catalog's order. Raises InvalidInput for no such selection."""
    if selection not in _EFFECTS:
        raise InvalidInput(f"tools are one of {', '.join(_EFFECTS)}, not {selection!r}")
    effects = _EFFECTS[selection]
    return [each for each in CATALOG.values() if each.audience is Audience.AGENT and each.effect in effects]


def memory_tool(operation: Operation[Any, Any], *, answer_tokens: int, seconds: float) -> Tool:
    """Return the tool of an operation, whose answers have `answer_tokens` unless it is asked for another number."""

    async def call(given: dict[str, Any], ctx: Context[Any, Any]) -> CallToolResult:
        try:
            asking = asker()
            with anyio.fail_after(seconds):
                result = await asking.memory.threads.run(lambda: _run(operation, given, asking, answer_tokens))
        except TimeoutError:
            return failed(told(TimedOut()))
        except UserMemoryError as error:
            return failed(told(error))
        except Exception as error:  # noqa: BLE001 - a door: nothing internal may leak through it
            return failed(unforeseen(operation.name, error))
        for uri in changed(operation, given, result):
            await ctx.notify_resource_updated(uri)
        return result

    return Tool(
        fn=call,
        name=operation.name,
        title=operation.name.replace("_", " ").capitalize(),
        description=operation.description,
        parameters=input_schema(operation),
        fn_metadata=_Checked(arg_model=ArgModelBase, output_schema=output_schema(operation)),
        is_async=True,
        context_kwarg="ctx",
        annotations=ToolAnnotations(
            read_only_hint=operation.effect is Effect.READ,
            destructive_hint=operation.effect is Effect.ERASE or operation.name in OVERWRITING,
            idempotent_hint=operation.effect is not Effect.WRITE,
            open_world_hint=False,
        ),
    )


class _Checked(FuncMetadata):
    """Hands the arguments on as they came: the operation's own input checks them, and its errors are ours.

    The SDK would drop unknown ones, and turn texts that look like JSON into what they look like.
    """

    def validate_arguments(self, arguments_to_validate: dict[str, Any]) -> dict[str, Any]:
        """Return them all as one."""
        return {"given": arguments_to_validate}


def _run(operation: Operation[Any, Any], given: dict[str, Any], asking: Asker, answer_tokens: int) -> CallToolResult:
    store = operation.function.__module__.rpartition(".")[2]
    with observed(memory_operation(operation), name=operation.name, store=store, door=DOOR) as seen:
        person = asking.person(SCOPES[operation.effect])
        arguments, room = _without_room(operation, given, answer_tokens)
        ask = _question(operation, arguments, room)
        result = answered(operation, ask, operation(person, ask), room)
        seen.content(lambda: getattr(result.content[0], "text", ""))
        return result


def _without_room(
    operation: Operation[Any, Any], given: dict[str, Any], answer_tokens: int
) -> tuple[dict[str, Any], int]:
    """Return the operation's own arguments, and how many tokens the answer may have."""
    if operation.effect is not Effect.READ:
        return given, answer_tokens
    room = given.get(MAX_TOKENS)
    if room is None:
        room = answer_tokens
    elif type(room) is not int or not LEAST_TOKENS <= room <= MOST_TOKENS:
        raise InvalidInput(f"{MAX_TOKENS}: a whole number from {LEAST_TOKENS} to {MOST_TOKENS}")
    return {name: value for name, value in given.items() if name != MAX_TOKENS}, room


def _question(operation: Operation[Any, Any], arguments: dict[str, Any], room: int) -> Any:
    """Return the operation's input; what is wrong with it is the model's, an error further in is not.

    Nothing is read that cannot be shown: a page that nobody gave a `limit` has as many entries as there is room for.
    """
    try:
        ask = operation.input.model_validate(arguments)
    except ValidationError as error:
        raise misasked(error) from None
    limit = getattr(ask, "limit", None)
    if limit is None or "limit" in ask.model_fields_set:
        return ask
    return ask.model_copy(update={"limit": min(limit, max(1, room // ENTRY_TOKENS))})
