"""Add conversation memories, the queue with its jobs, and the outbox.

Batches, jobs, messages of the queue and events hold ids, counters and times: the worker's URL works on all of them
without being bound to anybody, the application may only send a message about the person it is bound to. Events are
written by triggers, so that no way of writing memory can forget them; the triggers run as the resolver, who may see
whose names a person has.
"""

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from alembic import context, op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

BRANCHES = "owner_id = ANY (usermemory.bound_owners())"
ONE = "owner_id = usermemory.bound_owner()"

WORK = ("batches", "jobs", "queue_messages", "outbox", "publishing")
TABLES = (*WORK, "conversation_memories")

NOTED = {
    "items": ("item", "INSERT OR UPDATE OR DELETE"),
    "heads": ("document", "INSERT OR UPDATE"),
    "profiles": ("profile", "INSERT OR UPDATE OR DELETE"),
    "conversation_memories": ("conversation", "INSERT OR UPDATE"),
}
"""The tables whose changes are events: what is said to have changed, and by what."""

NOTE_CHANGE = """
CREATE FUNCTION usermemory.note_change() RETURNS trigger LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $$
DECLARE person uuid := coalesce(NEW.owner_id, OLD.owner_id); saved bigint;
BEGIN
  IF TG_ARGV[0] = 'item' AND TG_OP <> 'DELETE' THEN
    -- Whoever kept the same item in this minute has looked, and a look at the owner costs as much as all the rest.
    IF date_trunc('minute', OLD.updated_at, 'UTC') IS DISTINCT FROM date_trunc('minute', NEW.updated_at, 'UTC') THEN
      -- Never waits: whoever holds the row is mostly noting the same, and a later write notes it otherwise.
      UPDATE usermemory.owners SET last_active_at = NEW.updated_at WHERE id = (
        SELECT id FROM usermemory.owners WHERE id = person
           AND (last_active_at IS NULL
                OR date_trunc('hour', last_active_at, 'UTC') < date_trunc('hour', NEW.updated_at, 'UTC'))
           FOR NO KEY UPDATE SKIP LOCKED);
    END IF;
  END IF;
  IF (SELECT enabled FROM usermemory.publishing) THEN
    IF TG_ARGV[0] IN ('item', 'document') AND TG_OP <> 'DELETE' THEN saved := NEW.version; END IF;
    INSERT INTO usermemory.outbox (owner_id, organization_id, user_id, event, changed, version, created_at)
      SELECT o.id, o.organization_id, i.value, 'memory.changed', TG_ARGV[0], saved, now()
        FROM usermemory.owners o
        LEFT JOIN usermemory.identities i ON i.owner_id = o.id AND i.kind = 'user'
        WHERE o.id = person ORDER BY i.value;
  END IF;
  RETURN NULL;
END $$
"""

NOTE_ON_SQLITE = """
INSERT INTO outbox (owner_id, organization_id, user_id, event, changed, version, created_at)
  SELECT o.id, o.organization_id, i.value, 'memory.changed', '{changed}', {version},
         strftime('%Y-%m-%dT%H:%M:%f', 'now') || '000+00:00'
    FROM owners o LEFT JOIN identities i ON i.owner_id = o.id AND i.kind = 'user'
    WHERE o.id = {row}.owner_id AND (SELECT enabled FROM publishing) ORDER BY i.value;
"""

ACTIVE_ON_SQLITE = """
UPDATE owners SET last_active_at = NEW.updated_at WHERE id = NEW.owner_id
   AND (last_active_at IS NULL OR substr(last_active_at, 1, 13) < substr(NEW.updated_at, 1, 13));
"""
"""The first 13 characters of a moment end with its hour."""

