"""Operations on items: small values under namespace and key."""

from typing import Annotated, Any

from pydantic import Field

from memory_tools.memory import UserMemory
from memory_tools.operation import NAMED, UNSAID, Audience, Effect, Input, Omittable, PageSize, Told, operation
from storage.errors import InvalidInput, InvalidPatch
from storage.items import DEFAULT_NAMESPACE, LONGEST_LIST, Item
from storage.limits import PAGE_LIMIT, VERSION_LIMIT
from storage.page import Page
from storage.pointer import pointer, tokens

Namespace = Annotated[str, Field(description="Group, as prefs.", default_factory=lambda: DEFAULT_NAMESPACE), NAMED]
Key = Annotated[str, Field(description="Exact name."), NAMED]
Value = Annotated[Any, Field(description="Any JSON up to 10 KB.")]
ItemVersion = Annotated[int, Field(ge=0, le=VERSION_LIMIT), UNSAID]


class NamedItem(Input):
    """One item by its exact name."""

    key: Key
    namespace: Namespace


class NewItem(NamedItem):
    """An item to be kept."""

    value: Value
    expected_version: Annotated[Omittable[ItemVersion], Field(description="As you read it; 0: new.")]


class NewEntry(NamedItem):
    """An entry for the list at a key."""

    value: Value
    keep: Annotated[int, Field(description="How many of the newest entries stay.", ge=1, le=LONGEST_LIST)] = 10


class ItemsWanted(Input):
    """One page of a namespace, or of all of them."""

    namespace: Annotated[Omittable[Annotated[str, NAMED]], Field(description="Left out: all.")]
    limit: Annotated[PageSize, Field(default_factory=lambda: PAGE_LIMIT)]
    after: Annotated[Omittable[Annotated[str, Told({"minLength": 1})]], Field(description="As in next.")]


@operation(Effect.READ, "GET /items/{namespace}/{key}", example={"namespace": "prefs", "key": "tone"})
def get_memory_item(memory: UserMemory, ask: NamedItem) -> Item:
    """Read a value. Use it when you know the key."""
    return memory.items.get(ask.namespace, ask.key)


@operation(Effect.WRITE, "PUT /items/{namespace}/{key}", example={"namespace": "prefs", "key": "tone", "value": "warm"})
def set_memory_item(memory: UserMemory, ask: NewItem) -> Item:
    """Keep a small value under a key. Use it for settings and single facts."""
    memory.require_trust()
    return memory.items.set(ask.namespace, ask.key, ask.value, expected_version=ask.expected_version)


@operation(
    Effect.WRITE,
    "POST /items/{namespace}/{key}/entries",
    Audience.OPERATOR,
    example={"namespace": "suggestions", "key": "books", "value": "Emma", "keep": 5},
)
def push_memory_item(memory: UserMemory, ask: NewEntry) -> Item:
    """Append a value to the list under a key and keep the newest. Use it for what must not be repeated."""
    memory.require_trust()
    return memory.items.push(ask.namespace, ask.key, ask.value, keep=ask.keep)


@operation(Effect.ERASE, "DELETE /items/{namespace}/{key}", example={"namespace": "prefs", "key": "tone"})
def delete_memory_item(memory: UserMemory, ask: NamedItem) -> None:
    """Delete a value. Use it when it is wrong or unwanted."""
    memory.require_trust()
    memory.items.delete(ask.namespace, ask.key)


@operation(Effect.READ, "GET /items", example={"namespace": "prefs"})
def list_memory_items(memory: UserMemory, ask: ItemsWanted) -> Page[Item, str]:
    """List single kept values. Use it before you ask the person again."""
    # A page of one namespace goes on behind a key, one of all behind /namespace/key, escaped as in a JSON pointer.
    if ask.namespace is not None:
        return memory.items.in_namespace(ask.namespace, limit=ask.limit, after=ask.after)
    page = memory.items.all(limit=ask.limit, after=None if ask.after is None else _namespace_and_key(ask.after))
    return Page(page.entries, None if page.next is None else pointer(page.next))


def _namespace_and_key(place: str) -> tuple[str, str]:
    try:
        namespace, key = tokens(place)
    except (InvalidPatch, ValueError):
        raise InvalidInput("without a namespace, `after` is /namespace/key, as in a page's `next`") from None
    return namespace, key
