"""Alembic runs this for every command; the connection comes with the command, so there is no ini file."""

from alembic import context

from host_tools.ledger.schema import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    transactional_ddl=connection.dialect.name
    not in ("mysql", "mariadb"),  # elsewhere a migration is done whole or not at all
    render_as_batch=False,
)
with context.begin_transaction():
    context.run_migrations()
