"""Completions: names of the asker's own items, while a person types the address of one."""

from typing import Any, Final

from mcp.server import MCPServer
from mcp_types import (
    Completion,
    CompletionArgument,
    CompletionContext,
    PromptReference,
    ResourceTemplateReference,
)

from mcp_server.places import ITEM
from mcp_server.resources import Reading
from memory_tools.memory import UserMemory
from storage.items import DEFAULT_NAMESPACE

MOST: Final = 100
"""Values of a completion, as the protocol has it."""


def add_completions(server: MCPServer[Any], read: Reading[Any]) -> None:
    """Complete the namespace and the key of an item; of anything else nothing is known."""

    @server.completion()  # type: ignore[no-untyped-call, untyped-decorator]  # the SDK leaves it untyped
    async def complete(
        ref: PromptReference | ResourceTemplateReference,
        argument: CompletionArgument,
        context: CompletionContext | None,
    ) -> Completion:
        if not isinstance(ref, ResourceTemplateReference) or ref.uri != ITEM:
            return Completion(values=[])
        given = (context.arguments if context else None) or {}
        namespace = given.get("namespace") or DEFAULT_NAMESPACE

        def names(person: UserMemory) -> list[str]:
            if argument.name == "namespace":
                return person.items.namespaces(argument.value, limit=MOST + 1)
            return person.items.keys(namespace, argument.value, limit=MOST + 1) if argument.name == "key" else []

        found: list[str] = await read(names)
        return Completion(values=found[:MOST], has_more=len(found) > MOST)
