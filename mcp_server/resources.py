"""Resources: a person's memory at the addresses `memory://me/...`, with every byte of every value."""

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias, TypeVar

import anyio
from mcp.server import MCPServer
from mcp.server.mcpserver.resources import ResourceSecurity
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR

from mcp_server.asker import asker
from mcp_server.failures import UNFORESEEN, refused, unforeseen
from mcp_server.places import DOCUMENT, HISTORY, ITEM, VERSION
from memory_tools.access import Scope
from memory_tools.answer import as_json
from memory_tools.memory import UserMemory
from storage.canonical import dumps
from storage.errors import InvalidInput, TimedOut, UserMemoryError

Answer = TypeVar("Answer")

Reading: TypeAlias = Callable[[Callable[[UserMemory], Answer]], Awaitable[Answer]]
"""Reads something of the person who asks; errors come out as those of the protocol."""

JSON: Final = "application/json"

OPAQUE: Final = ResourceSecurity(exempt_params={"namespace", "key"})
"""Names are opaque: one that is called `..` is no path."""


def reading(seconds: float) -> Reading[Any]:
    """Return what reads in a thread, for at most so many seconds."""

    async def read(question: Callable[[UserMemory], Answer]) -> Answer:
        try:
            asking = asker()
            with anyio.fail_after(seconds):
                return await asking.memory.threads.run(lambda: question(asking.person(Scope.READ)))
        except TimeoutError:
            raise refused(TimedOut()) from None
        except UserMemoryError as error:
            raise refused(error) from None
        except Exception as error:  # noqa: BLE001 - a door: nothing internal may leak through it
            unforeseen("a resource", error)
            raise MCPError(INTERNAL_ERROR, UNFORESEEN) from None

    return read


def add_resources(server: MCPServer[Any], read: Reading[Any]) -> None:
    """Add the resources. They are the same four addresses for everybody; what stands there is the asker's own."""

    @server.resource(
        DOCUMENT,
        name="document",
        title="What is known about you",
        description="The newest version of the document, with its version; {} before anything is known.",
        mime_type=JSON,
    )
    async def document() -> str:
        return dumps(await read(lambda person: person.document.current().document))

    @server.resource(
        HISTORY,
        name="history",
        title="How it came to be known",
        description="The newest 20 versions of the document, each with its JSON Patch and who made it.",
        mime_type=JSON,
    )
    async def history() -> str:
        return dumps(as_json(await read(lambda person: person.document.history())))

    @server.resource(
        VERSION,
        name="version",
        title="What was known",
        description="The document as of one version.",
        mime_type=JSON,
    )
    async def document_version(version: str) -> str:
        number = _number(version)
        return dumps(await read(lambda person: person.document.as_of(number).document))

    @server.resource(
        ITEM,
        name="item",
        title="One value",
        description="The value that is kept under a namespace and a key.",
        mime_type=JSON,
        security=OPAQUE,
    )
    async def item(namespace: str, key: str) -> str:
        return dumps(await read(lambda person: person.items.get(namespace, key).value))


def _number(version: str) -> int:
    if not (version.isascii() and version.isdigit() and len(version) <= 10):
        raise refused(InvalidInput("a version is a number"))
    return int(version)
