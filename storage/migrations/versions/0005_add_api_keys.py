"""Add API keys; whoever is erased loses theirs.

A key says who may ask at a door, so no bound owner protects it: nobody is bound yet when it is looked up. The
application has no right to the table and asks `api_key` for one key by its exact digest. The worker's URL edits the
table and may not ask: who makes keys for owners must not learn by them who the owners are.
"""

from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

API_KEY = """
CREATE FUNCTION usermemory.api_key(wanted text)
  RETURNS TABLE (id text, organization text, scopes text, expires_at timestamptz, revoked_at timestamptz, kind text,
    value text)
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT k.id, k.organization_id, k.scopes, k.expires_at, k.revoked_at, i.kind, i.value
    FROM usermemory.api_keys k
    LEFT JOIN usermemory.owners o ON o.id = k.owner_id
    LEFT JOIN usermemory.owners b ON b.survivor_id = o.survivor_id
    LEFT JOIN usermemory.identities i ON i.owner_id = b.id
    WHERE k.digest = wanted AND (k.owner_id IS NULL OR i.value IS NOT NULL)
    ORDER BY i.kind DESC, i.value LIMIT 1 $$
"""
"""A person's key gives one name of theirs, a user id before a phone number: `user` comes last in the alphabet."""

BEFORE = "DELETE FROM usermemory.identities;"
"""In `erase`: what comes after the rows of the other tables."""

KEYS_BEFORE = f"DELETE FROM usermemory.api_keys;\n  {BEFORE}"


def upgrade() -> None:
    """Create the table, and on PostgreSQL what protects it."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "usermemory" if on_postgresql else None
    op.create_table(
        "api_keys",
        text("id", nullable=False),
        text("digest", nullable=False),
        text("organization_id", nullable=False),
        sa.Column("owner_id", sa.Uuid(), nullable=True),
        text("name", nullable=True),
        text("scopes", nullable=False),
        moment("created_at", nullable=False),
        moment("expires_at", nullable=True),
        moment("revoked_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="api_keys_pkey"),
        sa.UniqueConstraint("digest", name="api_keys_digest_key"),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["usermemory.owners.id" if on_postgresql else "owners.id"], name="api_keys_owner_id_fkey"
        ),
        schema=schema,
    )
    op.create_index("api_keys_owner_id_idx", "api_keys", ["owner_id"], schema=schema)
    if on_postgresql:
        prefix: str = context.config.attributes["role_prefix"]
        _protect(prefix)
        _rewrite_erase(prefix, BEFORE, KEYS_BEFORE)


def downgrade() -> None:
    """Drop the table, and with it every key."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    if on_postgresql:
        prefix: str = context.config.attributes["role_prefix"]
        _rewrite_erase(prefix, KEYS_BEFORE, BEFORE)
        _as_role(prefix, "resolver", "DROP FUNCTION usermemory.api_key(text)")
    op.drop_table("api_keys", schema="usermemory" if on_postgresql else None)


def text(name: str, *, nullable: bool) -> sa.Column[Any]:
    """Return a column of text that sorts by code point."""
    by_code_point = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    return sa.Column(name, by_code_point, nullable=nullable)


def moment(name: str, *, nullable: bool) -> sa.Column[Any]:
    """Return a column of moments."""
    return sa.Column(name, sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite"), nullable=nullable)


def _protect(prefix: str) -> None:
    run = op.get_bind().exec_driver_sql
    run("ALTER TABLE usermemory.api_keys ENABLE ROW LEVEL SECURITY")
    run("ALTER TABLE usermemory.api_keys FORCE ROW LEVEL SECURITY")
    run(f"CREATE POLICY resolve ON usermemory.api_keys FOR SELECT TO {prefix}_resolver USING (true)")
    run(f"CREATE POLICY edit ON usermemory.api_keys FOR ALL TO {prefix}_worker USING (true) WITH CHECK (true)")
    branches = "owner_id = ANY (usermemory.bound_owners())"
    run(f"CREATE POLICY wipe ON usermemory.api_keys FOR ALL TO {prefix}_eraser USING ({branches})")
    run(f"GRANT SELECT ON usermemory.api_keys TO {prefix}_resolver")
    run(f"GRANT SELECT, INSERT, UPDATE (revoked_at) ON usermemory.api_keys TO {prefix}_worker")
    run(f"GRANT SELECT, DELETE ON usermemory.api_keys TO {prefix}_eraser")
    may_ask = f"GRANT EXECUTE ON FUNCTION usermemory.api_key(text) TO {prefix}_app"
    _as_role(prefix, "resolver", f"{API_KEY}; {may_ask}")


def _rewrite_erase(prefix: str, old: str, new: str) -> None:
    """Put `new` in the place of `old` in the function that erases a person."""
    signature = "usermemory.erase(uuid)"
    written = str(op.get_bind().exec_driver_sql(f"SELECT pg_get_functiondef('{signature}'::regprocedure)").scalar())
    assert written.count(old) == 1
    _as_role(prefix, "eraser", written.replace(old, new))


def _as_role(prefix: str, role: str, statements: str) -> None:
    """Run `statements` as the role, which may create in the schema for just so long."""
    run = op.get_bind().exec_driver_sql
    run(f"GRANT CREATE ON SCHEMA usermemory TO {prefix}_{role}")
    run(f"SET ROLE {prefix}_{role}")
    run(statements)
    run(f"SET ROLE {prefix}_owner")
    run(f"REVOKE CREATE ON SCHEMA usermemory FROM {prefix}_{role}")
