"""Tables: every table once, for both databases, with the class of rows it holds.

Three classes decide rights and policies (`storage/security.py`): `content` is what a person said or what was learnt,
`log` is content that is only ever added to, `directory` is ids, counters and times. Every primary and unique key of
a content table starts with `owner_id`; every table that hangs on an owner has a plain foreign key without cascade, so
that a table forgotten by erase makes erase fail instead of leaving rows behind.
"""

from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect

SCHEMA = "usermemory"
"""The PostgreSQL schema that holds everything; SQLite has one file and no schema."""

metadata = sa.MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "uq": "%(table_name)s_%(column_0_N_name)s_key",
        "fk": "%(table_name)s_%(column_0_N_name)s_fkey",
        "ix": "%(table_name)s_%(column_0_N_name)s_idx",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


class Instant(sa.types.TypeDecorator[datetime]):
    """A moment in UTC: `timestamptz` on PostgreSQL; on SQLite ISO 8601 text of fixed width, whose order is time's."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> Any:
        """SQLite has no time type."""
        return dialect.type_descriptor(sa.String(32) if dialect.name == "sqlite" else sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse a time without zone: it would mean another moment on another machine."""
        if value is None or dialect.name != "sqlite":
            return value
        return instant_text(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        """Always UTC, whatever the session's zone is."""
        return None if value is None else instant(value)


def instant_text(moment: datetime) -> str:
    """Return `moment` as SQLite keeps it: UTC, microseconds, 32 characters."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def instant(stored: str | datetime) -> datetime:
    """Return the moment that a driver handed over, in UTC."""
    return (datetime.fromisoformat(stored) if isinstance(stored, str) else stored).astimezone(UTC)


Ordered = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
"""Text that sorts by code point on both databases, whatever the server's locale is."""


def _owner() -> sa.Column[Any]:
    return sa.Column("owner_id", sa.Uuid(), sa.ForeignKey("owners.id"), nullable=False)


def _moment(name: str) -> sa.Column[Any]:
    return sa.Column(name, Instant(), nullable=False)


def _counter(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")


def _numbered(name: str) -> sa.Column[Any]:
    """Return a key that the database counts up, and never uses again."""
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), primary_key=True)


owners = sa.Table(
    "owners",
    metadata,
    sa.Column("id", sa.Uuid(), primary_key=True),
    sa.Column("organization_id", Ordered, nullable=False),
    sa.Column("survivor_id", sa.Uuid(), nullable=False, index=True),
    sa.Column("merged_into", sa.Uuid()),
    _counter("last_message"),
    _moment("created_at"),
    _counter("conversation_count"),
    _counter("total_tokens"),
    sa.Column("last_interaction_at", Instant()),
    sa.Column("last_active_at", Instant()),
    info={"class": "directory"},
)
"""`survivor_id` is the owner itself while open, and the final survivor once merged: a branch is one join away.
`last_interaction_at` is when a message was last kept. `last_active_at` is when something else happened: an item was
written, which a trigger notes once in each hour of the clock, or the host said so."""

identities = sa.Table(
    "identities",
    metadata,
    sa.Column("organization_id", Ordered, nullable=False),
    sa.Column("kind", Ordered, nullable=False),
    sa.Column("value", Ordered, nullable=False),
    _owner(),
    _moment("created_at"),
    sa.PrimaryKeyConstraint("organization_id", "kind", "value"),
    sa.CheckConstraint("kind IN ('user', 'phone')", name="kind"),
    sa.Index(None, "owner_id"),
    info={"class": "directory"},
)

conversations = sa.Table(
    "conversations",
    metadata,
    sa.Column("id", sa.Uuid(), primary_key=True),
    _owner(),
    sa.Column("name", Ordered, nullable=False),
    _counter("message_count"),
    _moment("created_at"),
    _moment("updated_at"),
    _counter("token_count"),
    sa.Column("last_message_at", Instant()),
    _counter("remembered_count"),
    sa.UniqueConstraint("owner_id", "name"),
    sa.UniqueConstraint("owner_id", "id"),
    info={"class": "directory"},
)
"""`name` is the host's own id of the conversation, unique for its owner. `last_message_at` is when its newest message
was said; `remembered_count` is how many of its messages its conversation memory is made of."""

