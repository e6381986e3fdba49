"""A guard over every statement of a test: what touches a content table must pin the owner, or the test fails."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import visitors

from storage.tables import CONTENT

_PINNED = re.compile(r"owner_id\s*(=|in\b)", re.IGNORECASE)


class UnpinnedStatement(AssertionError):
    """A statement on a content table does not say whose rows it means."""


@contextmanager
def watch(engine: sa.Engine) -> Iterator[None]:
    """Check each statement that `engine` runs through SQLAlchemy, while the block lasts."""

    def before(_connection: Any, element: Any, *_: Any) -> None:
        check(element)

    sa.event.listen(engine, "before_execute", before)
    try:
        yield
    finally:
        sa.event.remove(engine, "before_execute", before)


def check(element: Any) -> None:
    """Raise UnpinnedStatement unless every content table in the statement has its owner in an equality or an IN."""
    if isinstance(element, str):
        check_text(element)
        return
    if isinstance(element, sa.TextClause):
        check_text(element.text)
        return
    touched = {node for node in visitors.iterate(element) if isinstance(node, sa.Table)} & set(CONTENT)
    if isinstance(element, sa.Insert):
        touched.discard(element.table)  # the values name the owner; the key and row security hold it
    elif isinstance(element, sa.Update | sa.Delete) and element.table in CONTENT:
        touched.add(element.table)
    unpinned = touched - _pinned(element)
    if unpinned:
        names = ", ".join(sorted(table.name for table in unpinned))
        raise UnpinnedStatement(f"{names} without its owner: {element}")


def check_text(statement: str) -> None:
    """Raise UnpinnedStatement when a written statement names a content table without an owner."""
    if statement.lstrip().upper().startswith("INSERT") and "SELECT" not in statement.upper():
        return
    named = [table.name for table in CONTENT if re.search(rf"\b{table.name}\b", statement)]
    if named and not _PINNED.search(statement) and "survivor_id" not in statement:
        raise UnpinnedStatement(f"{', '.join(named)} without its owner: {statement}")


def _pinned(element: Any) -> set[Any]:
    """Return the tables whose `owner_id` stands on one side of an equality with a value, or of an IN with values."""
    found = set()
    for node in visitors.iterate(element):
        if isinstance(node, sa.BinaryExpression) and node.operator.__name__ in ("eq", "in_op"):
            left, right = node.left, node.right
            if isinstance(left, sa.Column) and left.name == "owner_id" and not isinstance(right, sa.Column):
                found.add(left.table)
    return found
