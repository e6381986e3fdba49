"""LangChain tools: the operations of the catalog as tools of an agent. Whose memory it is, no model can choose."""

import logging
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final, NamedTuple

from langchain_core.runnables import RunnableConfig
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from langgraph.prebuilt import ToolRuntime
from langgraph.runtime import Runtime, get_runtime
from pydantic import BaseModel, ConfigDict, ValidationError

from memory_tools.answer import as_artifact, as_text
from memory_tools.memory import Memory, UserMemory, opened
from memory_tools.operation import Audience, Operation
from memory_tools.operations import CATALOG
from memory_tools.run import Identify, Run, identify
from memory_tools.telemetry import memory_operation, observed
from memory_tools.visit import require_allowed
from storage.configuration import MemoryConfiguration, effective_configuration
from storage.errors import InvalidInput, UserMemoryError
from storage.json_types import Json
from storage.names import check_name
from storage.provenance import LABEL_LIMIT, Actor, Provenance, Trust

DOOR: Final = "langchain"
"""The door that changes are said to come through."""

UNFORESEEN: Final = {"code": "internal_error", "message": "The memory could not be used."}
"""What a model reads of an error that nobody foresaw: its own text may quote anything."""

ERROR_LIMIT: Final = 4_000
"""Characters of an error with its details; a longer one is told without them."""

_log = logging.getLogger(__name__)


def get_user_memory_tools(
    memory: Memory | UserMemory,
    *,
    operations: Collection[str] | None = None,
    flow: str | None = None,
    configuration: MemoryConfiguration | Mapping[str, Any] | None = None,
    identify: Identify = identify,
) -> list[BaseTool]:
    """Return the agent's operations as tools, for `create_agent`, `ToolNode` and `bind_tools`, sync and async.

    With a `UserMemory` they are bound to that person. With a `Memory` the run says whose memory it is: its context
    (`MemoryContext`, or anything with `user_id` or `phone`), else the user whom a LangGraph server authenticated, else
    its configurable `user_id`; `identify` may be a rule of the host's own. Where nobody is named the call ends with an
    error and the run goes on. Nothing that a model sends counts as an identity.

    `operations` are names of the catalog's agent operations, all of them by default; raises InvalidInput for another.
    A tool answers with compact JSON for the model and the operation's answer as the artifact of the message; errors of
    the memory are messages with `status="error"` and the stable code. Where memory is switched off, the code is
    `memory_disabled`: what is stored for the organization and `flow` stands over `configuration`, the host's own.
    """
    if flow is not None:
        check_name(flow, "flow")
    levels = _Levels(flow, MemoryConfiguration.of(configuration))
    opened(memory)
    if isinstance(operations, str):
        raise InvalidInput("operations are a list of names")
    offered = {name: each for name, each in CATALOG.items() if each.audience is Audience.AGENT}
    unknown = sorted(set(operations or ()) - offered.keys())
    if unknown:
        raise InvalidInput(f"no operation of an agent: {', '.join(unknown)}; there are {', '.join(offered)}")
    wanted = offered if operations is None else {name: offered[name] for name in offered if name in operations}
    return [_tool(memory, each, levels, identify) for each in wanted.values()]


class _Levels(NamedTuple):
    """What the configuration of a call is made of, beside what the organization stored."""

    flow: str | None
    default: MemoryConfiguration


def _tool(memory: Memory | UserMemory, operation: Operation[Any, Any], levels: _Levels, identify: Identify) -> BaseTool:
    # Neither may be optional by type, or LangGraph leaves them out; a model's own `runtime` is no ToolRuntime.
    def call(*, config: RunnableConfig, runtime: ToolRuntime[Any, Any] = None, **asked: Any) -> tuple[str, Any]:  # type: ignore[assignment]
        return _answered(operation, asked, lambda: _whose(memory, levels, identify, runtime, config))

    async def acall(*, config: RunnableConfig, runtime: ToolRuntime[Any, Any] = None, **asked: Any) -> tuple[str, Any]:  # type: ignore[assignment]
        return await threads.run(lambda: call(config=config, runtime=runtime, **asked))

    threads = opened(memory).threads
    return StructuredTool.from_function(
        func=call,
        coroutine=acall,
        name=operation.name,
        description=operation.description,
        args_schema=_arguments(operation.input),
        response_format="content_and_artifact",
        handle_tool_error=True,
        handle_validation_error=_invalid,
    )


