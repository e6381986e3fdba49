"""Attacks: SQL by which one person's session tries to see or to change what belongs to another."""

from collections.abc import Iterator
from uuid import UUID

import sqlalchemy as sa

COLUMNS = {
    "owners": "organization_id",
    "identities": "value",
    "api_keys": "name",
    "jobs": "error",
    "outbox": "user_id",
    "queue_messages": "body",
    "conversation_memories": "data",
    "conversations": "name",
    "cursors": "purpose",
    "items": "value",
    "profiles": "text",
    "heads": "document",
    "snapshots": "patch",
    "messages": "content",
    "pending_versions": "patch",
    "idempotency_keys": "key",
}
"""A text of each table that holds anything of Ada."""

Shape = tuple[str, ...]

AS_HERS = "SELECT (jsonb_populate_record(t, jsonb_build_object('{owner}', '{ada}'))).* FROM {t} t"
AS_MINE = "SELECT (jsonb_populate_record(t, jsonb_build_object('{owner}', '{bob}'))).* FROM {t} t"

READS: dict[str, Shape] = {
    "everything": ("SELECT * FROM {t}",),
    "everything of hers": ("SELECT * FROM {t} WHERE {owner} = '{ada}'",),
    "mine or true": ("SELECT * FROM {t} WHERE {owner} = '{bob}' OR true",),
    "one of us": ("SELECT * FROM {t} WHERE {owner} IN ('{ada}', '{bob}')",),
    "not mine": ("SELECT * FROM {t} WHERE {owner} <> '{bob}'",),
    "mine or not": ("SELECT * FROM {t} WHERE ({owner} = '{bob}') IS NOT NULL",),
    "TABLE": ("TABLE {t}",),
    "ONLY": ("SELECT * FROM ONLY {t}",),
    "sample": ("SELECT * FROM {t} TABLESAMPLE SYSTEM (100)",),
    "page and line": (
        "SELECT * FROM {t} WHERE ctid = ANY (ARRAY("
        "SELECT format('(%s,%s)', page, line)::tid FROM generate_series(0, 99) page, generate_series(1, 99) line))",
    ),
    "by index": (
        "SET LOCAL enable_seqscan = off",
        "SELECT * FROM {t} WHERE {owner} > '00000000-0000-0000-0000-000000000000'",
    ),
    "in parallel": ("SET LOCAL debug_parallel_query = on", "SELECT * FROM {t}"),
    "FOR SHARE": ("SELECT * FROM {t} FOR SHARE",),
    "FOR UPDATE": ("SELECT * FROM {t} FOR UPDATE SKIP LOCKED",),
    "self join": ("SELECT theirs.* FROM {t} mine JOIN {t} theirs ON theirs.{owner} <> '{bob}'",),
    "left join": ("SELECT t.* FROM (VALUES ('{ada}'::uuid)) AS v (id) LEFT JOIN {t} t ON t.{owner} = v.id",),
    "full join": ("SELECT t.* FROM {t} t FULL JOIN (VALUES ('{ada}'::uuid)) AS v (id) ON v.id = t.{owner}",),
    "join of the directory": ("SELECT t.* FROM usermemory.owners o JOIN {t} t ON t.{owner} = o.id",),
    "lateral": (
        "SELECT theirs.* FROM (VALUES ('{ada}'::uuid)) AS v (whose),"
        " LATERAL (SELECT * FROM {t} WHERE {owner} = whose) theirs",
    ),
    "scalar subquery": ("SELECT (SELECT string_agg(t::text, ' ') FROM {t} t)",),
    "subquery": ("SELECT * FROM (SELECT * FROM {t} OFFSET 0) t WHERE {owner} = '{ada}'",),
    "array": ("SELECT ARRAY(SELECT t::text FROM {t} t)",),
    "materialized CTE": ("WITH theirs AS MATERIALIZED (SELECT * FROM {t}) SELECT * FROM theirs",),
    "recursive CTE": (
        "WITH RECURSIVE n AS (SELECT 1 AS step, ''::text AS line"
        " UNION SELECT step + 1, t::text FROM n, {t} t WHERE step < 3) SELECT * FROM n",
    ),
    "union": ("SELECT t::text FROM {t} t WHERE {owner} = '{bob}' UNION ALL SELECT t::text FROM {t} t",),
    "except": ("SELECT t::text FROM {t} t EXCEPT SELECT t::text FROM {t} t WHERE {owner} = '{bob}'",),
    "count": ("SELECT CASE WHEN count(*) > 0 THEN 'sec' || 'ret' END FROM {t} WHERE {owner} = '{ada}'",),
    "exists": ("SELECT 'sec' || 'ret' WHERE EXISTS (SELECT FROM {t} WHERE {owner} = '{ada}')",),
    "extremes": ("SELECT min({column}), max({column}) FROM {t} WHERE {owner} <> '{bob}'",),
    "JSON": ("SELECT json_agg(t) FROM {t} t",),
    "window": ("SELECT lag(t::text) OVER w, lead(t::text) OVER w FROM {t} t WINDOW w AS (ORDER BY {owner})",),
    "grouping sets": ("SELECT {column}, count(*) FROM {t} GROUP BY GROUPING SETS (({column}), ())",),
    "distinct": ("SELECT DISTINCT ON ({owner}) * FROM {t}",),
    "cursor": ("DECLARE theirs CURSOR FOR SELECT * FROM {t}", "FETCH ALL theirs"),
    "cursor held beyond the transaction": (
        "DECLARE theirs CURSOR WITH HOLD FOR SELECT * FROM {t}",
        "COMMIT",
        "FETCH ALL theirs",
        "CLOSE theirs",
    ),
    "prepared before anybody was bound": (
        "PREPARE theirs AS SELECT * FROM {t}",
        "EXECUTE theirs",
        "SELECT usermemory.bind('{bob}')",
        "EXECUTE theirs",
        "DEALLOCATE theirs",
    ),
    "after the transaction": ("COMMIT", "SELECT * FROM {t}"),
    "after a savepoint": ("SAVEPOINT s", "SELECT usermemory.bind('{bob}')", "ROLLBACK TO s", "SELECT * FROM {t}"),
    "COPY": ("COPY {t} TO STDOUT",),
    "COPY of a query": ("COPY (SELECT * FROM {t}) TO STDOUT",),
    "temporary table": ("CREATE TEMP TABLE stolen ON COMMIT DROP AS SELECT * FROM {t}", "TABLE stolen"),
    "temporary view": ("CREATE TEMP VIEW stolen AS SELECT * FROM {t}", "TABLE stolen", "DROP VIEW stolen"),
    "function": (
        "CREATE FUNCTION pg_temp.look() RETURNS SETOF text LANGUAGE sql AS 'SELECT t::text FROM {t} t'",
        "SELECT pg_temp.look()",
        "DROP FUNCTION pg_temp.look()",
    ),
    "DO": (
        "DO $$ DECLARE line text; BEGIN"
        " FOR line IN SELECT t::text FROM {t} t LOOP RAISE NOTICE '%', line; END LOOP; END $$",
    ),
    "condition that tells": (
        "CREATE FUNCTION pg_temp.tell(line text) RETURNS boolean LANGUAGE plpgsql COST 0.0000000001"
        " AS $$ BEGIN RAISE NOTICE '%', line; RETURN true; END $$",
        "SELECT 1 FROM {t} WHERE pg_temp.tell({column})",
        "DROP FUNCTION pg_temp.tell(text)",
    ),
    "error that tells": ("SELECT {column}::integer FROM {t} WHERE {owner} = '{ada}'",),
    "statistics": ("SELECT most_common_vals, histogram_bounds FROM pg_stats WHERE schemaname = 'usermemory'",),
    "raw statistics": ("SELECT stavalues1, stavalues2 FROM pg_statistic",),
    "row security off": ("SET LOCAL row_security = off", "SELECT * FROM {t}"),
    "as a superuser": ("SET LOCAL ROLE postgres", "SELECT * FROM {t}"),
    "as a superuser's session": ("SET LOCAL SESSION AUTHORIZATION postgres", "SELECT * FROM {t}"),
}

