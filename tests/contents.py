"""Contents: every row of every table, seen past row security, and what must be true of a person's log of versions."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import jsonpatch
import sqlalchemy as sa

from storage.tables import heads, metadata, owners, snapshots

Contents = dict[str, list[tuple[Any, ...]]]
"""The rows of each table, as text and in order: what a refused call must leave as it was."""


def administrators_engine(url: str, pool: type[sa.Pool] = sa.NullPool) -> sa.Engine:
    """Return an engine that sees every row; on PostgreSQL `url` must be an administrator's."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"), poolclass=pool)
    if engine.dialect.name == "postgresql":
        engine = engine.execution_options(schema_translate_map={None: "usermemory"})
    return engine


@contextmanager
def one_moment(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a connection that sees the database as it is at one moment, whoever writes meanwhile."""
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN")
        else:
            connection.execution_options(isolation_level="REPEATABLE READ")
        yield connection


def everything(engine: sa.Engine) -> Contents:
    """Return all rows of all tables."""
    with one_moment(engine) as connection:
        return {table.name: _sorted(connection.execute(sa.select(table))) for table in metadata.sorted_tables}


def rows_of(engine: sa.Engine, owner: UUID) -> Contents:
    """Return all rows of one person, the one of the directory included."""
    mine = {
        table: sa.select(table).where(table.c.owner_id == owner)
        for table in metadata.sorted_tables
        if "owner_id" in table.c
    }
    mine[owners] = sa.select(owners).where(owners.c.id == owner)
    with one_moment(engine) as connection:
        return {table.name: _sorted(connection.execute(wanted)) for table, wanted in mine.items()}


def _sorted(rows: Any) -> list[tuple[Any, ...]]:
    return sorted((tuple(row) for row in rows), key=repr)


def proven_versions(engine: sa.Engine, owner: UUID) -> list[str]:
    """Return the canonical text of each version from 1, replayed from the patches alone by another implementation.

    Fails unless versions run from 1 without a gap, time never runs back, each snapshot checkpoint is what the replay
    gives there, and the head is the newest version and knows its checkpoint and the bytes of the patches after it.
    """
    with one_moment(engine) as connection:
        of_owner = sa.select(snapshots).where(snapshots.c.owner_id == owner).order_by(snapshots.c.version)
        log = connection.execute(of_owner).all()
        head = connection.execute(sa.select(heads).where(heads.c.owner_id == owner)).one_or_none()
    assert [row.version for row in log] == list(range(1, len(log) + 1))
    assert [row.created_at for row in log] == sorted(row.created_at for row in log)
    document: Any = {}
    texts, bytes_after, checkpoint = [], 0, 0
    for row in log:
        document = jsonpatch.apply_patch(document, json.loads(row.patch), in_place=True)
        texts.append(canonically(document))
        bytes_after += len(row.patch.encode())
        if row.checkpoint is not None:
            assert row.checkpoint == texts[-1]
            checkpoint, bytes_after = row.version, 0
    if head is None:
        assert not log
        return []
    assert log[0].checkpoint is not None
    assert (head.version, head.document) == (len(log), texts[-1])
    assert (head.checkpoint_version, head.patch_bytes) == (checkpoint, bytes_after)
    assert head.updated_by == json.loads(log[-1].provenance)["actor"]
    return texts


def canonically(value: Any) -> str:
    """Return `value` as canonical text, written by Python's own json."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
