"""Operations on items: small values under namespace and key."""

from typing import Annotated, Any

from pydantic import Field

from memory_tools.memory import UserMemory
from memory_tools.operation import Audience, Effect, Input, operation
from storage.items import DEFAULT_NAMESPACE, LONGEST_LIST, Item
from storage.limits import PAGE_LIMIT, VERSION_LIMIT
from storage.page import Page

Namespace = Annotated[str, Field(description="Group of keys, such as prefs.", examples=["prefs"])]
Key = Annotated[str, Field(description="Name of the value, 1-256 characters.", examples=["tone"])]
Value = Annotated[Any, Field(description="Any JSON value of at most 10 KB.", examples=["warm"])]


class NamedItem(Input):
    """One item by its exact name."""

    key: Key
    namespace: Namespace = DEFAULT_NAMESPACE


class NewItem(NamedItem):
    """An item to be kept."""

    value: Value
    expected_version: Annotated[
        int | None,
        Field(description="Only when the item is at this version; 0: not there yet.", ge=0, le=VERSION_LIMIT),
    ] = None


class NewEntry(NamedItem):
    """An entry for the list at a key."""

    value: Value
    keep: Annotated[int, Field(description="How many of the newest entries stay.", ge=1, le=LONGEST_LIST)] = 10


class ItemsWanted(Input):
    """One page of a namespace."""

    namespace: Namespace = DEFAULT_NAMESPACE
    limit: Annotated[int, Field(description="Entries in the page.", ge=1, le=PAGE_LIMIT)] = PAGE_LIMIT
    after: Annotated[str | None, Field(description="The last key of the page before.")] = None


@operation(Effect.READ, "GET /items/{namespace}/{key}")
def get_memory_item(memory: UserMemory, ask: NamedItem) -> Item:
    """Recall one remembered value by its exact key. Use list_memory_items when you do not know the key."""
    return memory.items.get(ask.namespace, ask.key)


@operation(Effect.WRITE, "PUT /items/{namespace}/{key}")
def set_memory_item(memory: UserMemory, ask: NewItem) -> Item:
    """Remember a small value under a key, replacing what was there. Use it for settings and single facts."""
    return memory.items.set(ask.namespace, ask.key, ask.value, expected_version=ask.expected_version)


@operation(Effect.WRITE, "POST /items/{namespace}/{key}/entries", Audience.OPERATOR)
def push_memory_item(memory: UserMemory, ask: NewEntry) -> Item:
    """Append a value to the list under a key and keep the newest. Use it for what must not be repeated."""
    return memory.items.push(ask.namespace, ask.key, ask.value, keep=ask.keep)


@operation(Effect.ERASE, "DELETE /items/{namespace}/{key}")
def delete_memory_item(memory: UserMemory, ask: NamedItem) -> None:
    """Forget one remembered value. Use it when the person asks, or when the value is wrong."""
    memory.items.delete(ask.namespace, ask.key)


@operation(Effect.READ, "GET /items/{namespace}")
def list_memory_items(memory: UserMemory, ask: ItemsWanted) -> Page[Item, str]:
    """List remembered values of one namespace by key. Use it to see what is known before asking again."""
    return memory.items.in_namespace(ask.namespace, limit=ask.limit, after=ask.after)
