"""Add the keys under which configurations were written, and drop an index that slows the queue down.

With the index on the times of the queue's messages, PostgreSQL may read and sort all that wait to take one.
"""

from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SLOW = "queue_messages_available_at_idx"


def upgrade() -> None:
    """Create the table, and on PostgreSQL what protects it."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "usermemory" if on_postgresql else None
    op.drop_index(SLOW, "queue_messages", schema=schema)
    op.create_table(
        "configuration_keys",
        text("organization_id"),
        text("key"),
        text("fingerprint"),
        text("outcome", nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite"), nullable=False),
        sa.PrimaryKeyConstraint("organization_id", "key", name="configuration_keys_pkey"),
        schema=schema,
    )
    if on_postgresql:
        run = op.get_bind().exec_driver_sql
        worker = f"{context.config.attributes['role_prefix']}_worker"
        run("ALTER TABLE usermemory.configuration_keys ENABLE ROW LEVEL SECURITY")
        run("ALTER TABLE usermemory.configuration_keys FORCE ROW LEVEL SECURITY")
        run(f"CREATE POLICY work ON usermemory.configuration_keys FOR ALL TO {worker} USING (true) WITH CHECK (true)")
        run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON usermemory.configuration_keys TO {worker}")


def downgrade() -> None:
    """Drop the table, and with it every key."""
    schema = "usermemory" if op.get_bind().dialect.name == "postgresql" else None
    op.drop_table("configuration_keys", schema=schema)
    op.create_index(SLOW, "queue_messages", ["available_at"], schema=schema)


def text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    """Return a column of text that sorts by code point."""
    by_code_point = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    return sa.Column(name, by_code_point, nullable=nullable)