def _arguments(asked: type[BaseModel]) -> type[BaseModel]:
    """Return the input as LangChain checks it: what the schema does not know is dropped, with what it was to forge."""
    members = {"model_config": ConfigDict(extra="ignore"), "__doc__": asked.__doc__, "__module__": asked.__module__}
    return type(asked.__name__, (asked,), members)


def _answered(
    operation: Operation[Any, Any], asked: dict[str, Any], whose: Callable[[], UserMemory]
) -> tuple[str, Any]:
    with observed(memory_operation(operation), name=operation.name, store=_store(operation), door=DOOR) as seen:
        try:
            answer = operation(whose(), _question(operation, asked))
        except ToolException:
            seen.failed(InvalidInput.code)
            raise
        except UserMemoryError as error:
            seen.failed(error.code)
            raise ToolException(_error({"code": error.code, "message": str(error), **error.details})) from None
        except Exception as error:  # noqa: BLE001 - a door: the run of the host lives on
            seen.failed("_OTHER")
            _log.error("%s failed: %s", operation.name, type(error).__name__)
            raise ToolException(_error(UNFORESEEN)) from None
        text = as_text(answer)
        seen.content(text)
        return text, as_artifact(answer)


def _question(operation: Operation[Any, Any], asked: dict[str, Any]) -> Any:
    """Return the operation's input; what is wrong with it is the model's, an error further in is not."""
    try:
        return operation.input.model_validate(asked)
    except ValidationError as error:
        raise ToolException(_invalid(error)) from None


def _store(operation: Operation[Any, Any]) -> str:
    """Return the kind of memory that an operation is about: the module it stands in."""
    return operation.function.__module__.rpartition(".")[2]


def _whose(
    memory: Memory | UserMemory, levels: _Levels, identify: Identify, runtime: object, config: RunnableConfig
) -> UserMemory:
    """Return the person as the configuration lets them be known, in the hands of the agent."""
    trusted = runtime if isinstance(runtime, ToolRuntime) else None
    person = memory if isinstance(memory, UserMemory) else identify(memory, Run.of(trusted or _around(), config))
    configuration = effective_configuration(person.memory.database, person.identity.organization, *levels)
    return require_allowed(person, configuration).acting(_by_agent(trusted, config))


def _around() -> Runtime[Any] | None:
    """Return the runtime of the node that calls the tool by itself, where there is one."""
    try:
        return get_runtime()
    except (RuntimeError, KeyError):  # outside of a graph
        return None


def _by_agent(runtime: ToolRuntime[Any, Any] | None, config: RunnableConfig) -> Provenance:
    """Return who makes the changes of this call: an agent, trusted as a tool is once one spoke in this turn."""
    thread = (config.get("configurable") or {}).get("thread_id")
    conversations = (thread,) if isinstance(thread, str) and 0 < len(thread) <= LABEL_LIMIT else ()
    trust = Trust.TOOL if runtime is not None and _tool_spoke(runtime.state) else None
    return Provenance(Actor.AGENT, DOOR, conversations=conversations, trust=trust)


def _tool_spoke(state: Any) -> bool:
    """Tell whether a tool that is not ours brought content into the turn: since then a change may be its idea."""
    messages = state.get("messages", ()) if isinstance(state, dict) else getattr(state, "messages", ())
    for message in reversed(messages or ()):
        kind = getattr(message, "type", None)
        if kind == "human":
            # A summary stands for messages that are gone, and a tool may have spoken in any of them.
            return bool(message.additional_kwargs.get("lc_source") == "summarization")
        if (kind == "tool" and message.name not in CATALOG) or (kind == "ai" and _searched(message)):
            return True
    return False


def _searched(message: Any) -> bool:
    """Tell whether the provider's own tools brought something into the message, such as results of a web search."""
    return isinstance(message.content, list) and any(
        str(block.get("type", "")).startswith(("server_tool_result", "server_tool_call"))
        for block in message.content_blocks
    )


def _invalid(error: ValidationError | Any) -> str:
    """Return what is wrong with the arguments, without repeating them."""
    wrong = "; ".join(
        f"{'.'.join(map(str, each['loc'])) or 'arguments'}: {each['msg']}"
        for each in error.errors(include_url=False, include_input=False, include_context=False)
    )
    return _error({"code": InvalidInput.code, "message": wrong})


def _error(members: dict[str, Json]) -> str:
    """Return the text of an error. Its details may quote the document: they are shown as any other answer, or not."""
    text = as_text({"error": members})
    shown = {name: members[name] for name in ("code", "message")}
    return text if len(text) <= ERROR_LIMIT else as_text({"error": shown})
