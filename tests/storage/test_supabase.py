"""Where `auth.uid()` exists, whoever signed in there is bound as long as no transaction bound anybody."""

from uuid import UUID

import pytest
import sqlalchemy as sa

from storage.database import Database
from storage.directory import resolve
from storage.identity import Identity
from storage.migrate import migrate
from storage.rights import BODIES, SUPABASE_BODIES
from storage.security import findings
from tests.catalog import bodies, changed
from tests.postgres import Cluster


@pytest.fixture(scope="module")
def administrators(cluster: Cluster) -> str:
    url = cluster.new_database()
    name = sa.make_url(url).database or ""
    cluster.execute("CREATE SCHEMA auth", name)
    cluster.execute(
        "CREATE FUNCTION auth.uid() RETURNS uuid LANGUAGE sql STABLE AS"
        " $$ SELECT NULLIF(current_setting('request.jwt.claim.sub', true), '')::uuid $$",
        name,
    )
    return url


@pytest.fixture(scope="module")
def url(administrators: str) -> str:
    return migrate(administrators)


@pytest.mark.parametrize("role", ["app", "worker"])
def test_it_is_clean(url: str, role: str) -> None:
    with Database.open(url.replace("_app@", f"_{role}@")) as database, database.engine.connect() as connection:
        assert findings(connection) == ()


def test_the_bodies_of_its_functions_are_those_on_the_list(url: str) -> None:
    with Database.open(url) as database, database.engine.connect() as connection:
        others = dict(bodies(connection).items() - BODIES.items())
        assert others == SUPABASE_BODIES, f"SUPABASE_BODIES in storage/rights.py should be {others}"


def test_who_signed_in_sees_what_is_theirs_and_nothing_else(url: str) -> None:
    ids = {"ada": UUID(int=1), "bob": UUID(int=2)}
    with Database.open(url) as database:
        for account in ids.values():
            owner = resolve(database, Identity.of(user=str(account))).owner
            with database.begin(owner) as stores:
                stores.items.set("prefs", "account", str(account))
        with database.engine.connect() as connection:
            everything = "SELECT value FROM usermemory.items"
            assert connection.exec_driver_sql(everything).all() == []
            connection.exec_driver_sql(f"SET request.jwt.claim.sub = '{ids['bob']}'")
            assert connection.exec_driver_sql(everything).all() == [(f'"{ids["bob"]}"',)]
            connection.exec_driver_sql("RESET request.jwt.claim.sub")


@pytest.mark.parametrize(
    "change",
    [
        "CREATE OR REPLACE FUNCTION usermemory.signed_in_owner() RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER"
        " SET search_path = pg_catalog, pg_temp AS 'SELECT id FROM usermemory.owners LIMIT 1'",
        "ALTER FUNCTION usermemory.signed_in_owners() OWNER TO postgres",
        "GRANT EXECUTE ON FUNCTION usermemory.signed_in_owner() TO PUBLIC",
    ],
)
def test_its_mutants_are_found(administrators: str, url: str, change: str) -> None:
    engine = sa.create_engine(administrators.replace("postgresql:", "postgresql+psycopg:"))
    with changed(engine, change) as connection:
        assert [found for found in findings(connection) if "signed_in_owner" in found]
    engine.dispose()


def test_it_goes_down_and_up_again(administrators: str, url: str) -> None:
    migrate(administrators, to="0001")
    with Database.open(migrate(administrators)) as database, database.engine.connect() as connection:
        assert findings(connection) == ()
