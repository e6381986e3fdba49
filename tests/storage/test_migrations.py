import ast
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
import sqlalchemy as sa

from storage.conversations import NewMessage, Totals
from storage.database import Database
from storage.dialect import make_engine
from storage.directory import resolve
from storage.identity import Identity
from storage.migrate import HEAD, migrate
from storage.settings import DatabaseSettings
from storage.tables import metadata
from tests.catalog import constraints, everything, indexes, policies, structure
from tests.postgres import Cluster

VERSIONS = sorted((Path(__file__).parents[2] / "storage" / "migrations" / "versions").glob("[0-9]*.py"))

CONSTRAINTS = """
api_keys_digest_key UNIQUE (digest)
api_keys_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
api_keys_pkey PRIMARY KEY (id)
batches_idempotency_key_key UNIQUE (idempotency_key)
batches_kind_due_at_key UNIQUE (kind, due_at)
batches_pkey PRIMARY KEY (id)
configuration_keys_pkey PRIMARY KEY (organization_id, key)
configurations_pkey PRIMARY KEY (organization_id, flow)
conversation_memories_owner_id_conversation_id_fkey FOREIGN KEY (owner_id, conversation_id) REFERENCES conversations(owner_id, id)
conversation_memories_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
conversation_memories_pkey PRIMARY KEY (owner_id, conversation_id)
conversations_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
conversations_owner_id_id_key UNIQUE (owner_id, id)
conversations_owner_id_name_key UNIQUE (owner_id, name)
conversations_pkey PRIMARY KEY (id)
cursors_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
cursors_pkey PRIMARY KEY (owner_id, purpose)
erasures_pkey PRIMARY KEY (owner_id)
heads_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
heads_pkey PRIMARY KEY (owner_id)
idempotency_keys_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
idempotency_keys_pkey PRIMARY KEY (owner_id, key)
identities_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
identities_pkey PRIMARY KEY (organization_id, kind, value)
items_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
items_pkey PRIMARY KEY (owner_id, namespace, key)
jobs_batch_id_fkey FOREIGN KEY (batch_id) REFERENCES batches(id)
jobs_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
jobs_pkey PRIMARY KEY (kind, subject_id)
messages_owner_id_conversation_id_external_id_key UNIQUE (owner_id, conversation_id, external_id)
messages_owner_id_conversation_id_fkey FOREIGN KEY (owner_id, conversation_id) REFERENCES conversations(owner_id, id)
messages_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
messages_pkey PRIMARY KEY (owner_id, number)
owners_pkey PRIMARY KEY (id)
pending_versions_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
pending_versions_pkey PRIMARY KEY (owner_id, id)
profiles_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
profiles_pkey PRIMARY KEY (owner_id)
publishing_pkey PRIMARY KEY (id)
queue_messages_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
snapshots_owner_id_fkey FOREIGN KEY (owner_id) REFERENCES owners(id)
snapshots_pkey PRIMARY KEY (owner_id, version)
"""  # noqa: E501 - one line for each

CHECKS = {
    "sqlite": [
        "batches_kind_check CHECK (kind IN ('conversations', 'daily'))",
        "identities_kind_check CHECK (kind IN ('user', 'phone'))",
        "jobs_kind_check CHECK (kind IN ('conversation', 'person'))",
        "jobs_state_check CHECK (state IN ('waiting', 'done', 'dead'))",
        "publishing_one_row_check CHECK (id = 1)",
    ],
    "postgresql": [
        "batches_kind_check CHECK ((kind = ANY (ARRAY['conversations'::text, 'daily'::text])))",
        "identities_kind_check CHECK ((kind = ANY (ARRAY['user'::text, 'phone'::text])))",
        "jobs_kind_check CHECK ((kind = ANY (ARRAY['conversation'::text, 'person'::text])))",
        "jobs_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'done'::text, 'dead'::text])))",
        "outbox_pkey PRIMARY KEY (id)",
        "publishing_one_row_check CHECK ((id = 1))",
        "queue_messages_pkey PRIMARY KEY (id)",
    ],
}
"""What each database writes in its own words."""

