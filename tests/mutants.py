"""Mutants: what may be done to a migrated PostgreSQL by whoever administers it, and must not go unnoticed."""

MUTANTS = {
    # Tables
    "row security off": (
        "ALTER TABLE usermemory.heads DISABLE ROW LEVEL SECURITY",
        "table usermemory.heads should have row security",
    ),
    "row security not forced": (
        "ALTER TABLE usermemory.heads NO FORCE ROW LEVEL SECURITY",
        "table usermemory.heads should have forced row security",
    ),
    "row security not forced on the directory": (
        "ALTER TABLE usermemory.owners NO FORCE ROW LEVEL SECURITY",
        "table usermemory.owners should have forced row security",
    ),
    "table in no class": (
        "CREATE TABLE usermemory.notes (owner_id uuid)",
        "table usermemory.notes is not on the list",
    ),
    "table dropped": (
        "DROP TABLE usermemory.pending_versions",
        "table usermemory.pending_versions is missing",
    ),
    "table of the application": (
        "ALTER TABLE usermemory.items OWNER TO usermemory_app",
        "table usermemory.items has the owner usermemory_app",
    ),
    "view": (
        "CREATE VIEW usermemory.everything AS SELECT * FROM usermemory.items",
        "view usermemory.everything is not on the list",
    ),
    "view elsewhere with its owner's rights": (
        "CREATE VIEW public.everything AS SELECT * FROM usermemory.items",
        "view public.everything is not on the list",
    ),
    "materialized view": (
        "CREATE MATERIALIZED VIEW usermemory.everything AS SELECT * FROM usermemory.items",
        "materialized view usermemory.everything is not on the list",
    ),
    "materialized view elsewhere": (
        "CREATE MATERIALIZED VIEW public.everything AS SELECT * FROM usermemory.items",
        "view public.everything is not on the list",
    ),
    "sequence": ("CREATE SEQUENCE usermemory.numbers", "sequence usermemory.numbers is not on the list"),
    "parent that shows its children's rows": (
        "CREATE TABLE public.parent (LIKE usermemory.items); ALTER TABLE usermemory.items INHERIT public.parent",
        "table usermemory.items has the parent public.parent",
    ),
    # Policies
    "permissive extra policy": (
        "CREATE POLICY more ON usermemory.items FOR SELECT USING (true)",
        "table usermemory.items has the policy more FOR SELECT TO PUBLIC USING true",
    ),
    "restrictive extra policy": (
        "CREATE POLICY less ON usermemory.items AS RESTRICTIVE USING (false)",
        "table usermemory.items has the restrictive policy less",
    ),
    "policy that is always true": (
        "ALTER POLICY read ON usermemory.items USING (true)",
        "table usermemory.items has the policy read",
    ),
    "policy with a fallback where nobody is bound": (
        "ALTER POLICY read ON usermemory.items"
        " USING (usermemory.bound_owner() IS NULL OR owner_id = ANY (usermemory.bound_owners()))",
        "table usermemory.items has the policy read",
    ),
    "policy that writes into every branch": (
        "ALTER POLICY add ON usermemory.items WITH CHECK (owner_id = ANY (usermemory.bound_owners()))",
        "table usermemory.items has the policy add",
    ),
    "policy without check": (
        "DROP POLICY change ON usermemory.items;"
        "CREATE POLICY change ON usermemory.items FOR UPDATE TO usermemory_app, usermemory_worker"
        " USING (owner_id = usermemory.bound_owner())",
        "table usermemory.items should have the policy change",
    ),
    "policy for another command": (
        "DROP POLICY read ON usermemory.items;"
        "CREATE POLICY read ON usermemory.items FOR ALL TO usermemory_app, usermemory_worker"
        " USING (owner_id = ANY (usermemory.bound_owners()))",
        "table usermemory.items has the policy read FOR ALL",
    ),
    "policy for other roles": (
        "ALTER POLICY read ON usermemory.items TO PUBLIC",
        "table usermemory.items has the policy read FOR SELECT TO PUBLIC",
    ),
    "policy with another function of the same name": (
        "CREATE FUNCTION public.bound_owners() RETURNS uuid[] STABLE RETURN ARRAY[gen_random_uuid()];"
        "ALTER POLICY read ON usermemory.items USING (owner_id = ANY (public.bound_owners()));"
        "SET LOCAL search_path = public, usermemory",
        "public.bound_owners()",
    ),
    "policy dropped": (
        "DROP POLICY wipe ON usermemory.items",
        "table usermemory.items should have the policy wipe",
    ),
    "application scans the directory": (
        "ALTER POLICY scan ON usermemory.owners TO usermemory_app, usermemory_worker",
        "table usermemory.owners has the policy scan",
    ),
    "worker scans content": (
        "CREATE POLICY scan ON usermemory.items FOR SELECT TO usermemory_worker USING (true)",
        "table usermemory.items has the policy scan",
    ),
    # Rights
    "worker reads phone numbers": (
        "GRANT SELECT ON usermemory.identities TO usermemory_worker",
        "table usermemory.identities has the right SELECT for usermemory_worker",
    ),
    "application sees who is waiting for work": (
        "GRANT SELECT ON usermemory.jobs TO usermemory_app",
        "table usermemory.jobs has the right SELECT for usermemory_app",
    ),
    "application sends messages about everybody": (
        "ALTER POLICY add ON usermemory.queue_messages WITH CHECK (true)",
        "table usermemory.queue_messages has the policy add",
    ),
    "trigger that does something else": (
        "CREATE FUNCTION public.note_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "DROP TRIGGER note_change ON usermemory.items;"
        "CREATE TRIGGER note_change AFTER INSERT ON usermemory.items FOR EACH ROW"
        " EXECUTE FUNCTION public.note_change()",
        "table usermemory.items has the trigger note_change",
    ),
    "trigger dropped": (
        "DROP TRIGGER note_change ON usermemory.heads",
        "table usermemory.heads should have the trigger note_change",
    ),
    "update of the log": (
        "GRANT UPDATE ON usermemory.snapshots TO usermemory_app",
        "table usermemory.snapshots has the right UPDATE for usermemory_app",
    ),
    "deletion from the log": (
        "GRANT DELETE ON usermemory.messages TO usermemory_app",
        "table usermemory.messages has the right DELETE for usermemory_app",
    ),
    "TRUNCATE": (
        "GRANT TRUNCATE ON usermemory.items TO usermemory_app",
        "table usermemory.items has the right TRUNCATE for usermemory_app",
    ),
    "REFERENCES": (
        "GRANT REFERENCES ON usermemory.items TO usermemory_app",
        "table usermemory.items has the right REFERENCES for usermemory_app",
    ),
    "TRIGGER": (
        "GRANT TRIGGER ON usermemory.items TO usermemory_worker",
        "table usermemory.items has the right TRIGGER for usermemory_worker",
    ),
    "MAINTAIN": (
        "GRANT MAINTAIN ON usermemory.items TO usermemory_app",
        "table usermemory.items has the right MAINTAIN for usermemory_app",
    ),
    "column of the directory": (
        "GRANT UPDATE (survivor_id) ON usermemory.owners TO usermemory_app",
        "table usermemory.owners has the right UPDATE(survivor_id) for usermemory_app",
    ),
    "column of the log": (
        "GRANT UPDATE (patch) ON usermemory.snapshots TO usermemory_app",
        "table usermemory.snapshots has the right UPDATE(patch) for usermemory_app",
    ),
    "table for PUBLIC": (
        "GRANT SELECT ON usermemory.erasures TO PUBLIC",
        "table usermemory.erasures has the right SELECT for PUBLIC",
    ),
    "right to hand on": (
        "GRANT SELECT ON usermemory.items TO usermemory_app WITH GRANT OPTION",
        "table usermemory.items has the right SELECT for usermemory_app to hand on",
    ),
    "right of a stranger": (
        "CREATE ROLE stranger; GRANT SELECT ON usermemory.items TO stranger",
        "table usermemory.items has the right SELECT for stranger",
    ),
    "right revoked": (
        "REVOKE SELECT ON usermemory.items FROM usermemory_eraser",
        "table usermemory.items should have the right SELECT for usermemory_eraser",
    ),
    "API keys for the application": (
        "GRANT SELECT ON usermemory.api_keys TO usermemory_app",
        "table usermemory.api_keys has the right SELECT for usermemory_app",
    ),
    "CREATE in the schema": (
        "GRANT CREATE ON SCHEMA usermemory TO usermemory_app",
        "schema usermemory has the right CREATE for usermemory_app",
    ),
    "schema for PUBLIC": (
        "GRANT USAGE ON SCHEMA usermemory TO PUBLIC",
        "schema usermemory has the right USAGE for PUBLIC",
    ),
    "schema of somebody else": (
        "ALTER SCHEMA usermemory OWNER TO usermemory_eraser",
        "schema usermemory has the owner usermemory_eraser",
    ),
    # Keys, and what runs beside a statement
    "global unique index": (
        "CREATE UNIQUE INDEX one_value ON usermemory.items (value)",
        "table usermemory.items has the unique index usermemory.one_value",
    ),
    "global unique key": (
        "ALTER TABLE usermemory.items ADD UNIQUE (value)",
        "table usermemory.items has the key UNIQUE (value)",
    ),
    "no foreign key to owners": (
        "ALTER TABLE usermemory.items DROP CONSTRAINT items_owner_id_fkey",
        "table usermemory.items should have the key FOREIGN KEY (owner_id)",
    ),
    "cascading foreign key": (
        "ALTER TABLE usermemory.items DROP CONSTRAINT items_owner_id_fkey, ADD CONSTRAINT items_owner_id_fkey"
        " FOREIGN KEY (owner_id) REFERENCES usermemory.owners(id) ON DELETE CASCADE",
        "table usermemory.items has the key FOREIGN KEY (owner_id) REFERENCES usermemory.owners(id) ON DELETE CASCADE",
    ),
    "foreign key that was never validated": (
        "ALTER TABLE usermemory.items DROP CONSTRAINT items_owner_id_fkey, ADD CONSTRAINT items_owner_id_fkey"
        " FOREIGN KEY (owner_id) REFERENCES usermemory.owners(id) NOT VALID",
        "table usermemory.items has the key FOREIGN KEY (owner_id) REFERENCES usermemory.owners(id) NOT VALID",
    ),
    "foreign keys switched off": (
        "ALTER TABLE usermemory.items DISABLE TRIGGER ALL",
        "table usermemory.items has the disabled trigger",
    ),
    "trigger": (
        "CREATE FUNCTION public.copy_it() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';"
        "CREATE TRIGGER copy_it AFTER INSERT ON usermemory.items FOR EACH ROW EXECUTE FUNCTION public.copy_it()",
        "table usermemory.items has the trigger copy_it",
    ),
    "rule": (
        "CREATE RULE nothing AS ON DELETE TO usermemory.items DO INSTEAD NOTHING",
        "table usermemory.items has the rule nothing",
    ),
    # Functions
    "volatile policy function": (
        "ALTER FUNCTION usermemory.bound_owner() VOLATILE",
        "function usermemory.bound_owner() has the form sql VOLATILE",
    ),
    "policy function with another body": (
        "CREATE OR REPLACE FUNCTION usermemory.bound_owner() RETURNS uuid STABLE"
        " RETURN coalesce(current_setting('usermemory.owner', true), '00000000-0000-0000-0000-000000000000')::uuid",
        "function usermemory.bound_owner() has the body",
    ),
    "erase with another body": (
        "CREATE OR REPLACE FUNCTION usermemory.erase(person uuid) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER"
        " SET search_path = pg_catalog, pg_temp AS 'BEGIN DELETE FROM usermemory.items; RETURN 1; END'",
        "function usermemory.erase(uuid) has the body",
    ),
    "hot function with its owner's rights": (
        "ALTER FUNCTION usermemory.read_head(uuid) SECURITY DEFINER",
        "function usermemory.read_head(uuid) has the form plpgsql VOLATILE SECURITY DEFINER",
    ),
    "search_path reset": (
        "ALTER FUNCTION usermemory.bind(uuid) RESET search_path",
        "function usermemory.bind(uuid) has the form plpgsql VOLATILE SECURITY DEFINER,",
    ),
    "search_path of another schema": (
        "ALTER FUNCTION usermemory.erase(uuid) SET search_path = public",
        "function usermemory.erase(uuid) has the form plpgsql VOLATILE SECURITY DEFINER SET search_path=public",
    ),
    "row security off within a function": (
        "ALTER FUNCTION usermemory.erase(uuid) SET row_security = off",
        "function usermemory.erase(uuid) has the form",
    ),
    "erase for PUBLIC": (
        "GRANT EXECUTE ON FUNCTION usermemory.erase(uuid) TO PUBLIC",
        "function usermemory.erase(uuid) has the right EXECUTE for PUBLIC",
    ),
    "link for the application": (
        "GRANT EXECUTE ON FUNCTION usermemory.link(uuid, text, text) TO usermemory_app",
        "function usermemory.link(uuid,text,text) has the right EXECUTE for usermemory_app",
    ),
    "names by API keys for the worker": (
        "GRANT EXECUTE ON FUNCTION usermemory.api_key(text) TO usermemory_worker",
        "function usermemory.api_key(text) has the right EXECUTE for usermemory_worker",
    ),
    "erase of a superuser": (
        "ALTER FUNCTION usermemory.erase(uuid) OWNER TO postgres",
        "function usermemory.erase(uuid) has the owner postgres",
    ),
    "function that belongs nowhere": (
        "CREATE FUNCTION usermemory.everything() RETURNS SETOF usermemory.items LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT * FROM usermemory.items'",
        "function usermemory.everything() is not on the list",
    ),
    "function of the resolver elsewhere": (
        "CREATE FUNCTION public.phones() RETURNS SETOF text LANGUAGE sql SECURITY DEFINER"
        " AS 'SELECT value FROM usermemory.identities';"
        "GRANT CREATE ON SCHEMA public TO usermemory_resolver;"
        "ALTER FUNCTION public.phones() OWNER TO usermemory_resolver",
        "function public.phones() is not on the list",
    ),
    "overloaded function": (
        "CREATE FUNCTION usermemory.bind(text) RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'",
        "function usermemory.bind(text) is not on the list",
    ),
    "function dropped": (
        "DROP FUNCTION usermemory.erase(uuid)",
        "function usermemory.erase(uuid) is missing",
    ),
    # Roles
    "worker bypasses row security": (
        "ALTER ROLE usermemory_worker BYPASSRLS",
        "role usermemory_worker has the attribute BYPASSRLS",
    ),
    "application is a superuser": (
        "ALTER ROLE usermemory_app SUPERUSER",
        "role usermemory_app has the attribute SUPERUSER",
    ),
    "application makes roles": (
        "ALTER ROLE usermemory_app CREATEROLE",
        "role usermemory_app has the attribute CREATEROLE",
    ),
    "eraser logs in": (
        "ALTER ROLE usermemory_eraser LOGIN",
        "role usermemory_eraser has the attribute LOGIN",
    ),
    "application in the eraser": (
        "GRANT usermemory_eraser TO usermemory_app",
        "role usermemory_app has membership in usermemory_eraser",
    ),
    "worker in the application": (
        "GRANT usermemory_app TO usermemory_worker",
        "role usermemory_worker has membership in usermemory_app",
    ),
    "application reads files of the server": (
        "GRANT pg_read_server_files TO usermemory_app",
        "role usermemory_app has membership in pg_read_server_files",
    ),
    "stranger in the resolver": (
        "CREATE ROLE stranger LOGIN; GRANT usermemory_resolver TO stranger",
        "role stranger is not on the list",
    ),
    # The session
    "bound before it began": (
        "SET LOCAL usermemory.owner = '00000000-0000-0000-0000-000000000000'",
        "this session has usermemory.owner = 00000000",
    ),
    "branches bound before it began": (
        "SET LOCAL usermemory.owners = '{00000000-0000-0000-0000-000000000000}'",
        "this session has usermemory.owners = {00000000",
    ),
    "session without triggers": (
        "SET LOCAL session_replication_role = replica",
        "this session has session_replication_role = replica",
    ),
}
"""The change, and the sentence of the catalog lint that must name it."""
