"""Add the hot paths: functions that bind a person and read or write in one round trip (PostgreSQL only).

They run with the caller's rights, so row security holds inside them as everywhere. The person comes first in each: the
order inside one statement is nobody's promise, the order inside a function is. Whoever is not merged is bound without
the detour over `bind`: the row of a merged or erased person is not visible then, and `bind` takes over.
"""

from alembic import context, op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

FUNCTIONS = (
    "read_head(uuid)",
    "read_chain(uuid, bigint)",
    "save_version(uuid, bigint, text, text, text, text, text, bigint, bigint, timestamptz)",
    "read_item(uuid, text, text)",
    "set_item(uuid, text, text, text, bigint, timestamptz)",
)

ENTER = """
  IF coalesce(current_setting('usermemory.owner', true), '') = '' THEN
    done := set_config('usermemory.owner', me::text, true);
  ELSIF current_setting('usermemory.owner') <> me::text THEN
    me := usermemory.bind(me);
  END IF;
"""
"""Bind `me` alone, or stay bound; a transaction that is bound to somebody else ends here."""

ENTER_OTHERWISE = """
    done := set_config('usermemory.owner', '', true);
    me := usermemory.bind(person);
"""
"""The row was not visible: merged, erased or never there, which `bind` knows."""

READ_HEAD = """
CREATE FUNCTION usermemory.read_head(person uuid, OUT version bigint, OUT document text, OUT updated_by text,
    OUT checkpoint_version bigint, OUT patch_bytes bigint, OUT updated_at timestamptz) LANGUAGE plpgsql VOLATILE AS $$
DECLARE me uuid := person; done text;
BEGIN
  {enter}
  LOOP
    SELECT h.version, h.document, h.updated_by, h.checkpoint_version, h.patch_bytes, h.updated_at
      INTO version, document, updated_by, checkpoint_version, patch_bytes, updated_at
      FROM usermemory.owners o LEFT JOIN usermemory.heads h ON h.owner_id = o.id WHERE o.id = me;
    EXIT WHEN FOUND;
    {otherwise}
  END LOOP;
END $$
"""

READ_CHAIN = """
CREATE FUNCTION usermemory.read_chain(person uuid, wanted bigint)
  RETURNS TABLE (version bigint, patch text, checkpoint text, provenance text) LANGUAGE plpgsql VOLATILE AS $$
DECLARE me uuid := usermemory.bind(person);
BEGIN
  RETURN QUERY SELECT s.version, s.patch, s.checkpoint, s.provenance FROM usermemory.snapshots s
    WHERE s.owner_id = me AND s.version <= wanted AND s.version >= (
      SELECT c.version FROM usermemory.snapshots c
      WHERE c.owner_id = me AND c.version <= wanted AND c.checkpoint IS NOT NULL ORDER BY c.version DESC LIMIT 1)
    ORDER BY s.version;
END $$
"""

SAVE_VERSION = """
CREATE FUNCTION usermemory.save_version(person uuid, expected bigint, new_document text, new_patch text,
    new_checkpoint text, new_provenance text, by_whom text, checkpoint_at bigint, bytes_since bigint,
    moment timestamptz)
  RETURNS bigint LANGUAGE plpgsql VOLATILE AS $$
DECLARE me uuid := person; done text;
BEGIN
  {enter}
  PERFORM FROM usermemory.owners o WHERE o.id = me FOR KEY SHARE;
  IF NOT FOUND THEN
    done := set_config('usermemory.owner', '', true);
    me := usermemory.bind_to_write(person);
  END IF;
  IF expected = 0 THEN
    INSERT INTO usermemory.heads (owner_id, version, document, updated_by, checkpoint_version, patch_bytes, updated_at)
      VALUES (me, 1, new_document, by_whom, checkpoint_at, bytes_since, moment) ON CONFLICT (owner_id) DO NOTHING;
  ELSE
    UPDATE usermemory.heads SET version = expected + 1, document = new_document, updated_by = by_whom,
        checkpoint_version = checkpoint_at, patch_bytes = bytes_since, updated_at = moment
      WHERE owner_id = me AND version = expected;
  END IF;
  IF NOT FOUND THEN RETURN NULL; END IF;
  INSERT INTO usermemory.snapshots (owner_id, version, patch, checkpoint, provenance, created_at)
    VALUES (me, expected + 1, new_patch, new_checkpoint, new_provenance, moment);
  RETURN expected + 1;
END $$
"""

