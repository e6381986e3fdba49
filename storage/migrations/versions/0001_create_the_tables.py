"""Create the tables: owners and what hangs on them."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = (
    "idempotency_keys",
    "pending_versions",
    "messages",
    "snapshots",
    "heads",
    "profiles",
    "items",
    "erasures",
    "cursors",
    "conversations",
    "identities",
    "owners",
)


def upgrade() -> None:
    """Create every table, its keys and its indexes."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "usermemory" if on_postgresql else None

    def create(name: str, *columns: Any, **options: Any) -> None:
        op.create_table(name, *columns, schema=schema, **options)

    def moment(name: str) -> sa.Column[Any]:
        return sa.Column(name, sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite"), nullable=False)

    def owner(table: str) -> tuple[Any, Any]:
        target = "usermemory.owners.id" if on_postgresql else "owners.id"
        return (
            sa.Column("owner_id", sa.Uuid(), nullable=False),
            sa.ForeignKeyConstraint(["owner_id"], [target], name=f"{table}_owner_id_fkey"),
        )

    def key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
        return sa.PrimaryKeyConstraint(*columns, name=f"{table}_pkey")

    def text(name: str, nullable: bool = False) -> sa.Column[Any]:
        by_code_point = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
        return sa.Column(name, by_code_point, nullable=nullable)

    def number(name: str, **options: Any) -> sa.Column[Any]:
        return sa.Column(name, sa.BigInteger(), nullable=False, **options)

    create(
        "owners",
        sa.Column("id", sa.Uuid(), nullable=False),
        text("organization_id"),
        sa.Column("survivor_id", sa.Uuid(), nullable=False),
        sa.Column("merged_into", sa.Uuid()),
        number("last_message", server_default="0"),
        moment("created_at"),
        key("owners", "id"),
    )
    op.create_index("owners_survivor_id_idx", "owners", ["survivor_id"], schema=schema)
    create(
        "identities",
        text("organization_id"),
        text("kind"),
        text("value"),
        *owner("identities"),
        moment("created_at"),
        key("identities", "organization_id", "kind", "value"),
        sa.CheckConstraint("kind IN ('user', 'phone')", name="identities_kind_check"),
    )
    op.create_index("identities_owner_id_idx", "identities", ["owner_id"], schema=schema)
    create(
        "conversations",
        sa.Column("id", sa.Uuid(), nullable=False),
        *owner("conversations"),
        text("name"),
        number("message_count", server_default="0"),
        moment("created_at"),
        moment("updated_at"),
        key("conversations", "id"),
        sa.UniqueConstraint("owner_id", "name", name="conversations_owner_id_name_key"),
        sa.UniqueConstraint("owner_id", "id", name="conversations_owner_id_id_key"),
    )
    create(
        "cursors",
        *owner("cursors"),
        text("purpose"),
        number("number"),
        moment("updated_at"),
        key("cursors", "owner_id", "purpose"),
    )
    create(
        "erasures", sa.Column("owner_id", sa.Uuid(), nullable=False), moment("erased_at"), key("erasures", "owner_id")
    )
    create(
        "items",
        *owner("items"),
        text("namespace"),
        text("key"),
        text("value"),
        number("version"),
        moment("created_at"),
        moment("updated_at"),
        key("items", "owner_id", "namespace", "key"),
        sqlite_with_rowid=False,
    )
    create(
        "profiles",
        *owner("profiles"),
        text("text"),
        moment("created_at"),
        moment("updated_at"),
        key("profiles", "owner_id"),
    )
    create(
        "heads",
        *owner("heads"),
        number("version"),
        text("updated_by"),
        number("checkpoint_version"),
        number("patch_bytes"),
        moment("updated_at"),
        text("document"),
        key("heads", "owner_id"),
    )
    create(
        "snapshots",
        *owner("snapshots"),
        number("version"),
        text("patch"),
        text("checkpoint", nullable=True),
        text("provenance"),
        moment("created_at"),
        key("snapshots", "owner_id", "version"),
        sqlite_with_rowid=False,
    )
    has_checkpoint = sa.text("checkpoint IS NOT NULL")
    op.create_index(
        "snapshots_checkpoints_idx",
        "snapshots",
        ["owner_id", "created_at", "version"],
        schema=schema,
        sqlite_where=has_checkpoint,
        postgresql_where=has_checkpoint,
    )
    create(
        "messages",
        *owner("messages"),
        number("number"),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        text("external_id", nullable=True),
        text("role"),
        text("content"),
        text("metadata", nullable=True),
        moment("said_at"),
        moment("created_at"),
        key("messages", "owner_id", "number"),
        sa.ForeignKeyConstraint(
            ["owner_id", "conversation_id"],  # nobody's message can hang on another's conversation, and hinder an erase
            [
                f"{schema}.conversations.{column}" if schema else f"conversations.{column}"
                for column in ("owner_id", "id")
            ],
            name="messages_owner_id_conversation_id_fkey",
        ),
        sa.UniqueConstraint(
            "owner_id",
            "conversation_id",
            "external_id",
            name="messages_owner_id_conversation_id_external_id_key",
        ),
    )
    create(
        "pending_versions",
        *owner("pending_versions"),
        sa.Column("id", sa.Uuid(), nullable=False),
        number("base_version"),
        text("patch"),
        text("objections"),
        text("provenance"),
        moment("created_at"),
        key("pending_versions", "owner_id", "id"),
    )
    create(
        "idempotency_keys",
        *owner("idempotency_keys"),
        text("key"),
        text("fingerprint"),
        text("outcome", nullable=True),
        moment("created_at"),
        key("idempotency_keys", "owner_id", "key"),
    )


def downgrade() -> None:
    """Drop every table, those that hang on others first."""
    schema = "usermemory" if op.get_bind().dialect.name == "postgresql" else None
    for table in TABLES:
        op.drop_table(table, schema=schema)
