"""Protect the rows: row security, rights and the functions that bind, resolve and erase (PostgreSQL only)."""

from collections.abc import Iterator

from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CONTENT = ("items", "profiles", "heads", "pending_versions", "idempotency_keys")
LOG = ("snapshots", "messages")
DIRECTORY = ("owners", "identities", "conversations", "cursors", "erasures")
EVERY_TABLE = (*CONTENT, *LOG, *DIRECTORY)

ONE = "owner_id = usermemory.bound_owner()"
BRANCHES = "owner_id = ANY (usermemory.bound_owners())"

FUNCTIONS = {
    "owner": ("bound_owner()", "bound_owners()"),
    "resolver": (
        "bind(uuid)",
        "bind_to_write(uuid)",
        "resolve(text, text, text, boolean, uuid)",
        "link(uuid, text, text)",
        "unlink(text, text, text)",
    ),
    "eraser": ("erase(uuid)",),
}


def policies() -> Iterator[tuple[str, str, str, str, str | None, str | None]]:
    """Yield table, policy, command, roles, USING and WITH CHECK of every policy."""
    for table in (*CONTENT, *LOG):
        yield table, "read", "SELECT", "app, worker", BRANCHES, None
        yield table, "add", "INSERT", "app, worker", None, ONE
        yield table, "wipe", "ALL", "eraser", BRANCHES, None
    for table in CONTENT:
        yield table, "change", "UPDATE", "app, worker", ONE, ONE
        yield table, "remove", "DELETE", "app, worker", BRANCHES, None
    for table in ("conversations", "cursors"):
        yield table, "read", "SELECT", "app", BRANCHES, None
        yield table, "scan", "SELECT", "worker", "true", None
        yield table, "add", "INSERT", "app, worker", None, ONE
        yield table, "change", "UPDATE", "app, worker", ONE, ONE
        yield table, "wipe", "ALL", "eraser", BRANCHES, None
    own, own_and_merged = "id = usermemory.bound_owner()", "survivor_id = usermemory.bound_owner()"
    yield "owners", "read", "SELECT", "app", own_and_merged, None
    yield "owners", "scan", "SELECT", "worker", "true", None
    yield "owners", "change", "UPDATE", "app, worker", own, own
    yield "owners", "resolve", "ALL", "resolver", "true", "true"
    yield "owners", "wipe", "ALL", "eraser", own_and_merged, None
    yield "identities", "read", "SELECT", "app", BRANCHES, None
    yield "identities", "resolve", "ALL", "resolver", "true", "true"
    yield "identities", "wipe", "ALL", "eraser", BRANCHES, None
    yield "erasures", "resolve", "SELECT", "resolver", "true", None
    yield "erasures", "record", "INSERT", "eraser", None, BRANCHES


def grants() -> Iterator[tuple[str, str, str]]:
    """Yield rights, table and roles."""
    for table in CONTENT:
        yield "SELECT, INSERT, UPDATE, DELETE", table, "app, worker"
        yield "SELECT, DELETE", table, "eraser"
    for table in LOG:  # only ever added to: neither the right nor the policy to change it
        yield "SELECT, INSERT", table, "app, worker"
        yield "SELECT, DELETE", table, "eraser"
    for table in ("conversations", "cursors"):
        yield "SELECT, INSERT, UPDATE", table, "app, worker"
        yield "SELECT, DELETE", table, "eraser"
    yield "SELECT, UPDATE (last_message)", "owners", "app, worker"
    yield "SELECT, INSERT, UPDATE (survivor_id, merged_into)", "owners", "resolver"
    yield "SELECT, DELETE, UPDATE (survivor_id)", "owners", "eraser"
    yield "SELECT", "identities", "app"
    yield "SELECT, INSERT, DELETE", "identities", "resolver"
    yield "SELECT, DELETE", "identities", "eraser"
    yield "SELECT", "erasures", "resolver"
    yield "INSERT", "erasures", "eraser"
    yield "SELECT", "migrations", "app, worker"


BOUND = """
CREATE FUNCTION usermemory.bound_owner() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE
  RETURN {one};
CREATE FUNCTION usermemory.bound_owners() RETURNS uuid[] LANGUAGE sql STABLE PARALLEL SAFE
  RETURN {many};
"""

HAS_AUTH_UID = """
SELECT EXISTS (SELECT FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
               WHERE n.nspname = 'auth' AND p.proname = 'uid' AND p.pronargs = 0)
"""

