"""What Alembic runs: the connection and the role prefix come from `storage/migrate.py`, nothing from a file."""

from alembic import context

config = context.config
connection = config.attributes["connection"]
on_postgresql = connection.dialect.name == "postgresql"

context.configure(
    connection=connection,
    version_table="migrations",
    version_table_schema="usermemory" if on_postgresql else None,
    transactional_ddl=False,  # the caller's transaction holds all of it, on both databases
)
context.run_migrations()