READ_ITEM = """
CREATE FUNCTION usermemory.read_item(person uuid, in_namespace text, at_key text, OUT value text, OUT version bigint,
    OUT created_at timestamptz, OUT updated_at timestamptz) LANGUAGE plpgsql VOLATILE AS $$
DECLARE me uuid := person; done text;
BEGIN
  {enter}
  LOOP
    SELECT i.value, i.version, i.created_at, i.updated_at INTO value, version, created_at, updated_at
      FROM usermemory.owners o
      LEFT JOIN usermemory.items i ON i.owner_id = o.id AND i.namespace = in_namespace AND i.key = at_key
      WHERE o.id = me;
    EXIT WHEN FOUND;
    {otherwise}
  END LOOP;
END $$
"""

SET_ITEM = """
CREATE FUNCTION usermemory.set_item(person uuid, in_namespace text, at_key text, new_value text, expected bigint,
    moment timestamptz, OUT version bigint, OUT created_at timestamptz) LANGUAGE plpgsql VOLATILE AS $$
DECLARE me uuid := person; done text;
BEGIN
  {enter}
  IF expected IS NULL THEN
    LOOP
      INSERT INTO usermemory.items AS i (owner_id, namespace, key, value, version, created_at, updated_at)
        SELECT o.id, in_namespace, at_key, new_value, 1, moment, moment
          FROM usermemory.owners o WHERE o.id = me FOR KEY SHARE
        ON CONFLICT (owner_id, namespace, key) DO UPDATE
          SET value = excluded.value, version = i.version + 1, updated_at = excluded.updated_at
        RETURNING i.version, i.created_at INTO version, created_at;
      EXIT WHEN FOUND;
      {otherwise}
    END LOOP;
    RETURN;
  END IF;
  PERFORM FROM usermemory.owners o WHERE o.id = me FOR KEY SHARE;
  IF NOT FOUND THEN
    done := set_config('usermemory.owner', '', true);
    me := usermemory.bind_to_write(person);
  END IF;
  IF expected = 0 THEN
    INSERT INTO usermemory.items AS i (owner_id, namespace, key, value, version, created_at, updated_at)
      VALUES (me, in_namespace, at_key, new_value, 1, moment, moment) ON CONFLICT DO NOTHING
      RETURNING i.version, i.created_at INTO version, created_at;
  ELSE
    UPDATE usermemory.items i SET value = new_value, version = i.version + 1, updated_at = moment
      WHERE i.owner_id = me AND i.namespace = in_namespace AND i.key = at_key AND i.version = expected
      RETURNING i.version, i.created_at INTO version, created_at;
  END IF;
END $$
"""


def upgrade() -> None:
    """Create the functions; the application and the worker may run them."""
    if op.get_bind().dialect.name != "postgresql":
        return
    run = op.get_bind().exec_driver_sql
    prefix: str = context.config.attributes["role_prefix"]
    for statement in (READ_HEAD, READ_CHAIN, SAVE_VERSION, READ_ITEM, SET_ITEM):
        body = statement.replace("{enter}", ENTER.strip()).replace("{otherwise}", ENTER_OTHERWISE.strip())
        # A column and an answer of the same name: the column is meant, inside a statement.
        run(body.replace("AS $$\n", "AS $$\n#variable_conflict use_column\n"))
    for function in FUNCTIONS:
        run(f"GRANT EXECUTE ON FUNCTION usermemory.{function} TO {prefix}_app, {prefix}_worker")


def downgrade() -> None:
    """Drop the functions."""
    if op.get_bind().dialect.name != "postgresql":
        return
    for function in FUNCTIONS:
        op.get_bind().exec_driver_sql(f"DROP FUNCTION usermemory.{function}")