SIGNED_IN = """
CREATE FUNCTION usermemory.signed_in_owner() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $$
  SELECT o.survivor_id FROM usermemory.identities i JOIN usermemory.owners o ON o.id = i.owner_id
   WHERE i.organization_id = 'default' AND i.kind = 'user' AND i.value = auth.uid()::text $$;
CREATE FUNCTION usermemory.signed_in_owners() RETURNS uuid[] LANGUAGE sql STABLE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $$
  SELECT array_agg(id) FROM usermemory.owners WHERE survivor_id = usermemory.signed_in_owner() $$;
"""
"""Supabase only: who signed in there is bound where no transaction bound anybody."""

RESOLVER = """
CREATE FUNCTION usermemory.bind(person uuid) RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $$
DECLARE survivor uuid; branches uuid[]; bound uuid := NULLIF(current_setting('usermemory.owner', true), '')::uuid;
BEGIN
  IF bound IS NOT NULL THEN
    IF person = ANY (usermemory.bound_owners()) THEN RETURN bound; END IF;
    RAISE EXCEPTION 'this transaction is bound to somebody else' USING ERRCODE = 'UM001';
  END IF;
  SELECT o.survivor_id INTO survivor FROM usermemory.owners o WHERE o.id = person;
  IF NOT FOUND THEN
    IF EXISTS (SELECT FROM usermemory.erasures WHERE owner_id = person) THEN
      RAISE EXCEPTION 'this person was erased' USING ERRCODE = 'UM002';
    END IF;
    RAISE EXCEPTION 'no such owner' USING ERRCODE = 'UM003';
  END IF;
  SELECT array_agg(b.id) INTO branches FROM usermemory.owners b WHERE b.survivor_id = survivor;
  PERFORM set_config('usermemory.owner', survivor::text, true), set_config('usermemory.owners', branches::text, true);
  RETURN survivor;
END $$;

CREATE FUNCTION usermemory.bind_to_write(person uuid) RETURNS uuid LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  PERFORM FROM usermemory.owners WHERE id = person FOR KEY SHARE;
  RETURN usermemory.bind(person);
END $$;

CREATE FUNCTION usermemory.resolve(org text, user_id text, phone text, phone_verified boolean, candidate uuid,
    OUT owner uuid, OUT other uuid) LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $$
DECLARE by_user uuid; by_phone uuid; made uuid;
BEGIN
  LOOP
    SELECT owner_id INTO by_user FROM usermemory.identities
      WHERE organization_id = org AND kind = 'user' AND value = user_id;
    SELECT owner_id INTO by_phone FROM usermemory.identities
      WHERE organization_id = org AND kind = 'phone' AND value = phone;
    owner := coalesce(by_user, CASE WHEN user_id IS NULL THEN by_phone END);
    IF owner IS NULL AND phone_verified AND by_phone IS NOT NULL THEN
      PERFORM FROM usermemory.owners WHERE id = by_phone FOR NO KEY UPDATE;  -- two new users want the same number
      IF NOT EXISTS (SELECT FROM usermemory.identities WHERE owner_id = by_phone AND kind = 'user') THEN
        owner := by_phone;
      END IF;
    END IF;
    EXIT WHEN owner IS NOT NULL OR candidate IS NULL;
    WITH first AS (
      INSERT INTO usermemory.identities (organization_id, kind, value, owner_id, created_at)
      VALUES (org, CASE WHEN user_id IS NULL THEN 'phone' ELSE 'user' END, coalesce(user_id, phone), candidate, now())
      ON CONFLICT DO NOTHING RETURNING owner_id)
    INSERT INTO usermemory.owners (id, organization_id, survivor_id, created_at)
      SELECT owner_id, org, owner_id, now() FROM first RETURNING id INTO made;
    CONTINUE WHEN made IS NULL;
    owner := made;
    EXIT;
  END LOOP;
  IF owner IS NOT NULL AND candidate IS NOT NULL AND phone_verified AND user_id IS NOT NULL AND phone IS NOT NULL THEN
    INSERT INTO usermemory.identities (organization_id, kind, value, owner_id, created_at)
      VALUES (org, 'user', user_id, owner, now()), (org, 'phone', phone, owner, now()) ON CONFLICT DO NOTHING;
  END IF;
  IF owner IS NOT NULL AND phone_verified AND user_id IS NOT NULL THEN
    SELECT other_owner.id INTO other
      FROM usermemory.identities i
      JOIN usermemory.owners named ON named.id = i.owner_id
      JOIN usermemory.owners other_owner ON other_owner.id = named.survivor_id
      JOIN usermemory.owners mine ON mine.id = owner AND mine.survivor_id <> other_owner.id
      WHERE i.organization_id = org
        AND ((i.kind = 'user' AND i.value = user_id) OR (i.kind = 'phone' AND i.value = phone))
      LIMIT 1;
  END IF;
END $$;

CREATE FUNCTION usermemory.link(person uuid, name_kind text, name_value text) RETURNS uuid LANGUAGE plpgsql VOLATILE
  SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE holder uuid;
BEGIN
  INSERT INTO usermemory.identities (organization_id, kind, value, owner_id, created_at)
    SELECT organization_id, name_kind, name_value, survivor_id, now() FROM usermemory.owners WHERE id = person
    ON CONFLICT DO NOTHING;
  SELECT CASE WHEN named.survivor_id = me.survivor_id THEN person ELSE named.survivor_id END INTO holder
    FROM usermemory.identities i
    JOIN usermemory.owners me ON me.id = person AND me.organization_id = i.organization_id
    JOIN usermemory.owners named ON named.id = i.owner_id
    WHERE i.kind = name_kind AND i.value = name_value;
  RETURN holder;
END $$;

CREATE FUNCTION usermemory.unlink(org text, name_kind text, name_value text) RETURNS uuid LANGUAGE sql VOLATILE
  SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  DELETE FROM usermemory.identities WHERE organization_id = org AND kind = name_kind AND value = name_value
    RETURNING owner_id $$;
"""

