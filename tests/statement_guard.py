"""A guard over every statement of a test: what touches a content table must pin the owner, or the test fails.

SQLite has no row security, so this is what stands in its place: a statement that forgets the owner fails in whichever
test runs it, however small the test's database is. Statements that go straight to the driver pass unseen; those of
`storage/hot.py` are read by a test instead.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.sql import operators, visitors

from storage.tables import CONTENT

_NAMES = "|".join(table.name for table in CONTENT)

_READ = re.compile(rf"(?<!INTO )\b(?:usermemory\.)?({_NAMES})\b(?!\.)", re.IGNORECASE)
"""A content table that is read, changed or deleted from; a column behind the table's name is no new mention."""

_PERSON = r"(?:\?\d*|%s|%\(\w+\)s|:\w+)"

_SURVIVOR = rf"\(SELECT survivor_id FROM owners WHERE id = {_PERSON}\)"

_PINNED = re.compile(
    rf"\bowner_id (?:= (?:{_PERSON}|{_SURVIVOR})|IN \({_PERSON}(?:, {_PERSON})*\))",
    re.IGNORECASE,
)

_INSERTED = re.compile(rf"\bINTO (?:usermemory\.)?({_NAMES})\b", re.IGNORECASE)

_INSERTED_FOR = re.compile(
    rf"\bINTO (?:usermemory\.)?(?:{_NAMES}) \(owner_id,[^)]*\)\s+"
    rf"(?:VALUES \({_PERSON},|SELECT survivor_id,[^;]* FROM owners WHERE id = {_PERSON})",
    re.IGNORECASE,
)


class UnpinnedStatement(AssertionError):
    """A statement on a content table does not say whose rows it means."""


@contextmanager
def watch(engine: sa.Engine) -> Iterator[None]:
    """Check each statement that `engine` runs through SQLAlchemy, while the block lasts."""

    def before_execute(_connection: Any, element: Any, *_: Any) -> None:
        check(element)

    def before_cursor_execute(_c: Any, _cursor: Any, statement: str, _p: Any, context: Any, _many: Any) -> None:
        if context is None or context.compiled is None:  # written by hand, for the driver
            check_text(statement)

    sa.event.listen(engine, "before_execute", before_execute)
    sa.event.listen(engine, "before_cursor_execute", before_cursor_execute)
    try:
        yield
    finally:
        sa.event.remove(engine, "before_execute", before_execute)
        sa.event.remove(engine, "before_cursor_execute", before_cursor_execute)


def check(element: Any) -> None:
    """Raise UnpinnedStatement unless every content table has its owner in an equality or an IN with given values.

    That has to be one of the conditions that all must hold, in the very SELECT, UPDATE or DELETE that the table stands
    in: a join that pins one side pins only that side. The target of an INSERT is exempt: its values name the owner.
    """
    if isinstance(element, sa.TextClause):
        check_text(element.text)
        return
    for node in visitors.iterate(element):
        if isinstance(node, sa.Select | sa.Update | sa.Delete):
            unpinned = [source for source in _sources(node) if _is_content(source) and source not in _pinned(node)]
            if unpinned:
                raise UnpinnedStatement(f"{', '.join(source.name for source in unpinned)} without its owner: {element}")


def check_text(statement: str) -> None:
    """Raise UnpinnedStatement unless each mention of a content table has an owner of its own, and there is no OR.

    It counts, because it cannot parse: as many pins as mentions, and an INSERT that begins with the owner.
    """
    statement = " ".join(statement.split())
    if statement.startswith("CREATE TRIGGER "):  # what is written down for later pins nobody yet
        return
    mentions, inserts = _READ.findall(statement), _INSERTED.findall(statement)
    if not mentions and not inserts:
        return
    enough = len(_PINNED.findall(statement)) >= len(mentions) and len(_INSERTED_FOR.findall(statement)) == len(inserts)
    if not enough or re.search(r"\bOR\b", statement, re.IGNORECASE):
        raise UnpinnedStatement(f"{', '.join({*mentions, *inserts})} without its owner: {statement}")


def _sources(statement: Any) -> Iterator[Any]:
    """Yield the tables and aliases that a statement reads or changes, without those of its subqueries."""
    waiting = list(statement.get_final_froms()) if isinstance(statement, sa.Select) else [statement.table]
    if not isinstance(statement, sa.Select):
        waiting += {column.table for condition in _conditions(statement) for column in _columns(condition)}
    while waiting:
        source = waiting.pop()
        if isinstance(source, sa.Join):
            waiting += [source.left, source.right]
        else:
            yield source


def _is_content(source: Any) -> bool:
    return getattr(source, "element", source) in CONTENT


def _pinned(statement: Any) -> set[Any]:
    """Return the tables and aliases whose `owner_id` must equal a given value, or be among given ones."""
    found = set()
    for condition in _conditions(statement):
        if isinstance(condition, sa.BinaryExpression) and condition.operator in (operators.eq, operators.in_op):
            for column, value in ((condition.left, condition.right), (condition.right, condition.left)):
                if isinstance(column, sa.Column) and column.name == "owner_id" and isinstance(value, sa.BindParameter):
                    found.add(column.table)
    return found


def _conditions(statement: Any) -> Iterator[Any]:
    """Yield the conditions that must all hold for a row of the statement: of WHERE and of inner joins."""
    waiting = [] if statement.whereclause is None else [statement.whereclause]
    joins = list(statement.get_final_froms()) if isinstance(statement, sa.Select) else []
    while joins:
        join = joins.pop()
        if isinstance(join, sa.Join):
            joins += [join.left, join.right]
            waiting += [] if join.isouter or join.full else [join.onclause]
    while waiting:
        condition = waiting.pop()
        if isinstance(condition, sa.BooleanClauseList) and condition.operator is operators.and_:
            waiting += condition.clauses
        else:
            yield getattr(condition, "element", condition) if isinstance(condition, sa.Grouping) else condition


def _columns(condition: Any) -> Iterator[Any]:
    """Yield the columns in a condition, without those of its subqueries."""
    if isinstance(condition, sa.Column):
        yield condition
    elif not isinstance(condition, sa.SelectBase):
        for child in condition.get_children():
            yield from _columns(child)
