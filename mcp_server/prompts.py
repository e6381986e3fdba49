"""Prompts: how a person starts a chat with what is known, has something kept, or looks through what is there."""

from typing import Annotated, Any, Final

from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.prompts import Prompt
from mcp.server.mcpserver.prompts.base import Message
from mcp_types import InputRequiredResult
from pydantic import Field

from mcp_server.failures import refused
from mcp_server.resources import Reading
from memory_tools.known import read_known
from memory_tools.memory import UserMemory
from memory_tools.presentation import known_text
from memory_tools.visible import visible_line
from storage.errors import InvalidInput, TooLarge

CONTEXT_TOKENS: Final = 1_000
"""Tokens of what is known at the start of a chat."""

WISH_LIMIT: Final = 4_000
"""Characters of what a person wants to be remembered."""

NOTHING: Final = "User Memory: nothing is known about this person yet."

REMEMBER: Final = (
    "Keep this in my memory: {wish}\n\n"
    "Read what is known with get_user_memory first. Then change only what is new with update_user_memory, or keep a "
    "single value with set_memory_item. If it contradicts what is known, say so and ask me which is right. "
    "Tell me in one sentence what you kept, or why it was held back."
)

REVIEW: Final = (
    "Go through my memory with me. Read all of it: get_user_memory, list_memory_items, and get_memory_history for how "
    "it came about. Show it to me in plain words, in short groups. Point out what looks out of date, contradictory, "
    "double or none of anybody's business, and ask before you change or delete anything."
)


def add_prompts(server: MCPServer[Any], read: Reading[Any]) -> None:
    """Add the prompts."""

    async def context() -> str:
        """Put what is known about the person at the start of a chat, compact and marked as data."""
        text: str = await read(_known)
        return text or NOTHING

    async def remember(what: Annotated[str, Field(description="What to keep in memory.")]) -> str:
        """Have something kept in memory, without losing what is there."""
        if len(what) > WISH_LIMIT:
            raise refused(TooLarge(f"what: at most {WISH_LIMIT:,} characters"))
        return REMEMBER.format(wish=visible_line(what))

    async def review_memory() -> str:
        """Go through everything that is kept, and put right what is wrong."""
        return REVIEW

    server.add_prompt(_Checked.from_function(context, title="Start with what is known about me"))
    server.add_prompt(_Checked.from_function(remember, title="Remember something about me"))
    server.add_prompt(_Checked.from_function(review_memory, title="Review my memory"))


class _Checked(Prompt):
    """Says what is wrong with its arguments. The SDK would log them, and answer that it failed."""

    async def render(
        self, arguments: dict[str, Any] | None, context: Context[Any, Any]
    ) -> list[Message] | InputRequiredResult:
        """Return the messages. Raises the protocol's error for arguments that are unknown, missing or empty."""
        given = arguments or {}
        wanted = [each.name for each in self.arguments or ()]
        if given.keys() - wanted:
            raise refused(InvalidInput(f"arguments: there is {' and '.join(wanted) or 'none'}, and no other"))
        for name in wanted:
            if not given.get(name):
                raise refused(InvalidInput(f"{name}: give a text"))
        return await super().render(given, context)


def _known(person: UserMemory) -> str:
    with person.read() as stores:
        return known_text(read_known(stores), budget=CONTEXT_TOKENS)
