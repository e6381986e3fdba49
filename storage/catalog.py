"""Catalog: what PostgreSQL has on record about the schema, its roles, and whoever asks. Every role may read it."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from storage.rights import Fact

FACTS = """
WITH ours AS (
  SELECT oid, nspowner, nspacl, 'schema usermemory' AS object FROM pg_namespace WHERE nspname = 'usermemory'
), role AS (
  SELECT r.*, 'role ' || rolname AS object FROM pg_roles r WHERE rolname = ANY (%(roles)s)
), relation AS (
  SELECT c.*, CASE relkind WHEN 'r' THEN 'table' WHEN 'v' THEN 'view' WHEN 'm' THEN 'materialized view'
           WHEN 'p' THEN 'table' WHEN 'f' THEN 'foreign table' WHEN 'S' THEN 'sequence' ELSE 'type' END
         || ' usermemory.' || relname AS object
    FROM pg_class c WHERE relnamespace = (SELECT oid FROM ours) AND relkind NOT IN ('i', 'I')
), function AS (
  SELECT p.*, 'function ' || oid::regprocedure AS object FROM pg_proc p
   WHERE pronamespace = (SELECT oid FROM ours) OR proowner IN (SELECT oid FROM role)
), granted AS (
  SELECT object, (aclexplode(coalesce(nspacl, acldefault('n', nspowner)))).*, '' AS part FROM ours
  UNION ALL SELECT object, (aclexplode(relacl)).*, '' FROM relation
  UNION ALL SELECT object, (aclexplode(attacl)).*, '(' || attname || ')'
    FROM relation r JOIN pg_attribute a ON attrelid = r.oid WHERE attacl IS NOT NULL
  UNION ALL SELECT object, (aclexplode(coalesce(proacl, acldefault('f', proowner)))).*, '' FROM function
)
-- Whose it is, and who else may do what with it.
SELECT object, 'the owner ' || pg_get_userbyid(nspowner) FROM ours
UNION ALL SELECT object, 'the owner ' || pg_get_userbyid(relowner) FROM relation
UNION ALL SELECT object, 'the owner ' || pg_get_userbyid(proowner) FROM function
UNION ALL SELECT object, 'the right ' || privilege_type || part || ' for '
    || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END
    || CASE WHEN is_grantable THEN ' to hand on' ELSE '' END
  FROM granted WHERE grantee <> grantor
-- Which rows a table shows.
UNION ALL SELECT object, 'row security' FROM relation WHERE relrowsecurity
UNION ALL SELECT object, 'forced row security' FROM relation WHERE relforcerowsecurity
UNION ALL SELECT object, CASE WHEN polpermissive THEN 'the policy ' ELSE 'the restrictive policy ' END || polname
    || ' FOR ' || CASE polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE'
                              WHEN 'd' THEN 'DELETE' ELSE 'ALL' END
    || ' TO ' || (SELECT string_agg(CASE each WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(each) END, ', '
                                    ORDER BY pg_get_userbyid(each)) FROM unnest(polroles) each)
    || coalesce(' USING ' || pg_get_expr(polqual, polrelid), '')
    || coalesce(' WITH CHECK ' || pg_get_expr(polwithcheck, polrelid), '')
  FROM relation r JOIN pg_policy ON polrelid = r.oid
-- What could show that a row of somebody else exists, or keep a row when its owner is erased.
UNION ALL SELECT object, 'the key ' || pg_get_constraintdef(k.oid)
  FROM relation r JOIN pg_constraint k ON conrelid = r.oid WHERE contype IN ('p', 'u', 'x', 'f')
UNION ALL SELECT object, 'the unique index ' || indexrelid::regclass
  FROM relation r JOIN pg_index ON indrelid = r.oid
 WHERE indisunique AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid)
-- What runs beside a statement.
UNION ALL SELECT object, CASE WHEN tgisinternal THEN 'the disabled trigger ' ELSE 'the trigger ' END || tgname
    || CASE WHEN tgisinternal THEN '' ELSE ': ' || pg_get_triggerdef(pg_trigger.oid) END
  FROM relation r JOIN pg_trigger ON tgrelid = r.oid WHERE NOT tgisinternal OR tgenabled <> 'O'
UNION ALL SELECT object, 'the rule ' || rulename FROM relation r JOIN pg_rewrite ON ev_class = r.oid
UNION ALL SELECT object, 'the form ' || lanname
    || CASE provolatile WHEN 'i' THEN ' IMMUTABLE' WHEN 's' THEN ' STABLE' ELSE ' VOLATILE' END
    || CASE WHEN prosecdef THEN ' SECURITY DEFINER' ELSE '' END
    || coalesce(' SET ' || array_to_string(proconfig, ' SET '), '')
  FROM function JOIN pg_language l ON l.oid = prolang
