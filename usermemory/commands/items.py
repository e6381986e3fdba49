"""`usermemory items`: small JSON values under namespace and key."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click

from memory_tools.answer import as_json
from memory_tools.memory import UserMemory
from memory_tools.operations.items import (
    delete_memory_item,
    get_memory_item,
    list_memory_items,
    push_memory_item,
    set_memory_item,
)
from storage.canonical import parse
from storage.items import Item
from storage.json_types import Json
from storage.limits import ITEM_LIMIT
from usermemory.commands.answers import moment
from usermemory.commands.asking import ask
from usermemory.commands.group import examples
from usermemory.commands.layout import in_one_line, laid_out, shortened, width
from usermemory.commands.options import Number, for_person
from usermemory.commands.screen import Screen
from usermemory.commands.visible import visible

NEGATIVE_NUMBERS = {"ignore_unknown_options": True}
"""So that -5 is a value; a misspelt option then is one argument too many."""


@click.group(
    epilog=examples("usermemory items set prefs tone '\"warm\"' --user ada", "usermemory items list prefs --user ada")
)
def command() -> None:
    """Keep small JSON values under namespace and key."""


@command.command(
    "set",
    context_settings=NEGATIVE_NUMBERS,
    epilog=examples(
        "usermemory items set prefs tone '\"warm\"' --user ada",
        "echo '[\"jazz\"]' | usermemory items set prefs music - --user ada",
    ),
)
@click.argument("namespace")
@click.argument("key")
@click.argument("value", metavar="JSON")
@click.option("--expected-version", type=Number, metavar="N", help="Only if the item is at it; 0: not there yet.")
@for_person
def set_item(person: UserMemory, screen: Screen, namespace: str, key: str, value: str, **options: Any) -> None:
    """Keep a JSON value, replacing what was there; - reads it from stdin."""
    item = ask(set_memory_item, person, namespace=namespace, key=key, value=_value(value), **options)
    screen.answer(as_json(item), lambda: _lines(item))


@command.command(
    context_settings=NEGATIVE_NUMBERS,
    epilog=examples("usermemory items push suggestions books '\"Middlemarch\"' --keep 5 --user ada"),
)
@click.argument("namespace")
@click.argument("key")
@click.argument("value", metavar="JSON")
@click.option("--keep", type=Number, default=10, show_default=True, metavar="N", help="How many of the newest stay.")
@for_person
def push(person: UserMemory, screen: Screen, namespace: str, key: str, value: str, keep: int) -> None:
    """Append a JSON value to a list and keep its newest entries; - reads it from stdin."""
    item = ask(push_memory_item, person, namespace=namespace, key=key, value=_value(value), keep=keep)
    screen.answer(as_json(item), lambda: _lines(item))


@command.command("get", epilog=examples("usermemory items get prefs tone --user ada"))
@click.argument("namespace")
@click.argument("key")
@for_person
def get_item(person: UserMemory, screen: Screen, namespace: str, key: str) -> None:
    """Print one item."""
    item = ask(get_memory_item, person, namespace=namespace, key=key)
    screen.answer(as_json(item), lambda: _lines(item))


@command.command(epilog=examples("usermemory items delete prefs tone --user ada"))
@click.argument("namespace")
@click.argument("key")
@for_person
def delete(person: UserMemory, screen: Screen, namespace: str, key: str) -> None:
    """Delete one item."""
    ask(delete_memory_item, person, namespace=namespace, key=key)
    screen.answer({"namespace": namespace, "key": key, "status": "deleted"}, lambda: ["Deleted."])


@command.command("list", epilog=examples("usermemory items list prefs --limit 10 --user ada"))
@click.argument("namespace")
@click.option("--limit", type=Number, default=100, show_default=True, help="Items at the most, up to 100.")
@click.option("--after", metavar="KEY", help="Only those behind this key.")
@for_person
def list_items(person: UserMemory, screen: Screen, namespace: str, limit: int, after: str | None) -> None:
    """List the items of one namespace, ordered by key."""
    page = ask(list_memory_items, person, namespace=namespace, limit=limit, after=after)
    screen.answer([as_json(item) for item in page.entries], lambda: _list_lines(page.entries))
    if page.next is not None:
        screen.note(f"More: --after {visible(page.next)}")


def _value(text: str) -> Json:
    """Return the value of a JSON argument, or of stdin where it is `-`; one gate for both."""
    raw = sys.stdin.buffer.read() if text == "-" else text
    return parse(raw, limit=ITEM_LIMIT)


def _lines(item: Item) -> Iterator[str]:
    title = click.style(visible(f"{item.namespace}/{item.key}"), bold=True)
    yield f"{title}  version {item.version}, {moment(item.updated_at)}"
    yield from laid_out(item.value, 2)


def _list_lines(items: Sequence[Item]) -> Iterator[str]:
    if not items:
        yield "Nothing is kept here."
        return
    names = [visible(item.key) for item in items]
    room = min(max(map(len, names)), width() // 2)
    for name, item in zip(names, items, strict=True):
        value = shortened(in_one_line(item.value), max(width() - room - 2, 16))
        yield f"{click.style(name.ljust(room), bold=True)}  {value}"