API_KEY = """
DROP FUNCTION usermemory.api_key(text);
CREATE FUNCTION usermemory.api_key(wanted text)
  RETURNS TABLE (id text, organization text, scopes text, expires_at timestamptz, revoked_at timestamptz, kind text,
    value text{owner_column})
  LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  SELECT k.id, k.organization_id, k.scopes, k.expires_at, k.revoked_at, i.kind, i.value{owner}
    FROM usermemory.api_keys k
    LEFT JOIN usermemory.owners o ON o.id = k.owner_id
    LEFT JOIN usermemory.owners b ON b.survivor_id = o.survivor_id
    LEFT JOIN usermemory.identities i ON i.owner_id = b.id
    WHERE k.digest = wanted AND (k.owner_id IS NULL OR i.value IS NOT NULL)
    ORDER BY i.kind DESC, i.value LIMIT 1 $$;
GRANT EXECUTE ON FUNCTION usermemory.api_key(text) TO {prefix}_app
"""
"""As migration 0005 made it, and the owner besides: a door that knows the key need not look the person up again."""

CONVERSATIONS = "DELETE FROM usermemory.conversations;"
KEYS = "DELETE FROM usermemory.api_keys;"
"""In `erase`: what the rows of the new tables go before."""

MEMORIES_BEFORE = f"DELETE FROM usermemory.conversation_memories;\n  {CONVERSATIONS}"
WORK_BEFORE = f"""DELETE FROM usermemory.jobs;
  DELETE FROM usermemory.queue_messages;
  DELETE FROM usermemory.outbox;
  INSERT INTO usermemory.outbox (owner_id, organization_id, user_id, event, created_at)
    SELECT o.id, o.organization_id, i.value, 'memory.erased', now()
      FROM usermemory.owners o LEFT JOIN usermemory.identities i ON i.owner_id = o.id AND i.kind = 'user'
      WHERE (SELECT enabled FROM usermemory.publishing) ORDER BY o.id, i.value;
  {KEYS}"""
"""What content was changed by erasing it is told by one event, the last of this person."""


def upgrade() -> None:
    """Create columns and tables, the triggers, and on PostgreSQL what protects them."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "usermemory" if on_postgresql else None
    op.add_column("owners", moment("last_active_at", nullable=True), schema=schema)
    op.add_column("conversations", moment("last_message_at", nullable=True), schema=schema)
    op.add_column("conversations", counter("remembered_count"), schema=schema)
    _say_when_conversations_ended(on_postgresql)
    op.create_index(
        "conversations_not_remembered_idx",
        "conversations",
        ["last_message_at"],
        schema=schema,
        postgresql_where=sa.text("message_count > remembered_count"),
        sqlite_where=sa.text("message_count > remembered_count"),
    )
    _create_tables(schema)
    if on_postgresql:
        prefix: str = context.config.attributes["role_prefix"]
        _protect(prefix)
        _note_on_postgresql(prefix)
        tell_owner = API_KEY.format(prefix=prefix, owner_column=", owner uuid", owner=", o.survivor_id")
        _as_role(prefix, "resolver", tell_owner)
        _rewrite_erase(prefix, (CONVERSATIONS, MEMORIES_BEFORE), (KEYS, WORK_BEFORE))
    else:
        for statement in _sqlite_triggers():
            op.get_bind().exec_driver_sql(statement)


def downgrade() -> None:
    """Drop the triggers, the tables with all that waits, and the columns."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    schema = "usermemory" if on_postgresql else None
    run = op.get_bind().exec_driver_sql
    if on_postgresql:
        prefix: str = context.config.attributes["role_prefix"]
        _as_role(prefix, "resolver", API_KEY.format(prefix=prefix, owner_column="", owner=""))
        _rewrite_erase(prefix, (MEMORIES_BEFORE, CONVERSATIONS), (WORK_BEFORE, KEYS))
        for table in NOTED:
            run(f"DROP TRIGGER note_change ON usermemory.{table}")
        _as_role(prefix, "resolver", "DROP FUNCTION usermemory.note_change()")
    else:
        for table, (_, events) in NOTED.items():
            for event in events.split(" OR "):
                run(f"DROP TRIGGER {table}_{event.lower()}_noted")
    for table in ("conversation_memories", "publishing", "outbox", "queue_messages", "jobs", "batches"):
        op.drop_table(table, schema=schema)
    op.drop_index("conversations_not_remembered_idx", "conversations", schema=schema)
    op.drop_column("conversations", "remembered_count", schema=schema)
    op.drop_column("conversations", "last_message_at", schema=schema)
    op.drop_column("owners", "last_active_at", schema=schema)


