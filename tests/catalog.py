"""What a database's own catalog says, line by line, for tests that compare it."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from storage.catalog import facts
from storage.roles import LOGIN_ROLES, NOLOGIN_ROLES

COLUMNS = {
    "postgresql": """
SELECT format('%s.%s %s%s%s%s', relname, attname, format_type(atttypid, atttypmod),
    ' COLLATE ' || (SELECT collname FROM pg_collation k WHERE k.oid = attcollation AND collname <> 'default'),
    CASE WHEN attnotnull THEN ' NOT NULL' END, ' DEFAULT ' || pg_get_expr(adbin, adrelid))
  FROM pg_class c JOIN pg_attribute a ON attrelid = c.oid LEFT JOIN pg_attrdef ON adrelid = c.oid AND adnum = attnum
 WHERE relnamespace = to_regnamespace('usermemory') AND relkind = 'r' AND attnum > 0 AND NOT attisdropped
   AND relname <> 'migrations'
""",
    "sqlite": """
SELECT m.name || '.' || c.name || ' ' || c.type || iif(c."notnull", ' NOT NULL', '')
    || coalesce(' DEFAULT ' || c.dflt_value, '')
  FROM sqlite_master m JOIN pragma_table_xinfo(m.name) c
 WHERE m.type = 'table' AND m.name NOT IN ('migrations', 'sqlite_sequence')
""",
}

CONSTRAINTS = {
    "postgresql": """
SELECT conname || ' ' || pg_get_constraintdef(oid) FROM pg_constraint
 WHERE connamespace = to_regnamespace('usermemory') AND contype <> 'n' AND conrelid <> 'usermemory.migrations'::regclass
""",
    "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'table' AND name NOT IN ('migrations', 'sqlite_sequence')",
}

INDEXES = {
    "postgresql": """
SELECT pg_get_indexdef(indexrelid) FROM pg_index JOIN pg_class t ON t.oid = indrelid
 WHERE relnamespace = to_regnamespace('usermemory')
   AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
""",
    "sqlite": "SELECT sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL",
}

STORAGE = """
SELECT format('%s.%s %s %s', relname, attname, attstorage, reloptions)
  FROM pg_class c JOIN pg_attribute ON attrelid = c.oid AND attnum > 0 AND NOT attisdropped
 WHERE relnamespace = to_regnamespace('usermemory') AND relkind = 'r'
"""


def columns(connection: sa.Connection) -> list[str]:
    """Return every column with its type, whether it may be NULL, and its default."""
    return _lines(connection, COLUMNS)


def constraints(connection: sa.Connection) -> list[str]:
    """Return every key by its name, in the same words on both databases, and every check."""
    found = _lines(connection, CONSTRAINTS)
    if connection.dialect.name == "sqlite":
        found = [line for table in found for line in re.findall(r"CONSTRAINT (.*?),?\s*$", table, re.MULTILINE)]
        found = [
            re.sub(r"KEY\(", "KEY (", re.sub(r"(REFERENCES \w+) ", r"\1", line.replace('"', ""))) for line in found
        ]
    return sorted(line.replace("usermemory.", "") for line in found)


def indexes(connection: sa.Connection) -> list[str]:
    """Return every index that stands for no key, in the same words on both databases."""
    found = (re.sub(r"usermemory\.|USING btree ", "", line) for line in _lines(connection, INDEXES))
    return [re.sub(r"WHERE \((.*)\)", r"WHERE \1", line) for line in found]


def policies(connection: sa.Connection) -> list[str]:
    """Return every policy of PostgreSQL, with the roles' names as `storage/roles.py` has them."""
    found = facts(connection.connection.driver_connection, [])
    lines = [f"{name} {fact}" for name, fact in found if fact.startswith("the policy ")]
    return sorted(re.sub(r"table |the policy |usermemory[._]", "", line) for line in lines)


def structure(connection: sa.Connection) -> list[str]:
    """Return what the tables are made of."""
    return [*columns(connection), *constraints(connection), *indexes(connection)]


def everything(connection: sa.Connection) -> list[str]:
    """Return the structure, and on PostgreSQL also who may do what, how rows are protected and kept."""
    if connection.dialect.name == "sqlite":
        return structure(connection)
    roles = [f"usermemory_{role}" for role in (*NOLOGIN_ROLES, *LOGIN_ROLES)]
    known = facts(connection.connection.driver_connection, roles)
    kept = connection.exec_driver_sql(STORAGE).scalars()
    return [*structure(connection), *sorted(f"{name} {fact}" for name, fact in known), *sorted(kept)]


def bodies(connection: sa.Connection) -> dict[str, str]:
    """Return the hash of every function's body by the function's name."""
    found = facts(connection.connection.driver_connection, [])
    hashed = {name: fact.removeprefix("the body ") for name, fact in found if fact.startswith("the body ")}
    return {name.removeprefix("function usermemory.").partition("(")[0]: body for name, body in hashed.items()}


@contextmanager
def changed(administrator: sa.Engine, change: str, role: str = "usermemory_app") -> Iterator[sa.Connection]:
    """Give a session of `role` inside a transaction in which an administrator changed the database; undo all of it."""
    with administrator.connect() as connection:
        connection.exec_driver_sql(change)
        connection.exec_driver_sql(f"SET LOCAL SESSION AUTHORIZATION {role}")
        yield connection
        connection.rollback()


def _lines(connection: sa.Connection, query: dict[str, str]) -> list[str]:
    return sorted(connection.exec_driver_sql(query[connection.dialect.name].replace("%", "%%")).scalars())
