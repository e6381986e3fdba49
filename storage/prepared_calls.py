"""Prepared calls: functions of PostgreSQL called through psycopg's own libpq wrapper, in half the time of a cursor.

A cursor finds out the type of every parameter and of every column, each time. Here all of them are known: parameters go
as text, whose types the function's signature gives, and columns come back as text.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

Parameter = str | int | bool | UUID | datetime | None

Row = list[str | None]

TUPLES_OK = 2
"""libpq's PGRES_TUPLES_OK: the statement ran and gave rows."""

SQLSTATE, UNKNOWN_STATEMENT = ord("C"), b"26000"

IDLE = 0
"""libpq's PQTRANS_IDLE: no transaction is open."""

COMMAND_OK = 1
"""libpq's PGRES_COMMAND_OK: the statement was prepared."""


class PreparedCalls:
    """The calls on one connection of psycopg, each prepared when it comes first, in whatever transaction is open."""

    def __init__(self, connection: Any) -> None:
        self._pgconn = connection.pgconn
        self._prepared: dict[str, bytes] = {}

    def call(self, statement: str, *parameters: Parameter) -> list[Row]:
        """Run `statement`, whose parameters are `$1`, `$2`...; raises psycopg's error for the SQLSTATE."""
        encoded = [_encoded(each) for each in parameters]
        name = self._prepared.get(statement) or self._prepare(statement)
        result = self._pgconn.exec_prepared(name, encoded)
        if result.status != TUPLES_OK and result.error_field(SQLSTATE) == UNKNOWN_STATEMENT:
            self._prepared.clear()  # somebody deallocated all: a pooler between us, or psycopg after a rollback
            if self._pgconn.transaction_status == IDLE:
                result = self._pgconn.exec_prepared(self._prepare(statement), encoded)
        self._require(TUPLES_OK, result)
        columns = range(result.nfields)
        return [[_decoded(result.get_value(row, column)) for column in columns] for row in range(result.ntuples)]

    def _prepare(self, statement: str) -> bytes:
        name = f"usermemory_{len(self._prepared)}".encode()
        self._require(COMMAND_OK, self._pgconn.prepare(name, statement.encode()))
        self._prepared[statement] = name
        return name

    def _require(self, status: int, result: Any) -> Any:
        if result.status != status:
            from psycopg.errors import error_from_result  # noqa: PLC0415 - SQLite goes without psycopg

            raise error_from_result(result)
        return result


def _encoded(parameter: Parameter) -> bytes | None:
    if parameter is None:
        return None
    if type(parameter) is str:
        return parameter.encode()
    if isinstance(parameter, datetime):
        return parameter.isoformat().encode()
    return str(parameter).encode()


def _decoded(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