INDEXES = """
CREATE INDEX api_keys_owner_id_idx ON api_keys (owner_id)
CREATE INDEX conversations_not_remembered_idx ON conversations (last_message_at) WHERE message_count > remembered_count
CREATE INDEX identities_owner_id_idx ON identities (owner_id)
CREATE INDEX jobs_batch_id_idx ON jobs (batch_id)
CREATE INDEX jobs_owner_id_idx ON jobs (owner_id)
CREATE INDEX jobs_state_next_attempt_at_idx ON jobs (state, next_attempt_at)
CREATE INDEX outbox_owner_id_idx ON outbox (owner_id)
CREATE INDEX owners_survivor_id_idx ON owners (survivor_id)
CREATE INDEX queue_messages_owner_id_id_idx ON queue_messages (owner_id, id)
CREATE INDEX snapshots_checkpoints_idx ON snapshots (owner_id, created_at, version) WHERE checkpoint IS NOT NULL
"""
"""Those that stand for no key."""

POLICIES = """
api_keys edit FOR ALL TO worker USING true WITH CHECK true
api_keys resolve FOR SELECT TO resolver USING true
api_keys wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
batches work FOR ALL TO worker USING true WITH CHECK true
configuration_keys work FOR ALL TO worker USING true WITH CHECK true
configurations edit FOR ALL TO worker USING true WITH CHECK true
configurations resolve FOR SELECT TO resolver USING true
conversation_memories add FOR INSERT TO app, worker WITH CHECK (owner_id = bound_owner())
conversation_memories change FOR UPDATE TO app, worker USING (owner_id = bound_owner()) WITH CHECK (owner_id = bound_owner())
conversation_memories read FOR SELECT TO app, worker USING (owner_id = ANY (bound_owners()))
conversation_memories remove FOR DELETE TO app, worker USING (owner_id = ANY (bound_owners()))
conversation_memories wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
conversations add FOR INSERT TO app, worker WITH CHECK (owner_id = bound_owner())
conversations change FOR UPDATE TO app, worker USING (owner_id = bound_owner()) WITH CHECK (owner_id = bound_owner())
conversations read FOR SELECT TO app USING (owner_id = ANY (bound_owners()))
conversations scan FOR SELECT TO worker USING true
conversations wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
cursors add FOR INSERT TO app, worker WITH CHECK (owner_id = bound_owner())
cursors change FOR UPDATE TO app, worker USING (owner_id = bound_owner()) WITH CHECK (owner_id = bound_owner())
cursors read FOR SELECT TO app USING (owner_id = ANY (bound_owners()))
cursors scan FOR SELECT TO worker USING true
cursors wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
erasures record FOR INSERT TO eraser WITH CHECK (owner_id = ANY (bound_owners()))
erasures resolve FOR SELECT TO resolver USING true
heads add FOR INSERT TO app, worker WITH CHECK (owner_id = bound_owner())
heads change FOR UPDATE TO app, worker USING (owner_id = bound_owner()) WITH CHECK (owner_id = bound_owner())
heads read FOR SELECT TO app, worker USING (owner_id = ANY (bound_owners()))
heads remove FOR DELETE TO app, worker USING (owner_id = ANY (bound_owners()))
heads wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
idempotency_keys add FOR INSERT TO app, worker WITH CHECK (owner_id = bound_owner())
idempotency_keys change FOR UPDATE TO app, worker USING (owner_id = bound_owner()) WITH CHECK (owner_id = bound_owner())
idempotency_keys read FOR SELECT TO app, worker USING (owner_id = ANY (bound_owners()))
idempotency_keys remove FOR DELETE TO app, worker USING (owner_id = ANY (bound_owners()))
idempotency_keys wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
identities read FOR SELECT TO app USING (owner_id = ANY (bound_owners()))
identities resolve FOR ALL TO resolver USING true WITH CHECK true
identities wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
items add FOR INSERT TO app, worker WITH CHECK (owner_id = bound_owner())
items change FOR UPDATE TO app, worker USING (owner_id = bound_owner()) WITH CHECK (owner_id = bound_owner())
items read FOR SELECT TO app, worker USING (owner_id = ANY (bound_owners()))
items remove FOR DELETE TO app, worker USING (owner_id = ANY (bound_owners()))
items wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
jobs wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
jobs work FOR ALL TO worker USING true WITH CHECK true
messages add FOR INSERT TO app, worker WITH CHECK (owner_id = bound_owner())
messages read FOR SELECT TO app, worker USING (owner_id = ANY (bound_owners()))
messages wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
outbox record FOR INSERT TO resolver WITH CHECK true
outbox wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
outbox work FOR ALL TO worker USING true WITH CHECK true
owners change FOR UPDATE TO app, worker USING (id = bound_owner()) WITH CHECK (id = bound_owner())
owners read FOR SELECT TO app USING (survivor_id = bound_owner())
owners resolve FOR ALL TO resolver USING true WITH CHECK true
owners scan FOR SELECT TO worker USING true
owners wipe FOR ALL TO eraser USING (survivor_id = bound_owner())
pending_versions add FOR INSERT TO app, worker WITH CHECK (owner_id = bound_owner())
pending_versions change FOR UPDATE TO app, worker USING (owner_id = bound_owner()) WITH CHECK (owner_id = bound_owner())
pending_versions read FOR SELECT TO app, worker USING (owner_id = ANY (bound_owners()))
pending_versions remove FOR DELETE TO app, worker USING (owner_id = ANY (bound_owners()))
pending_versions wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
profiles add FOR INSERT TO app, worker WITH CHECK (owner_id = bound_owner())
profiles change FOR UPDATE TO app, worker USING (owner_id = bound_owner()) WITH CHECK (owner_id = bound_owner())
profiles read FOR SELECT TO app, worker USING (owner_id = ANY (bound_owners()))
profiles remove FOR DELETE TO app, worker USING (owner_id = ANY (bound_owners()))
profiles wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
publishing read FOR SELECT TO eraser, resolver USING true
publishing work FOR ALL TO worker USING true WITH CHECK true
queue_messages add FOR INSERT TO app WITH CHECK (owner_id = bound_owner())
queue_messages wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
queue_messages work FOR ALL TO worker USING true WITH CHECK true
snapshots add FOR INSERT TO app, worker WITH CHECK (owner_id = bound_owner())
snapshots read FOR SELECT TO app, worker USING (owner_id = ANY (bound_owners()))
snapshots wipe FOR ALL TO eraser USING (owner_id = ANY (bound_owners()))
"""  # noqa: E501 - one line for each