WRITES: dict[str, Shape] = {
    "update of everything": ("UPDATE {t} SET {column} = 'stolen'",),
    "update of hers": ("UPDATE {t} SET {column} = 'stolen' WHERE {owner} = '{ada}'",),
    "update with returning": ("UPDATE {t} SET {column} = {column} RETURNING *",),
    "update from": ("UPDATE {t} t SET {column} = 'stolen' FROM usermemory.owners o WHERE o.id = t.{owner}",),
    "pulled over": ("UPDATE {t} SET {owner} = '{bob}' WHERE {owner} = '{ada}'",),
    "given away": ("UPDATE {t} SET {owner} = '{ada}' WHERE {owner} = '{bob}'",),
    "delete of everything": ("DELETE FROM {t}",),
    "delete of hers": ("DELETE FROM {t} WHERE {owner} = '{ada}'",),
    "delete with returning": ("DELETE FROM {t} WHERE {owner} <> '{bob}' RETURNING *",),
    "delete using": ("DELETE FROM {t} t USING usermemory.owners o WHERE o.id = t.{owner} AND o.id = '{ada}'",),
    "delete within a CTE": ("WITH gone AS (DELETE FROM {t} RETURNING *) SELECT * FROM gone",),
    "insert in her name": ("INSERT INTO {t} " + AS_HERS + " WHERE {owner} = '{bob}'",),
    "insert of what is hers": ("INSERT INTO {t} " + AS_MINE + " WHERE {owner} = '{ada}' RETURNING *",),
    "upsert over hers": (
        "INSERT INTO {t} " + AS_HERS + " WHERE {owner} = '{bob}' ON CONFLICT ({key}) DO UPDATE SET {column} = 'stolen'",
    ),
    "merge that deletes": (
        "MERGE INTO {t} t USING (VALUES ('{ada}'::uuid)) AS v (id) ON t.{owner} = v.id WHEN MATCHED THEN DELETE",
    ),
    "merge that updates": (
        "MERGE INTO {t} t USING (VALUES ('{ada}'::uuid)) AS v (id) ON t.{owner} = v.id"
        " WHEN MATCHED THEN UPDATE SET {column} = 'stolen'",
    ),
    "TRUNCATE": ("TRUNCATE {t} CASCADE",),
    "COPY in her name": (
        "COPY usermemory.items (owner_id, namespace, key, value, version, created_at, updated_at) FROM STDIN;"
        " {ada} stolen stolen stolen 1 2026-11-20 2026-11-20",
    ),
    "row security disabled": ("ALTER TABLE {t} DISABLE ROW LEVEL SECURITY", "SELECT * FROM {t}"),
    "own policy": ("CREATE POLICY mine ON {t} USING (true)", "SELECT * FROM {t}"),
    "own right": ("GRANT ALL ON {t} TO PUBLIC", "TRUNCATE {t} CASCADE"),
    "other policy function": (
        "CREATE OR REPLACE FUNCTION usermemory.bound_owners() RETURNS uuid[] STABLE RETURN ARRAY['{ada}'::uuid]",
        "SELECT * FROM {t}",
    ),
}

SHAPES = READS | WRITES


def statements(shape: Shape, table: sa.Table, *, attacker: UUID, victim: UUID) -> Iterator[str]:
    """Yield the statements of an attack by `attacker` (bob) on what `table` holds of `victim` (ada)."""
    words = {
        "t": f"usermemory.{table.name}",
        "owner": "id" if table.name == "owners" else "owner_id",
        "column": COLUMNS.get(table.name, "owner_id::text"),
        "key": ", ".join(column.name for column in table.primary_key),
    }
    for statement in shape:
        yield statement.format(**words, ada=victim, bob=attacker)