ERASER = """
CREATE FUNCTION usermemory.erase(person uuid) RETURNS bigint LANGUAGE plpgsql VOLATILE SECURITY DEFINER
  SET search_path = pg_catalog, pg_temp AS $$
DECLARE gone bigint;
BEGIN
  IF usermemory.bound_owner() IS DISTINCT FROM person THEN
    RAISE EXCEPTION 'only the bound owner can be erased' USING ERRCODE = '42501';
  END IF;
  PERFORM FROM usermemory.owners ORDER BY id FOR UPDATE;
  {deletes}
  INSERT INTO usermemory.erasures (owner_id, erased_at) SELECT id, now() FROM usermemory.owners;
  DELETE FROM usermemory.owners;
  GET DIAGNOSTICS gone = ROW_COUNT;
  RETURN gone;
END $$;
"""


def upgrade() -> None:
    """Enable and force row security on every table, with one policy per command."""
    if op.get_bind().dialect.name != "postgresql":
        return
    run = op.get_bind().exec_driver_sql
    prefix: str = context.config.attributes["role_prefix"]

    def named(roles: str) -> str:
        return ", ".join(f"{prefix}_{role.strip()}" for role in roles.split(","))

    everyone = named("app, worker, resolver, eraser")
    run(f"GRANT USAGE ON SCHEMA usermemory TO {everyone}")
    for role in ("owner", "resolver", "eraser"):  # PUBLIC may execute every new function, unless told otherwise
        _as_role(f"{prefix}_{role}", prefix, "ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
    on_supabase = bool(run(HAS_AUTH_UID).scalar())
    if on_supabase:
        _as_administrator(f"GRANT USAGE ON SCHEMA auth TO {prefix}_resolver", prefix)
        signed_in = "usermemory.signed_in_owner(), usermemory.signed_in_owners()"
        _as_role(f"{prefix}_resolver", prefix, f"{SIGNED_IN} GRANT EXECUTE ON FUNCTION {signed_in} TO {everyone}")
    run(BOUND.format(**_bound(on_supabase)))
    run(f"GRANT EXECUTE ON FUNCTION usermemory.bound_owner(), usermemory.bound_owners() TO {everyone}")
    for table in EVERY_TABLE:
        run(f"ALTER TABLE usermemory.{table} ENABLE ROW LEVEL SECURITY")
        run(f"ALTER TABLE usermemory.{table} FORCE ROW LEVEL SECURITY")
    for table, policy, command, roles, using, check in policies():
        run(
            f"CREATE POLICY {policy} ON usermemory.{table} FOR {command} TO {named(roles)}"
            + (f" USING ({using})" if using else "")
            + (f" WITH CHECK ({check})" if check else "")
        )
    for rights, table, roles in grants():
        run(f"GRANT {rights} ON usermemory.{table} TO {named(roles)}")
    _as_role(f"{prefix}_resolver", prefix, RESOLVER)
    deletes = "\n  ".join(
        f"DELETE FROM usermemory.{table};" for table in (*LOG, *CONTENT, "cursors", "conversations", "identities")
    )
    _as_role(f"{prefix}_eraser", prefix, ERASER.format(deletes=deletes))
    for owner in ("resolver", "eraser"):
        for function in FUNCTIONS[owner]:
            roles = "worker" if function.startswith(("link", "unlink")) else "app, worker"
            _as_role(f"{prefix}_{owner}", prefix, f"GRANT EXECUTE ON FUNCTION usermemory.{function} TO {named(roles)}")
    run("ALTER TABLE usermemory.heads ALTER COLUMN document SET STORAGE EXTERNAL")
    run("ALTER TABLE usermemory.heads SET (fillfactor = 50)")  # room to change a row where it is
    run("ALTER TABLE usermemory.items SET (fillfactor = 70)")


def downgrade() -> None:
    """Drop functions and policies; the tables stay, open to their owner only."""
    if op.get_bind().dialect.name != "postgresql":
        return
    run = op.get_bind().exec_driver_sql
    prefix: str = context.config.attributes["role_prefix"]
    for table, policy, *_ in policies():
        run(f"DROP POLICY {policy} ON usermemory.{table}")
    for table in EVERY_TABLE:
        run(f"ALTER TABLE usermemory.{table} NO FORCE ROW LEVEL SECURITY")
        run(f"ALTER TABLE usermemory.{table} DISABLE ROW LEVEL SECURITY")
    everyone = ", ".join(f"{prefix}_{role}" for role in ("app", "worker", "resolver", "eraser"))
    run(f"REVOKE ALL ON ALL TABLES IN SCHEMA usermemory FROM {everyone}")
    for owner in ("eraser", "resolver"):
        for function in FUNCTIONS[owner]:
            _as_role(f"{prefix}_{owner}", prefix, f"DROP FUNCTION usermemory.{function}")
    for function in FUNCTIONS["owner"]:
        run(f"DROP FUNCTION usermemory.{function}")
    if run("SELECT to_regprocedure('usermemory.signed_in_owner()')").scalar() is not None:
        for function in ("signed_in_owners()", "signed_in_owner()"):
            _as_role(f"{prefix}_resolver", prefix, f"DROP FUNCTION usermemory.{function}")
        _as_administrator(f"REVOKE USAGE ON SCHEMA auth FROM {prefix}_resolver", prefix)
    run("ALTER TABLE usermemory.items RESET (fillfactor)")
    run("ALTER TABLE usermemory.heads RESET (fillfactor)")
    run("ALTER TABLE usermemory.heads ALTER COLUMN document SET STORAGE EXTENDED")
    run(f"REVOKE USAGE ON SCHEMA usermemory FROM {everyone}")


def _bound(on_supabase: bool) -> dict[str, str]:
    """Return the bodies of the two functions that say who is bound."""
    one = "NULLIF(current_setting('usermemory.owner', true), '')::uuid"
    many = "NULLIF(current_setting('usermemory.owners', true), '')::uuid[]"
    alone = f"CASE WHEN {one} IS NOT NULL THEN ARRAY[{one}] END"  # a hot path binds the person without branches
    if on_supabase:
        one = f"coalesce({one}, usermemory.signed_in_owner())"
        alone = f"{alone}, usermemory.signed_in_owners()"
    return {"one": one, "many": f"coalesce({many}, {alone})"}


def _as_role(role: str, prefix: str, statements: str) -> None:
    """Run `statements` as `role`, which may create in the schema for just so long."""
    run = op.get_bind().exec_driver_sql
    owns_the_schema = role == f"{prefix}_owner"
    if not owns_the_schema:
        run(f"GRANT CREATE ON SCHEMA usermemory TO {role}")
    run(f"SET ROLE {role}")
    run(statements)
    run(f"SET ROLE {prefix}_owner")
    if not owns_the_schema:
        run(f"REVOKE CREATE ON SCHEMA usermemory FROM {role}")


def _as_administrator(statement: str, prefix: str) -> None:
    """Run `statement` as whoever migrates: the schema of another product is not our owner's to grant."""
    run = op.get_bind().exec_driver_sql
    run("SET ROLE NONE")
    run(statement)
    run(f"SET ROLE {prefix}_owner")