sa.Index(
    "conversations_not_remembered_idx",
    conversations.c.last_message_at,
    sqlite_where=conversations.c.message_count > conversations.c.remembered_count,
    postgresql_where=conversations.c.message_count > conversations.c.remembered_count,
)

cursors = sa.Table(
    "cursors",
    metadata,
    _owner(),
    sa.Column("purpose", Ordered, nullable=False),
    sa.Column("number", sa.BigInteger(), nullable=False),
    _moment("updated_at"),
    sa.PrimaryKeyConstraint("owner_id", "purpose"),
    info={"class": "directory"},
)

erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("owner_id", sa.Uuid(), primary_key=True),
    _moment("erased_at"),
    info={"class": "directory"},
)
"""The ledger of who was erased, by an id that points to nothing any more. It has no foreign key on purpose."""

configurations = sa.Table(
    "configurations",
    metadata,
    sa.Column("organization_id", Ordered, nullable=False),
    sa.Column("flow", Ordered, nullable=False),
    sa.Column("settings", Ordered, nullable=False),
    _moment("updated_at"),
    sa.PrimaryKeyConstraint("organization_id", "flow"),
    info={"class": "directory"},
)
"""What an organization or one of its flows allows, about nobody in particular. The flow `''` is the organization's own;
`settings` are the members that were set, as canonical JSON."""

configuration_keys = sa.Table(
    "configuration_keys",
    metadata,
    sa.Column("organization_id", Ordered, nullable=False),
    sa.Column("key", Ordered, nullable=False),
    sa.Column("fingerprint", Ordered, nullable=False),
    sa.Column("outcome", Ordered),
    _moment("created_at"),
    sa.PrimaryKeyConstraint("organization_id", "key"),
    info={"class": "directory"},
)
"""The idempotency keys under which an organization's configurations were written."""

api_keys = sa.Table(
    "api_keys",
    metadata,
    sa.Column("id", Ordered, primary_key=True),
    sa.Column("digest", Ordered, nullable=False),
    sa.Column("organization_id", Ordered, nullable=False),
    sa.Column("owner_id", sa.Uuid(), sa.ForeignKey("owners.id")),
    sa.Column("name", Ordered),
    sa.Column("scopes", Ordered, nullable=False),
    _moment("created_at"),
    sa.Column("expires_at", Instant()),
    sa.Column("revoked_at", Instant()),
    sa.UniqueConstraint("digest"),
    sa.Index(None, "owner_id"),
    info={"class": "directory"},
)
"""Who may ask at a door. The key of one person hangs on the owner and is erased with them; one without an owner acts
for others. `digest` is the SHA-256 of the whole key, which itself is nowhere."""