UNION ALL SELECT object, 'the body ' || encode(sha256(convert_to(
    coalesce(pg_get_function_sqlbody(oid), prosrc), 'UTF8')), 'hex') FROM function
-- What another table shows of it, by its own policies.
UNION ALL SELECT object, 'the parent ' || inhparent::regclass FROM relation r JOIN pg_inherits ON inhrelid = r.oid
-- Who could reach its rows past its policies, in the partitions that it may have.
UNION ALL SELECT 'partition ' || part.oid::regclass, 'the right ' || privilege_type || ' for '
    || CASE grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(grantee) END
  FROM relation r JOIN pg_inherits ON inhparent = r.oid JOIN pg_class part ON part.oid = inhrelid,
       aclexplode(part.relacl) WHERE grantee <> part.relowner
UNION ALL SELECT 'partition ' || part.oid::regclass, 'the owner ' || pg_get_userbyid(part.relowner)
  FROM relation r JOIN pg_inherits ON inhparent = r.oid JOIN pg_class part ON part.oid = inhrelid
 WHERE part.relowner <> r.relowner
-- What a view elsewhere shows of it, with the rights of whoever made the view.
UNION ALL SELECT 'view ' || v.oid::regclass, 'a look into ' || r.object
  FROM relation r JOIN pg_depend ON refclassid = 'pg_class'::regclass AND refobjid = r.oid
       JOIN pg_rewrite w ON classid = 'pg_rewrite'::regclass AND objid = w.oid
       JOIN pg_class v ON v.oid = ev_class
 WHERE v.relnamespace <> (SELECT oid FROM ours) AND NOT EXISTS (
   SELECT FROM pg_options_to_table(v.reloptions) WHERE option_name = 'security_invoker' AND option_value::boolean)
-- What the roles are.
UNION ALL SELECT object, 'the attribute ' || attribute
  FROM role, LATERAL (VALUES ('SUPERUSER', rolsuper), ('BYPASSRLS', rolbypassrls), ('CREATEROLE', rolcreaterole),
    ('CREATEDB', rolcreatedb), ('REPLICATION', rolreplication), ('LOGIN', rolcanlogin), ('NOLOGIN', NOT rolcanlogin))
    AS a (attribute, given) WHERE given
UNION ALL SELECT object, 'membership in ' || pg_get_userbyid(roleid) FROM role JOIN pg_auth_members ON member = role.oid
UNION ALL SELECT 'role ' || m.rolname, 'membership in ' || role.rolname
  FROM role JOIN pg_auth_members ON roleid = role.oid JOIN pg_roles m ON m.oid = member
 WHERE NOT role.rolcanlogin AND (inherit_option OR NOT (m.rolsuper OR m.rolcreaterole))
-- What this session is set to.
UNION ALL SELECT 'this session', name || ' = ' || current_setting(name, true)
  FROM unnest(ARRAY['usermemory.owner', 'usermemory.owners', 'session_replication_role']) AS name
 WHERE coalesce(current_setting(name, true), '') <> ''
"""
"""Whoever administers the cluster may become the roles that do not log in: the migration runs as them."""

WHO_ASKS = """
SELECT rolname, attribute FROM pg_roles r, LATERAL (VALUES ('is a superuser', rolsuper),
    ('has BYPASSRLS', rolbypassrls), ('may create roles', rolcreaterole), ('may replicate', rolreplication),
    ('owns the schema', r.oid = (SELECT nspowner FROM pg_namespace WHERE nspname = 'usermemory')))
    AS a (attribute, given)
 WHERE given AND pg_has_role(session_user, r.oid, 'MEMBER') ORDER BY rolname <> session_user
"""


class Asker(NamedTuple):
    """The role that a connection logged in with, and what it could do beyond what an application may."""

    role: str
    schema_owner: str | None
    """Who owns the schema; None where there is no schema."""

    powers: tuple[tuple[str, str], ...]
    """A role that it is or may become, and why that one sees past row security."""


def who_asks(driver: Any) -> Asker:
    """Return who asks, through the driver's connection."""
    role, owner = driver.execute(
        "SELECT session_user, (SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'usermemory')"
    ).fetchone()
    return Asker(role, owner, tuple(driver.execute(WHO_ASKS).fetchall()))


def facts(driver: Any, roles: Sequence[str]) -> frozenset[Fact]:
    """Return what is on record about the schema and its `roles`, through the driver's connection.

    Names are printed with their schemas, whatever search_path the session has: it is put back afterwards.
    """
    with driver.transaction(force_rollback=True):
        driver.execute("SET LOCAL search_path = pg_catalog")
        return frozenset(driver.execute(FACTS, {"roles": list(roles)}).fetchall())