@pytest.fixture
def new_url(backend: str, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database that nobody has migrated, for whoever may do so."""
    if backend == "sqlite":
        return f"sqlite:///{tmp_path / 'memory.db'}"
    cluster: Cluster = request.getfixturevalue("cluster")
    return cluster.new_database()


@contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    engine = make_engine(url, DatabaseSettings())
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_a_migrated_database_has_the_constraints_and_indexes_on_the_list(backend: str, new_url: str) -> None:
    migrate(new_url)
    with connected(new_url) as connection:
        assert constraints(connection) == sorted([*CONSTRAINTS.split("\n")[1:-1], *CHECKS[backend]])
        assert indexes(connection) == INDEXES.split("\n")[1:-1]


def test_a_migrated_database_has_the_policies_on_the_list(postgresql_url: str) -> None:
    with connected(postgresql_url) as connection:
        assert policies(connection) == POLICIES.split("\n")[1:-1]


def test_a_migrated_database_is_what_the_tables_describe(
    backend: str, new_url: str, request: pytest.FixtureRequest
) -> None:
    migrate(new_url)
    described_url = "sqlite://" if backend == "sqlite" else request.getfixturevalue("cluster").new_database()
    with connected(described_url) as described, connected(new_url) as migrated:
        if backend == "postgresql":
            described.exec_driver_sql("CREATE SCHEMA usermemory; CREATE TABLE usermemory.migrations ()")
        metadata.create_all(described)
        assert structure(migrated) == structure(described)


def test_every_migration_goes_down_and_up_again(new_url: str) -> None:
    after = {}
    for version in [path.stem[:4] for path in VERSIONS]:
        migrate(new_url, to=version)
        after[version] = catalog(new_url)
    for version in sorted(after, reverse=True):
        assert catalog(new_url) == after[version]
        migrate(new_url, to="-1")
    assert not [line for line in catalog(new_url) if "owners" in line]
    for version in sorted(after):
        migrate(new_url, to=version)
        assert catalog(new_url) == after[version]


def test_rows_survive_what_protects_them_going_down_and_up_again(new_url: str) -> None:
    url = migrate(new_url)
    with Database.open(url) as database:
        ada = resolve(database, Identity.of(user="ada")).owner
        with database.begin(ada) as stores:
            stores.items.set("prefs", "tone", "warm")
    migrate(new_url, to="0001")
    assert migrate(new_url) == url
    with Database.open(url) as database, database.read(ada) as stores:
        assert stores.items.get("prefs", "tone").value == "warm"


def test_what_was_kept_before_there_were_counters_is_counted(new_url: str) -> None:
    url = migrate(new_url)
    with Database.open(url) as database:
        ada, bob, eve = (resolve(database, Identity.of(user=name)).owner for name in ("ada", "bob", "eve"))
        kept = {ada: ("call-1", "call-2", "call-1"), bob: ("call-1",)}
        for owner, names in kept.items():
            for name in names:
                with database.begin(owner) as stores:
                    stores.conversations.append(name, [NewMessage("user", "hello", tokens=5)])
        before = {owner: totals(database, owner) for owner in (ada, bob, eve)}
    migrate(new_url, to="0003")
    with Database.open(migrate(new_url)) as database:
        assert {owner: totals(database, owner) for owner in before} == {
            owner: replace(known, tokens=0) for owner, known in before.items()
        }
        assert before[ada].conversations == 2
        assert before[eve].last_interaction_at is None


def totals(database: Database, owner: UUID) -> Totals:
    with database.read(owner) as stores:
        return stores.conversations.totals()


def catalog(url: str) -> list[str]:
    with connected(url) as connection:
        return everything(connection)


def test_the_program_needs_the_newest_migration() -> None:
    assert VERSIONS[-1].stem[:4] == HEAD
    assert [path.stem[:4] for path in VERSIONS] == [f"{number:04}" for number in range(1, len(VERSIONS) + 1)]


@pytest.mark.parametrize("path", VERSIONS, ids=lambda path: path.stem)
def test_a_migration_imports_nothing_of_ours(path: Path) -> None:
    """What it does must stay what it did, however our code changes."""
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {name.name.partition(".")[0] for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            imported.add((node.module or "").partition(".")[0])
    assert imported <= {"alembic", "collections", "sqlalchemy", "typing"}


def test_an_administrator_without_superuser_can_migrate(cluster: Cluster) -> None:
    name = sa.make_url(cluster.new_database()).database or ""
    cluster.execute("CREATE ROLE administrator LOGIN CREATEROLE")
    cluster.execute(f"GRANT CREATE ON DATABASE {name} TO administrator")
    url = migrate(cluster.url(name, "administrator"), DatabaseSettings(role_prefix="plain"))
    with Database.open(url) as database:
        assert resolve(database, Identity.of(user="ada")).other is None
    assert migrate(cluster.url(name, "administrator"), DatabaseSettings(role_prefix="plain")) == url


def test_two_processes_may_migrate_at_once(new_url: str, backend: str) -> None:
    action = f"Database.open({new_url!r}).close()" if backend == "sqlite" else f"migrate({new_url!r})"
    at_once(action, action)
    Database.open(migrate(new_url)).close()


def test_two_databases_may_be_migrated_at_once_with_the_same_new_roles(cluster: Cluster) -> None:
    settings = "DatabaseSettings(role_prefix='twins')"
    at_once(*(f"migrate({cluster.new_database()!r}, {settings})" for _ in range(2)))


def at_once(*actions: str) -> None:
    """Do each action in a process of its own, all from the same moment on; every one must succeed."""
    imports = (
        "from storage.database import Database; from storage.migrate import migrate; "
        "from storage.settings import DatabaseSettings; print('ready', flush=True); input(); "
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", imports + action],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for action in actions
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