batches = sa.Table(
    "batches",
    metadata,
    sa.Column("id", sa.Uuid(), primary_key=True),
    sa.Column("kind", Ordered, nullable=False),
    sa.Column("organization_id", Ordered),
    sa.Column("due_at", Instant()),
    sa.Column("idempotency_key", Ordered),
    *(_counter(sum_) for sum_ in ("total", "updated", "unchanged", "held", "skipped", "failed")),
    *(_counter(sum_) for sum_ in ("input_tokens", "output_tokens", "cost_micros")),
    _moment("created_at"),
    sa.Column("sent_at", Instant()),
    sa.Column("finished_at", Instant()),
    sa.UniqueConstraint("kind", "due_at"),
    sa.UniqueConstraint("idempotency_key"),
    sa.CheckConstraint("kind IN ('conversations', 'daily')", name="kind"),
    info={"class": "directory"},
)
"""Jobs that were begun together, and what became of them in sums. `organization_id` is NULL where all were meant,
`due_at` where nobody's schedule asked. `cost_micros` are millionths of the currency that prices are given in."""

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("kind", Ordered, nullable=False),
    sa.Column("subject_id", sa.Uuid(), nullable=False),
    _owner(),
    sa.Column("batch_id", sa.Uuid(), sa.ForeignKey("batches.id"), index=True),
    sa.Column("state", Ordered, nullable=False),
    sa.Column("outcome", Ordered),
    _counter("attempts"),
    sa.Column("next_attempt_at", Instant()),
    sa.Column("lease_token", sa.Uuid()),
    sa.Column("leased_until", Instant()),
    sa.Column("error", Ordered),
    _counter("input_tokens"),
    _counter("output_tokens"),
    _moment("created_at"),
    _moment("updated_at"),
    sa.PrimaryKeyConstraint("kind", "subject_id"),
    sa.Index(None, "owner_id"),
    sa.Index(None, "state", "next_attempt_at"),
    sa.CheckConstraint("kind IN ('conversation', 'person')", name="kind"),
    sa.CheckConstraint("state IN ('waiting', 'done', 'dead')", name="state"),
    info={"class": "directory"},
)
"""What is or was to be done about one conversation or person; the next batch takes the same row up again."""

queue_messages = sa.Table(
    "queue_messages",
    metadata,
    _numbered("id"),
    sa.Column("owner_id", sa.Uuid(), sa.ForeignKey("owners.id")),
    sa.Column("body", Ordered, nullable=False),
    _counter("receives"),
    sa.Column("token", sa.Uuid()),
    _moment("available_at"),
    _moment("created_at"),
    sa.Column("dead_at", Instant()),
    sa.Column("reason", Ordered),
    sa.Index(None, "owner_id", "id"),
    info={"class": "directory"},
    sqlite_autoincrement=True,
)
"""The queue of the `sql` backend. `body` holds ids only; `owner_id` is the group, whose oldest message alone is out."""

outbox = sa.Table(
    "outbox",
    metadata,
    _numbered("id"),
    sa.Column("owner_id", sa.Uuid(), nullable=False, index=True),
    sa.Column("organization_id", Ordered, nullable=False),
    sa.Column("user_id", Ordered),
    sa.Column("event", Ordered, nullable=False),
    sa.Column("changed", Ordered),
    sa.Column("version", sa.BigInteger()),
    _moment("created_at"),
    info={"class": "directory"},
    sqlite_autoincrement=True,
)
"""Events that nobody was told yet, written by triggers in the transaction that causes them, one for each user id of the
person. It has no foreign key on purpose: that somebody was erased is told when they are gone."""

publishing = sa.Table(
    "publishing",
    metadata,
    sa.Column("id", sa.SmallInteger(), primary_key=True, autoincrement=False),
    sa.Column("enabled", sa.Boolean(), nullable=False),
    sa.Column("lease_token", sa.Uuid()),
    sa.Column("leased_until", Instant()),
    sa.CheckConstraint("id = 1", name="one_row"),
    info={"class": "directory"},
)
"""Whether events are written at all, where no row means no; and who tells of them just now."""

items = sa.Table(
    "items",
    metadata,
    _owner(),
    sa.Column("namespace", Ordered, nullable=False),
    sa.Column("key", Ordered, nullable=False),
    sa.Column("value", Ordered, nullable=False),
    sa.Column("version", sa.BigInteger(), nullable=False),
    _moment("created_at"),
    _moment("updated_at"),
    sa.PrimaryKeyConstraint("owner_id", "namespace", "key"),
    info={"class": "content"},
    sqlite_with_rowid=False,
)

profiles = sa.Table(
    "profiles",
    metadata,
    _owner(),
    sa.Column("text", Ordered, nullable=False),
    _moment("created_at"),
    _moment("updated_at"),
    sa.PrimaryKeyConstraint("owner_id"),
    info={"class": "content"},
)

