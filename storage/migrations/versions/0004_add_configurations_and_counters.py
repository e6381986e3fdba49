"""Add configurations, and counters of interactions; what was kept before is counted, but its tokens nobody knows.

Who is only looked up is no longer locked: that can be done in a transaction that reads.

An organization's configuration is nobody's row, so no owner protects it: the application has no right to the table and
asks `configuration` for one organization by its exact name, the worker's URL edits it.
"""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

COUNTED = "conversation_count, total_tokens, last_interaction_at"
"""The new columns of an owner, which whoever writes for the owner may change."""

CONFIGURATION = """
CREATE FUNCTION usermemory.configuration(org text, in_flow text) RETURNS TABLE (flow text, settings text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT c.flow, c.settings FROM usermemory.configurations c
    WHERE c.organization_id = org AND c.flow IN ('', in_flow) $$
"""

LOCKED = "PERFORM FROM usermemory.owners WHERE id = by_phone FOR NO KEY UPDATE;"
"""In `resolve`: what two wait at who want the same verified number."""

LOCKED_TO_LINK = f"IF candidate IS NOT NULL THEN {LOCKED} END IF;"

COUNT = """
UPDATE {schema}owners SET
  conversation_count = (SELECT count(*) FROM {schema}conversations c WHERE c.owner_id = owners.id),
  last_interaction_at = (SELECT max(c.updated_at) FROM {schema}conversations c WHERE c.owner_id = owners.id)
"""


def upgrade() -> None:
    """Add the columns and count what is there; create the table, and on PostgreSQL what protects it."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "usermemory" if on_postgresql else None
    for table, column in counters():
        op.add_column(table, column, schema=schema)
    op.create_table(
        "configurations",
        *(sa.Column(name, by_code_point(), nullable=False) for name in ("organization_id", "flow", "settings")),
        sa.Column("updated_at", moment(), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "flow", name="configurations_pkey"),
        schema=schema,
    )
    if on_postgresql:
        _count_past_row_security()
        _protect(context.config.attributes["role_prefix"])
        _rewrite_resolve(context.config.attributes["role_prefix"], LOCKED, LOCKED_TO_LINK)
    else:
        op.get_bind().exec_driver_sql(COUNT.format(schema=""))


def downgrade() -> None:
    """Drop the table, and the columns with what they counted."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "usermemory" if on_postgresql else None
    if on_postgresql:
        prefix: str = context.config.attributes["role_prefix"]
        _rewrite_resolve(prefix, LOCKED_TO_LINK, LOCKED)
        _as_resolver(prefix, "DROP FUNCTION usermemory.configuration(text, text)")
        op.get_bind().exec_driver_sql(
            f"REVOKE UPDATE ({COUNTED}) ON usermemory.owners FROM {prefix}_app, {prefix}_worker"
        )
    op.drop_table("configurations", schema=schema)
    for table, column in counters():
        op.drop_column(table, column.name, schema=schema)


def counters() -> Iterator[tuple[str, sa.Column[Any]]]:
    """Yield the table and the definition of each new column."""
    for table, name in (
        ("owners", "conversation_count"),
        ("owners", "total_tokens"),
        ("conversations", "token_count"),
    ):
        yield table, sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")
    yield "owners", sa.Column("last_interaction_at", moment())


def moment() -> sa.types.TypeEngine[Any]:
    """Return the type of a moment."""
    return sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite")


def by_code_point() -> sa.types.TypeEngine[Any]:
    """Return the type of a text that sorts by code point."""
    return sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def _count_past_row_security() -> None:
    run = op.get_bind().exec_driver_sql
    run("SET LOCAL row_security = off")  # where a policy still held rows back, the count would fail and not be wrong
    for table in ("owners", "conversations"):
        run(f"ALTER TABLE usermemory.{table} NO FORCE ROW LEVEL SECURITY")
    run(COUNT.format(schema="usermemory."))
    for table in ("owners", "conversations"):
        run(f"ALTER TABLE usermemory.{table} FORCE ROW LEVEL SECURITY")
    run("SET LOCAL row_security = on")


def _protect(prefix: str) -> None:
    run = op.get_bind().exec_driver_sql
    run("ALTER TABLE usermemory.configurations ENABLE ROW LEVEL SECURITY")
    run("ALTER TABLE usermemory.configurations FORCE ROW LEVEL SECURITY")
    run(f"CREATE POLICY resolve ON usermemory.configurations FOR SELECT TO {prefix}_resolver USING (true)")
    run(f"CREATE POLICY edit ON usermemory.configurations FOR ALL TO {prefix}_worker USING (true) WITH CHECK (true)")
    run(f"GRANT SELECT ON usermemory.configurations TO {prefix}_resolver")
    run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON usermemory.configurations TO {prefix}_worker")
    run(f"GRANT UPDATE ({COUNTED}) ON usermemory.owners TO {prefix}_app, {prefix}_worker")
    may_ask = f"GRANT EXECUTE ON FUNCTION usermemory.configuration(text, text) TO {prefix}_app, {prefix}_worker"
    _as_resolver(prefix, f"{CONFIGURATION}; {may_ask}")


def _rewrite_resolve(prefix: str, old: str, new: str) -> None:
    """Put `new` in the place of `old` in the function that looks people up."""
    signature = "usermemory.resolve(text, text, text, boolean, uuid)"
    written = str(op.get_bind().exec_driver_sql(f"SELECT pg_get_functiondef('{signature}'::regprocedure)").scalar())
    assert written.count(old) == 1
    _as_resolver(prefix, written.replace(old, new))


def _as_resolver(prefix: str, statements: str) -> None:
    """Run `statements` as the resolver, which may create in the schema for just so long."""
    run = op.get_bind().exec_driver_sql
    run(f"GRANT CREATE ON SCHEMA usermemory TO {prefix}_resolver")
    run(f"SET ROLE {prefix}_resolver")
    run(statements)
    run(f"SET ROLE {prefix}_owner")
    run(f"REVOKE CREATE ON SCHEMA usermemory FROM {prefix}_resolver")
