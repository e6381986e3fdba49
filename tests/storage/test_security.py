import pytest
import sqlalchemy as sa

from storage.database import Database
from storage.errors import NotMigrated, UnsafeRole
from storage.migrate import migrate
from storage.rights import BODIES
from storage.security import findings, require_safe
from storage.settings import DatabaseSettings
from tests.catalog import bodies, changed
from tests.mutants import MUTANTS
from tests.postgres import Cluster


@pytest.mark.parametrize("role", ["app", "worker"])
def test_a_migrated_database_is_clean(postgresql_url: str, role: str) -> None:
    with Database.open(postgresql_url.replace("_app@", f"_{role}@")) as database, database.engine.connect() as one:
        assert findings(one) == ()


@pytest.mark.parametrize("role", ["app", "worker"])
def test_what_is_as_it_was_is_clean_within_a_transaction(superuser: sa.Engine, role: str) -> None:
    with changed(superuser, "SELECT 1", f"usermemory_{role}") as connection:
        assert findings(connection) == ()


@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_mutant_is_found(superuser: sa.Engine, mutant: str) -> None:
    change, sentence = MUTANTS[mutant]
    with changed(superuser, change) as connection:
        assert [found for found in findings(connection) if sentence in found]
        with pytest.raises(UnsafeRole):
            require_safe(connection)


def test_the_worker_finds_what_the_application_finds(superuser: sa.Engine) -> None:
    change, _ = MUTANTS["permissive extra policy"]
    with changed(superuser, change) as as_app:
        found = findings(as_app)
    with changed(superuser, change, "usermemory_worker") as as_worker:
        assert findings(as_worker) == found
    assert len(found) == 1


def test_looking_leaves_the_search_path_alone(superuser: sa.Engine) -> None:
    with changed(superuser, "SET LOCAL search_path = public, usermemory") as connection:
        assert findings(connection) == ()
        assert connection.exec_driver_sql("SHOW search_path").scalar() == "public, usermemory"


@pytest.mark.parametrize(
    "harmless",
    [
        "CREATE INDEX ON usermemory.items (owner_id, updated_at)",
        "CREATE VIEW public.mine WITH (security_invoker = on) AS SELECT * FROM usermemory.items",
        "CREATE ROLE operator CREATEROLE; GRANT usermemory_owner TO operator WITH INHERIT FALSE",
        "COMMENT ON TABLE usermemory.items IS 'what is remembered'",
    ],
)
def test_what_endangers_nobody_is_no_finding(superuser: sa.Engine, harmless: str) -> None:
    with changed(superuser, harmless) as connection:
        assert findings(connection) == ()


def test_the_bodies_of_the_functions_are_those_on_the_list(superuser: sa.Engine) -> None:
    """Whoever changes a function in a new migration copies what this test prints into storage/rights.py."""
    with superuser.connect() as connection:
        found = bodies(connection)
    assert found == BODIES, f"BODIES in storage/rights.py should be {found}"


class TestOpening:
    """Nothing is done for a role that could see past row security."""

    def refusal(self, url: str) -> str:
        with pytest.raises(UnsafeRole) as refused:
            Database.open(url)
        assert refused.value.code == "unsafe_role"
        return str(refused.value)

    def test_a_superuser_is_refused(self, administrator_url: str, postgresql_url: str) -> None:
        assert self.refusal(administrator_url) == (
            "this URL's role postgres is a superuser and has BYPASSRLS and may create roles and may replicate, and "
            "could see past row security: use the application's URL that `usermemory migrate` printed"
        )

    def test_a_superuser_is_refused_before_anything_is_migrated(self, cluster: Cluster) -> None:
        assert "is a superuser" in self.refusal(cluster.new_database())

    def test_a_superuser_who_acts_as_the_application_is_refused(
        self, administrator_url: str, postgresql_url: str
    ) -> None:
        acting = f"{administrator_url}&options=-crole%3Dusermemory_app"
        assert "is a superuser" in self.refusal(acting)

    @pytest.mark.parametrize(
        ("role", "made", "objection"),
        [
            ("seer", "LOGIN BYPASSRLS", "has BYPASSRLS"),
            ("maker", "LOGIN CREATEROLE", "may create roles"),
            ("copier", "LOGIN REPLICATION", "may replicate"),
            ("guest", "LOGIN", "is neither usermemory_app nor usermemory_worker"),
        ],
    )
    def test_another_role_is_refused(
        self, cluster: Cluster, postgresql_url: str, role: str, made: str, objection: str
    ) -> None:
        cluster.execute(f"CREATE ROLE {role} {made}")
        assert f"this URL's role {role} {objection}" in self.refusal(
            postgresql_url.replace("usermemory_app@", f"{role}@")
        )

    def test_the_owner_of_the_tables_and_its_members_are_refused(self, cluster: Cluster) -> None:
        administrators = cluster.new_database()
        url = migrate(administrators, DatabaseSettings(role_prefix="owned"))
        cluster.execute("CREATE ROLE deputy LOGIN IN ROLE owned_owner")
        cluster.execute("ALTER ROLE owned_owner LOGIN")
        assert "owned_owner owns the schema" in self.refusal(url.replace("owned_app@", "owned_owner@"))
        assert "deputy may become owned_owner, which owns the schema" in self.refusal(
            url.replace("owned_app@", "deputy@")
        )
        assert "role owned_owner has the attribute LOGIN" in self.refusal(url)

    def test_a_database_with_a_mutant_is_refused(self, cluster: Cluster) -> None:
        administrators = cluster.new_database()
        url = migrate(administrators)
        cluster.execute(
            "GRANT TRUNCATE ON usermemory.items TO usermemory_app", sa.make_url(administrators).database or ""
        )
        assert self.refusal(url) == (
            "row security is not as it should be: "
            "table usermemory.items has the right TRUNCATE for usermemory_app, which it should not have"
        )

    def test_what_was_never_migrated_is_not_unsafe(self, cluster: Cluster, postgresql_url: str) -> None:
        name = sa.make_url(cluster.new_database()).database or ""
        with pytest.raises(NotMigrated) as refused:
            Database.open(cluster.url(name, "usermemory_app"))
        assert refused.value.code == "not_migrated"

    def test_what_is_at_an_older_migration_is_not_unsafe(self, cluster: Cluster) -> None:
        with pytest.raises(NotMigrated, match="0002"):
            Database.open(migrate(cluster.new_database(), to="0002"))