heads = sa.Table(
    "heads",
    metadata,
    _owner(),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.Column("updated_by", Ordered, nullable=False),
    sa.Column("checkpoint_version", sa.BigInteger(), nullable=False),
    sa.Column("patch_bytes", sa.BigInteger(), nullable=False),
    _moment("updated_at"),
    sa.Column("document", Ordered, nullable=False),  # last: SQLite writes only the pages of a row that changed
    sa.PrimaryKeyConstraint("owner_id"),
    info={"class": "content"},
)
"""`checkpoint_version` is the newest snapshot checkpoint, `patch_bytes` the bytes of the patches after it."""

snapshots = sa.Table(
    "snapshots",
    metadata,
    _owner(),
    sa.Column("version", sa.BigInteger(), nullable=False),
    sa.Column("patch", Ordered, nullable=False),
    sa.Column("checkpoint", Ordered),
    sa.Column("provenance", Ordered, nullable=False),
    _moment("created_at"),
    sa.PrimaryKeyConstraint("owner_id", "version"),
    info={"class": "log"},
    sqlite_with_rowid=False,
)

sa.Index(
    "snapshots_checkpoints_idx",
    snapshots.c.owner_id,
    snapshots.c.created_at,
    snapshots.c.version,
    sqlite_where=snapshots.c.checkpoint.is_not(None),
    postgresql_where=snapshots.c.checkpoint.is_not(None),
)

messages = sa.Table(
    "messages",
    metadata,
    _owner(),
    sa.Column("number", sa.BigInteger(), nullable=False),
    sa.Column("conversation_id", sa.Uuid(), nullable=False),
    sa.Column("external_id", Ordered),
    sa.Column("role", Ordered, nullable=False),
    sa.Column("content", Ordered, nullable=False),
    sa.Column("metadata", Ordered),
    _moment("said_at"),
    _moment("created_at"),
    sa.PrimaryKeyConstraint("owner_id", "number"),
    sa.UniqueConstraint("owner_id", "conversation_id", "external_id"),
    sa.ForeignKeyConstraint(["owner_id", "conversation_id"], ["conversations.owner_id", "conversations.id"]),
    info={"class": "log"},
)

conversation_memories = sa.Table(
    "conversation_memories",
    metadata,
    _owner(),
    sa.Column("conversation_id", sa.Uuid(), nullable=False),
    sa.Column("data", Ordered, nullable=False),
    sa.Column("message_count", sa.BigInteger(), nullable=False),
    sa.Column("provenance", Ordered, nullable=False),
    _moment("created_at"),
    _moment("updated_at"),
    sa.PrimaryKeyConstraint("owner_id", "conversation_id"),
    sa.ForeignKeyConstraint(["owner_id", "conversation_id"], ["conversations.owner_id", "conversations.id"]),
    info={"class": "content"},
)
"""One structured memory of each conversation, made of its first `message_count` messages."""

pending_versions = sa.Table(
    "pending_versions",
    metadata,
    _owner(),
    sa.Column("id", sa.Uuid(), nullable=False),
    sa.Column("base_version", sa.BigInteger(), nullable=False),
    sa.Column("patch", Ordered, nullable=False),
    sa.Column("objections", Ordered, nullable=False),
    sa.Column("provenance", Ordered, nullable=False),
    _moment("created_at"),
    sa.PrimaryKeyConstraint("owner_id", "id"),
    info={"class": "content"},
)

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    _owner(),
    sa.Column("key", Ordered, nullable=False),
    sa.Column("fingerprint", Ordered, nullable=False),
    sa.Column("outcome", Ordered),
    _moment("created_at"),
    sa.PrimaryKeyConstraint("owner_id", "key"),
    info={"class": "content"},
)

CONTENT = tuple(table for table in metadata.sorted_tables if table.info["class"] in ("content", "log"))
"""The tables that every statement must pin to an owner."""