def text(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    """Return a column of text that sorts by code point."""
    by_code_point = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    return sa.Column(name, by_code_point, nullable=nullable)


def moment(name: str, *, nullable: bool = False) -> sa.Column[Any]:
    """Return a column of moments."""
    return sa.Column(name, sa.DateTime(timezone=True).with_variant(sa.String(32), "sqlite"), nullable=nullable)


def counter(name: str) -> sa.Column[Any]:
    """Return a column of whole numbers from 0."""
    return sa.Column(name, sa.BigInteger(), nullable=False, server_default="0")


def number(name: str) -> sa.Column[Any]:
    """Return a key that the database counts up."""
    return sa.Column(name, sa.BigInteger().with_variant(sa.Integer(), "sqlite"), sa.Identity(), nullable=False)


def person(*, nullable: bool = False) -> sa.Column[Any]:
    """Return the column that says whose a row is."""
    return sa.Column("owner_id", sa.Uuid(), nullable=nullable)


def _say_when_conversations_ended(on_postgresql: bool) -> None:
    """Take the time of the newest message from when it was kept; forced row security would hide every row."""
    run = op.get_bind().exec_driver_sql
    if not on_postgresql:
        run("UPDATE conversations SET last_message_at = updated_at WHERE message_count > 0")
        return
    run("ALTER TABLE usermemory.conversations NO FORCE ROW LEVEL SECURITY")
    run("UPDATE usermemory.conversations SET last_message_at = updated_at WHERE message_count > 0")
    run("ALTER TABLE usermemory.conversations FORCE ROW LEVEL SECURITY")


def _create_tables(schema: str | None) -> None:
    at = f"{schema}." if schema else ""

    def owned(table: str) -> sa.ForeignKeyConstraint:
        return sa.ForeignKeyConstraint(["owner_id"], [f"{at}owners.id"], name=f"{table}_owner_id_fkey")

    op.create_table(
        "batches",
        sa.Column("id", sa.Uuid(), nullable=False),
        text("kind"),
        text("organization_id", nullable=True),
        moment("due_at", nullable=True),
        text("idempotency_key", nullable=True),
        *(counter(sum_) for sum_ in ("total", "updated", "unchanged", "held", "skipped", "failed")),
        *(counter(sum_) for sum_ in ("input_tokens", "output_tokens", "cost_micros")),
        moment("created_at"),
        moment("sent_at", nullable=True),
        moment("finished_at", nullable=True),
        sa.PrimaryKeyConstraint("id", name="batches_pkey"),
        sa.UniqueConstraint("kind", "due_at", name="batches_kind_due_at_key"),
        sa.UniqueConstraint("idempotency_key", name="batches_idempotency_key_key"),
        sa.CheckConstraint("kind IN ('conversations', 'daily')", name="batches_kind_check"),
        schema=schema,
    )
    op.create_table(
        "jobs",
        text("kind"),
        sa.Column("subject_id", sa.Uuid(), nullable=False),
        person(),
        sa.Column("batch_id", sa.Uuid(), nullable=True),
        text("state"),
        text("outcome", nullable=True),
        counter("attempts"),
        moment("next_attempt_at", nullable=True),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        moment("leased_until", nullable=True),
        text("error", nullable=True),
        counter("input_tokens"),
        counter("output_tokens"),
        moment("created_at"),
        moment("updated_at"),
        sa.PrimaryKeyConstraint("kind", "subject_id", name="jobs_pkey"),
        owned("jobs"),
        sa.ForeignKeyConstraint(["batch_id"], [f"{at}batches.id"], name="jobs_batch_id_fkey"),
        sa.CheckConstraint("kind IN ('conversation', 'person')", name="jobs_kind_check"),
        sa.CheckConstraint("state IN ('waiting', 'done', 'dead')", name="jobs_state_check"),
        schema=schema,
    )
    op.create_table(
        "queue_messages",
        number("id"),
        person(nullable=True),
        text("body"),
        counter("receives"),
        sa.Column("token", sa.Uuid(), nullable=True),
        moment("available_at"),
        moment("created_at"),
        moment("dead_at", nullable=True),
        text("reason", nullable=True),
        sa.PrimaryKeyConstraint("id", name="queue_messages_pkey"),
        owned("queue_messages"),
        schema=schema,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "outbox",
        number("id"),
        person(),
        text("organization_id"),
        text("user_id", nullable=True),
        text("event"),
        text("changed", nullable=True),
        sa.Column("version", sa.BigInteger(), nullable=True),
        moment("created_at"),
        sa.PrimaryKeyConstraint("id", name="outbox_pkey"),
        schema=schema,
        sqlite_autoincrement=True,
    )
    op.create_table(
        "publishing",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("lease_token", sa.Uuid(), nullable=True),
        moment("leased_until", nullable=True),
        sa.PrimaryKeyConstraint("id", name="publishing_pkey"),
        sa.CheckConstraint("id = 1", name="publishing_one_row_check"),
        schema=schema,
    )
    op.create_table(
        "conversation_memories",
        person(),
        sa.Column("conversation_id", sa.Uuid(), nullable=False),
        text("data"),
        sa.Column("message_count", sa.BigInteger(), nullable=False),
        text("provenance"),
        moment("created_at"),
        moment("updated_at"),
        sa.PrimaryKeyConstraint("owner_id", "conversation_id", name="conversation_memories_pkey"),
        owned("conversation_memories"),
        sa.ForeignKeyConstraint(
            ["owner_id", "conversation_id"],
            [f"{at}conversations.owner_id", f"{at}conversations.id"],
            name="conversation_memories_owner_id_conversation_id_fkey",
        ),
        schema=schema,
    )
    for table, columns in (
        ("jobs", ["batch_id"]),
        ("jobs", ["owner_id"]),
        ("jobs", ["state", "next_attempt_at"]),
        ("queue_messages", ["owner_id", "id"]),
        ("queue_messages", ["available_at"]),
        ("outbox", ["owner_id"]),
    ):
        op.create_index(f"{table}_{'_'.join(columns)}_idx", table, columns, schema=schema)


def _policies() -> Iterator[tuple[str, str, str, str, str | None, str | None]]:
    """Yield table, policy, command, roles, USING and WITH CHECK of every policy."""
    for table in WORK:
        yield table, "work", "ALL", "worker", "true", "true"
    for table in ("jobs", "queue_messages", "outbox", "conversation_memories"):
        yield table, "wipe", "ALL", "eraser", BRANCHES, None
    yield "queue_messages", "add", "INSERT", "app", None, ONE
    yield "outbox", "record", "INSERT", "resolver", None, "true"
    yield "publishing", "read", "SELECT", "resolver, eraser", "true", None
    yield "conversation_memories", "read", "SELECT", "app, worker", BRANCHES, None
    yield "conversation_memories", "add", "INSERT", "app, worker", None, ONE
    yield "conversation_memories", "change", "UPDATE", "app, worker", ONE, ONE
    yield "conversation_memories", "remove", "DELETE", "app, worker", BRANCHES, None


def _grants() -> Iterator[tuple[str, str, str]]:
    """Yield rights, table and roles."""
    for table in WORK:
        yield "SELECT, INSERT, UPDATE, DELETE", table, "worker"
    for table in ("jobs", "queue_messages", "conversation_memories"):
        yield "SELECT, DELETE", table, "eraser"
    yield "SELECT, INSERT, DELETE", "outbox", "eraser"
    yield "SELECT", "publishing", "resolver, eraser"
    yield "INSERT", "outbox", "resolver"
    sent = ("owner_id", "body", "receives", "available_at", "created_at")  # never its place in the order
    yield ", ".join(f"INSERT ({column})" for column in sent), "queue_messages", "app"
    yield "SELECT, INSERT, UPDATE, DELETE", "conversation_memories", "app, worker"
    yield "UPDATE (last_active_at)", "owners", "app, worker, resolver"


def _protect(prefix: str) -> None:
    run = op.get_bind().exec_driver_sql

    def named(roles: str) -> str:
        return ", ".join(f"{prefix}_{role.strip()}" for role in roles.split(","))

    for table in TABLES:
        run(f"ALTER TABLE usermemory.{table} ENABLE ROW LEVEL SECURITY")
        run(f"ALTER TABLE usermemory.{table} FORCE ROW LEVEL SECURITY")
    for table, policy, command, roles, using, check in _policies():
        run(
            f"CREATE POLICY {policy} ON usermemory.{table} FOR {command} TO {named(roles)}"
            + (f" USING ({using})" if using else "")
            + (f" WITH CHECK ({check})" if check else "")
        )
    for rights, table, roles in _grants():
        run(f"GRANT {rights} ON usermemory.{table} TO {named(roles)}")


def _note_on_postgresql(prefix: str) -> None:
    """Let the triggers run as the resolver. Whoever owns the tables needs the right to say so, and only now."""
    function = "FUNCTION usermemory.note_change()"
    _as_role(prefix, "resolver", f"{NOTE_CHANGE}; GRANT EXECUTE ON {function} TO {prefix}_owner")
    for table, (changed, events) in NOTED.items():
        op.get_bind().exec_driver_sql(
            f"CREATE TRIGGER note_change AFTER {events} ON usermemory.{table} FOR EACH ROW"
            f" EXECUTE FUNCTION usermemory.note_change('{changed}')"
        )
    _as_role(prefix, "resolver", f"REVOKE EXECUTE ON {function} FROM {prefix}_owner")


def _sqlite_triggers() -> Iterator[str]:
    for table, (changed, events) in NOTED.items():
        for event in events.split(" OR "):
            row = "OLD" if event == "DELETE" else "NEW"
            version = "NEW.version" if row == "NEW" and changed in ("item", "document") else "NULL"
            note = NOTE_ON_SQLITE.format(changed=changed, version=version, row=row)
            active = ACTIVE_ON_SQLITE if changed == "item" and row == "NEW" else ""
            yield f"CREATE TRIGGER {table}_{event.lower()}_noted AFTER {event} ON {table} BEGIN {active}{note} END"


def _rewrite_erase(prefix: str, *changes: tuple[str, str]) -> None:
    """Put the second text in the place of the first, for each, in the function that erases a person."""
    signature = "usermemory.erase(uuid)"
    written = str(op.get_bind().exec_driver_sql(f"SELECT pg_get_functiondef('{signature}'::regprocedure)").scalar())
    for old, new in changes:
        assert written.count(old) == 1
        written = written.replace(old, new)
    _as_role(prefix, "eraser", written)


def _as_role(prefix: str, role: str, statements: str) -> None:
    """Run `statements` as the role, which may create in the schema for just so long."""
    run = op.get_bind().exec_driver_sql
    run(f"GRANT CREATE ON SCHEMA usermemory TO {prefix}_{role}")
    run(f"SET ROLE {prefix}_{role}")
    run(statements)
    run(f"SET ROLE {prefix}_owner")
    run(f"REVOKE CREATE ON SCHEMA usermemory FROM {prefix}_{role}")
