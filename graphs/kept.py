"""Kept messages: all of a person's, or of one conversation, page by page, and which of them teach anything."""

from collections.abc import Collection, Iterator

from memory_tools.said import RECALLED
from storage.conversations import Message
from storage.limits import PAGE_LIMIT
from storage.stores import Stores


def messages_since(stores: Stores, number: int) -> Iterator[Message]:
    """Yield the messages behind `number`, of all conversations, in order."""
    after: int | None = number
    while after is not None:
        page = stores.conversations.since(after, limit=PAGE_LIMIT)
        yield from page.entries
        after = page.next


def messages_of(stores: Stores, conversation: str, after: int | None = 0) -> Iterator[Message]:
    """Yield the messages of a conversation behind number `after`, in order; raises NotFound for no such one."""
    while after is not None:
        page = stores.conversations.messages(conversation, limit=PAGE_LIMIT, after=after)
        yield from page.entries
        after = page.next


def teaches(message: Message, roles: Collection[str]) -> bool:
    """Tell whether something may be learnt from a message: it is of one of `roles`, and does not repeat memory."""
    return message.role in roles and not message.metadata.get(RECALLED)
