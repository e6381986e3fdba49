"""Items: small JSON values under namespace and key (seed 000)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from storage.canonical import INTEGER_LIMIT, canonical, loads
from storage.errors import Conflict, InvalidInput, NotFound, VersionConflict
from storage.hot import StoredItem
from storage.json_types import Json
from storage.limits import ITEM_LIMIT
from storage.names import check_beginning, check_name, following
from storage.page import Page, page_size
from storage.tables import items
from storage.transaction import Work

DEFAULT_NAMESPACE = "default"
"""Where an item goes when no namespace is named (seed 000)."""

LONGEST_LIST = 1_000
"""Entries that `push` keeps at the most; ITEM_LIMIT usually bounds the list earlier."""


@dataclass(frozen=True, slots=True)
class Item:
    """One remembered value. `version` counts its changes from 1."""

    namespace: str
    key: str
    value: Json
    version: int
    created_at: datetime
    updated_at: datetime


_LISTED = (items.c.namespace, items.c.key, items.c.value, items.c.version, items.c.created_at, items.c.updated_at)
"""The columns of an item: to read whose it is for each row would take a third as long again."""


class ItemStore:
    """The items of one owner."""

    def __init__(self, work: Work) -> None:
        self._work = work

    def get(self, namespace: str, key: str) -> Item:
        """Return the item; raises NotFound when there is none."""
        _check(namespace, key)
        stored = self._work.hot.read_item(namespace, key)
        if stored is None:
            raise _nothing_at(namespace, key)
        return _item(namespace, key, stored)

    def set(self, namespace: str, key: str, value: Json, *, expected_version: int | None = None) -> Item:
        """Insert or replace the item. At most ITEM_LIMIT bytes of canonical JSON.

        With `expected_version` (0: it must not exist yet) raises VersionConflict when the item is at another one.
        """
        _check(namespace, key)
        return self._write(namespace, key, value, canonical(value, limit=ITEM_LIMIT), expected_version)

    def push(self, namespace: str, key: str, value: Json, *, keep: int = 10) -> Item:
        """Append `value` to the list at the key and keep the newest `keep` entries; the list begins when it is missing.

        Concurrent pushes wait for each other under the item's row lock, so none is lost. Raises InvalidInput when
        what is there is no list.
        """
        _check(namespace, key)
        if not 1 <= keep <= LONGEST_LIST:
            raise InvalidInput(f"keep must be between 1 and {LONGEST_LIST}, not {keep}")
        first = canonical([value], limit=ITEM_LIMIT)
        now = self._work.clock()
        written = self._work.hot.set_item(namespace, key, first, 0, now)
        if written is not None:
            return Item(namespace, key, loads(first), *written, now)
        row = self._work.execute(
            sa.select(items.c.value, items.c.version).where(*self._at(namespace, key)).with_for_update()
        ).one_or_none()
        if row is None:  # deleted between the two statements
            raise Conflict(f"the item {key!r} in {namespace!r} was deleted meanwhile: push again")
        entries = loads(row.value)
        if not isinstance(entries, list):
            raise InvalidInput(f"the item {key!r} in {namespace!r} is no list, so nothing can be pushed onto it")
        entries = [*entries, value][-keep:]
        text = canonical(entries, limit=ITEM_LIMIT)
        return self._write(namespace, key, loads(text), text, row.version)

    def delete(self, namespace: str, key: str) -> None:
        """Delete the item, here and in every branch merged into this owner; raises NotFound when there is none."""
        _check(namespace, key)
        here = sa.delete(items).where(
            items.c.owner_id.in_(self._work.owners), items.c.namespace == namespace, items.c.key == key
        )
        if self._work.execute(here).rowcount == 0:
            raise _nothing_at(namespace, key)

    def clear(self, namespace: str | None = None) -> int:
        """Delete every item of a namespace, or of all, here and in the merged branches; return how many there were."""
        mine = items.c.owner_id.in_(self._work.owners)
        which = () if namespace is None else (items.c.namespace == check_name(namespace, "namespace"),)
        return self._work.execute(sa.delete(items).where(mine, *which)).rowcount

    def in_namespace(
        self, namespace: str = DEFAULT_NAMESPACE, *, limit: int = 100, after: str | None = None
    ) -> Page[Item, str]:
        """Return the items of one namespace ordered by key, those behind the key `after`."""
        check_name(namespace, "namespace")
        wanted = sa.select(*_LISTED).where(items.c.owner_id == self._work.owner, items.c.namespace == namespace)
        if after is not None:
            wanted = wanted.where(items.c.key > check_name(after, "after"))
        rows = self._work.execute(wanted.order_by(items.c.key).limit(page_size(limit) + 1)).all()
        found = tuple(map(_listed, rows[:limit]))
        return Page(found, found[-1].key if len(rows) > limit else None)

    def all(self, *, limit: int = 100, after: tuple[str, str] | None = None) -> Page[Item, tuple[str, str]]:
        """Return the items of every namespace ordered by namespace and key, those behind `after`, which is both."""
        wanted = sa.select(*_LISTED).where(items.c.owner_id == self._work.owner)
        if after is not None:
            place = sa.tuple_(items.c.namespace, items.c.key)
            wanted = wanted.where(place > sa.tuple_(*(check_name(name, "after") for name in after)))
        rows = self._work.execute(wanted.order_by(items.c.namespace, items.c.key).limit(page_size(limit) + 1)).all()
        found = tuple(map(_listed, rows[:limit]))
        return Page(found, (found[-1].namespace, found[-1].key) if len(rows) > limit else None)

    def namespaces(self, beginning: str = "", *, limit: int = 100) -> list[str]:
        """Return the namespaces in which there is something and that begin so, in order of code points."""
        found: list[str] = []
        here = [items.c.owner_id == self._work.owner, *_beginning(items.c.namespace, beginning)]
        while len(found) < limit:  # each step is one look into the index, however much a namespace holds
            behind = [items.c.namespace > found[-1]] if found else []
            following = self._work.execute(sa.select(sa.func.min(items.c.namespace)).where(*here, *behind)).scalar()
            if following is None:
                break
            found.append(following)
        return found

    def keys(self, namespace: str = DEFAULT_NAMESPACE, beginning: str = "", *, limit: int = 100) -> list[str]:
        """Return the keys of a namespace that begin so, in order of code points."""
        check_name(namespace, "namespace")
        here = [items.c.owner_id == self._work.owner, items.c.namespace == namespace]
        wanted = sa.select(items.c.key).where(*here, *_beginning(items.c.key, beginning)).order_by(items.c.key)
        return list(self._work.execute(wanted.limit(limit)).scalars())

    def _write(self, namespace: str, key: str, value: Json, text: str, expected: int | None) -> Item:
        now = self._work.clock()
        possible = expected is None or 0 <= expected < INTEGER_LIMIT
        written = self._work.hot.set_item(namespace, key, text, expected, now) if possible else None
        if written is None:
            there = self._work.hot.read_item(namespace, key)
            raise VersionConflict(
                f"the item {key!r} in {namespace!r} is not at version {expected}",
                expected=expected,
                current=0 if there is None else there.version,
            )
        return Item(namespace, key, value, written[0], written[1], now)

    def _at(self, namespace: str, key: str) -> tuple[sa.ColumnElement[bool], ...]:
        return items.c.owner_id == self._work.owner, items.c.namespace == namespace, items.c.key == key


def _beginning(column: sa.Column[str], beginning: str) -> list[sa.ColumnElement[bool]]:
    """Return the range of what begins with a text: nothing in it is a pattern."""
    if not beginning:
        return []
    check_beginning(beginning)
    after = following(beginning)
    return [column >= beginning] if after is None else [column >= beginning, column < after]


def _check(namespace: str, key: str) -> None:
    check_name(namespace, "namespace")
    check_name(key, "key")


def _item(namespace: str, key: str, stored: StoredItem) -> Item:
    return Item(namespace, key, loads(stored.value), stored.version, stored.created_at, stored.updated_at)


def _listed(row: Sequence[Any]) -> Item:
    namespace, key, value, version, created_at, updated_at = row
    return Item(namespace, key, loads(value), version, created_at, updated_at)


def _nothing_at(namespace: str, key: str) -> NotFound:
    return NotFound(f"there is no item {key!r} in {namespace!r}")
