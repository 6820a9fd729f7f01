"""Runs what the ledger does in one database transaction, and runs it again when the database asks for that.

Databases end transactions that did nothing wrong: two that wait for each other, a server that restarts, a node that is
lost. Nothing of such a transaction is kept, so all of it is run again, from the first read on. Only a connection that
is lost while the commit is on its way leaves unknown whether it was kept: what may be done twice is run again, of
anything else the caller hears that nobody knows.
"""

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar, cast

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from host_tools.ledger.errors import LedgerError, LedgerUnavailable, OutcomeUnknown

# Why a database gave up, and how often the same is tried.
CONFLICT = "conflict"  # another transaction was in the way, and has gone on by now
BUSY = "busy"  # a lock or an answer was waited for as long as `engines` allows; each try takes that long again
LOST = "lost"  # the server or the connection to it has gone; a restart or an election takes seconds
MAX_TRIES = {CONFLICT: 10, BUSY: 5, LOST: 12}

# Five tries wait for a lock for longer than `ob_trx_timeout` lets a transaction live whose client has gone.
# Before the next try: doubled each time, and spread so that two which met do not meet again. Twelve tries wait for 13
# to 26 s in all, longer than a database's recovery or a cluster's election of the nodes that are left.
FIRST_PAUSE_S = {CONFLICT: 0.05, BUSY: 1.0, LOST: 0.05}
LONGEST_PAUSE_S = 5.0

# By SQLSTATE, or by its class: https://www.postgresql.org/docs/current/errcodes-appendix.html
POSTGRESQL = {
    "08": LOST,  # connection exceptions
    "23505": CONFLICT,  # unique_violation: another has written the same meanwhile, and the next try finds it
    "25006": LOST,  # read_only_sql_transaction: this node follows another by now
    "25P03": LOST,  # idle_in_transaction_session_timeout
    "40001": CONFLICT,  # serialization_failure
    "40P01": CONFLICT,  # deadlock_detected
    "53300": LOST,  # too_many_connections
    "55P03": BUSY,  # lock_not_available
    "57014": BUSY,  # query_canceled, by statement_timeout
    "57P01": LOST,  # admin_shutdown
    "57P02": LOST,  # crash_shutdown
    "57P03": LOST,  # cannot_connect_now: it starts up or recovers
}

# By number: https://mariadb.com/kb/en/mariadb-error-code-reference/, and from 4000 on OceanBase's own
MYSQL = {
    0: LOST,  # PyMySQL: the connection is closed already
    1020: CONFLICT,  # ER_CHECKREAD: the row has changed since it was read
    1040: LOST,  # ER_CON_COUNT_ERROR
    1047: LOST,  # ER_UNKNOWN_COM_ERROR: this Galera node is not (or no longer) one of the primary component
    1053: LOST,  # ER_SERVER_SHUTDOWN
    1062: CONFLICT,  # ER_DUP_ENTRY, as 23505 above
    1180: LOST,  # ER_ERROR_DURING_COMMIT: a Galera node left its cluster just then
    1205: BUSY,  # ER_LOCK_WAIT_TIMEOUT; OceanBase says so of a deadlock too
    1213: CONFLICT,  # ER_LOCK_DEADLOCK; Galera's word for having lost to another node
    1290: LOST,  # ER_OPTION_PREVENTS_STATEMENT: this node only reads by now
    1836: LOST,  # ER_READ_ONLY_MODE, the same
    1927: LOST,  # ER_CONNECTION_KILLED
    2002: LOST,  # CR_CONNECTION_ERROR
    2003: LOST,  # CR_CONN_HOST_ERROR
    2006: LOST,  # CR_SERVER_GONE_ERROR
    2013: LOST,  # CR_SERVER_LOST
    2014: LOST,  # CR_COMMANDS_OUT_OF_SYNC: an answer was cut off
    2055: LOST,  # CR_SERVER_LOST_EXTENDED
    3024: BUSY,  # ER_QUERY_TIMEOUT
    4012: BUSY,  # OB_TIMEOUT
    4038: LOST,  # OB_NOT_MASTER
    6002: CONFLICT,  # OB_TRANS_ROLLBACKED and its kin: killed, context lost, needs rollback
    6005: CONFLICT,  # OB_TRY_LOCK_ROW_CONFLICT
    6210: BUSY,  # OB_TRANS_TIMEOUT
    6225: LOST,  # OB_TRANS_UNKNOWN
    6235: CONFLICT,  # OB_TRANS_CANNOT_SERIALIZE
}

# By primary result code: https://www.sqlite.org/rescode.html
SQLITE = {
    5: BUSY,  # SQLITE_BUSY, after the engine's own waiting
    6: BUSY,  # SQLITE_LOCKED
}

_T = TypeVar("_T")


def kind_of(error: DBAPIError, dialect: str) -> str | None:
    """CONFLICT, BUSY or LOST; None for what would fail again. `dialect` is SQLAlchemy's name."""
    if error.connection_invalidated:
        return LOST
    cause: Any = error.orig
    if dialect == "sqlite":
        return SQLITE.get(getattr(cause, "sqlite_errorcode", 0) & 0xFF)
    if dialect == "postgresql":
        state = getattr(cause, "sqlstate", None)
        if state is None:  # no word from the server: it was not reached
            return LOST if isinstance(error, OperationalError) else None
        return POSTGRESQL.get(state) or POSTGRESQL.get(state[:2])
    return MYSQL.get(next(iter(cause.args), -1)) if cause is not None else None


def transact(engine: Engine, work: Callable[[Connection], _T], if_unknown: str | None) -> _T:
    """Run `work` in one transaction and commit it. What raises leaves no trace, and of a try that failed nothing stays.

    `if_unknown` None says that the same done twice is done once; else it is what a person does to find out whether it
    was done. Raises `LedgerUnavailable` once MAX_TRIES are used up, `OutcomeUnknown` if the work may have been kept.
    """
    tries = dict.fromkeys(MAX_TRIES, 0)
    unknown = False
    while True:
        committing = False
        try:
            with engine.connect() as connection, connection.begin() as transaction:
                done = work(connection)
                committing = True
                transaction.commit()
                return done
        except (DBAPIError, engine.dialect.loaded_dbapi.Error) as raised:
            error = _wrapped(raised, engine)
            kind = kind_of(error, engine.dialect.name)
            # A commit that lost to another is undone for sure, and SQLite's has no connection that could be lost
            if committing and kind != CONFLICT and engine.dialect.name != "sqlite":
                unknown, kind = True, kind or LOST
            if unknown and if_unknown is not None:
                raise OutcomeUnknown(_LOST_COMMIT, if_unknown) from error
            if kind is None and not isinstance(error, OperationalError):
                raise error from raised
            if kind is not None:
                tries[kind] += 1
            if kind is None or tries[kind] >= MAX_TRIES[kind]:
                raise _given_up(unknown) from error
        except NoConnectionFree as error:
            raise _given_up(unknown) from error
        _pause(kind, tries[kind])


def _wrapped(raised: Exception, engine: Engine) -> DBAPIError:
    """As SQLAlchemy's: what goes to the driver past it (COPY) comes back past it too."""
    if isinstance(raised, DBAPIError):
        return raised
    dbapi: Any = engine.dialect.loaded_dbapi
    return cast(DBAPIError, DBAPIError.instance(None, None, raised, dbapi.Error, dialect=engine.dialect))


def _given_up(unknown: bool) -> LedgerError:
    if unknown:
        return OutcomeUnknown(_LOST_COMMIT, "Run it again: what was done already is not done twice")
    return LedgerUnavailable(
        "The ledger's database did not answer or could not be written", "Close other programs and run it again"
    )


_LOST_COMMIT = "The connection to the ledger's database was lost while it committed"


def _pause(kind: str, tries: int) -> None:
    longest = min(LONGEST_PAUSE_S, FIRST_PAUSE_S[kind] * (1 << (tries - 1)))
    shortest = longest / 2 if kind == LOST else 0  # there is nobody to meet again, and time is what helps
    time.sleep(random.uniform(shortest, longest))
