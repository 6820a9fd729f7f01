"""`jiaozi token`: who may use the operator endpoints of `jiaozi serve`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from host_tools.cli import home as homes
from host_tools.cli import options, output
from host_tools.cli.exits import BadInput
from host_tools.cli.home import Home
from host_tools.ledger.errors import WrongSigner
from host_tools.ledger.opening import open_existing
from host_tools.server import tokens
from host_tools.server.store import Store
from host_tools.server.tokens import OPERATOR_SCOPES, ROOT_SCOPES, Token
from protocol.objects import DAY_S

app = typer.Typer(no_args_is_help=True, help="Bearer tokens for the operator endpoints of jiaozi serve.")

_DAYS = 90
_SCOPES = f"One of {', '.join(OPERATOR_SCOPES)}; of the central bank: {', '.join(ROOT_SCOPES)}. Several times for more."


@app.command()
def create(
    scopes: Annotated[list[str], typer.Option("--scope", metavar="SCOPE", help=_SCOPES)],
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="Who or what will use it; shown by list.")],
    days: Annotated[int, typer.Option("--days", metavar="N", help="How long it is good.")] = _DAYS,
    operator: options.Operator = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    as_json: options.Json = False,
) -> None:
    """Make a token and print it, once: the ledger keeps only its SHA-256. Needs the key of whom it speaks for."""
    homes.checked_name(name, "a token")
    if not 1 <= days <= tokens.DAYS_MAX:
        raise BadInput(f"A token is good for 1 to {tokens.DAYS_MAX} days, not {days}.")
    wanted = frozenset(scopes)
    of_root = _of_root(wanted)
    here = Home(home, ledger)
    number = None if of_root else here.operator_number(operator)
    with here.ledger() as books:
        if number is None:
            signer, known = here.root_signer(passphrase_file), books.root_key()
        else:
            signer, known = here.operator_signer(number, passphrase_file), books.operator_certificate(number).key
        if signer.public != known:
            raise WrongSigner("The key is not the one that this ledger knows", "Use the home of this ledger's keys")
    now = homes.now()
    with _store(here) as store:
        text, token = store.create_token(number, wanted, name, now + days * DAY_S, now)
    facts = _facts(token, now) | {"token": text}
    output.tell(
        as_json,
        facts,
        output.done(f"Token {token.id} made for {name}, good for {days} days."),
        output.fields({"token": text, "may": ", ".join(sorted(wanted))}),
        "It is shown this once. Keep it in a file that only its user can read (chmod 600), or in JIAOZI_TOKEN.",
    )


def _of_root(scopes: frozenset[str]) -> bool:
    """Whether they are the central bank's. Raises `BadInput`."""
    unknown = scopes - OPERATOR_SCOPES.keys() - ROOT_SCOPES.keys()
    if unknown:
        known = ", ".join([*OPERATOR_SCOPES, *ROOT_SCOPES])
        raise BadInput(f"There is no scope {', '.join(sorted(unknown))}. There are: {known}.")
    of_root = scopes & ROOT_SCOPES.keys()
    if of_root and of_root != scopes:
        raise BadInput(f"{', '.join(sorted(of_root))} is the central bank's. Make two tokens.")
    return bool(of_root)


@app.command("list")
def list_(
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """List tokens: whose they are and what they may do. What they are is known to their holders only."""
    with _store(Home(home, ledger)) as store:
        rows = [_facts(token, homes.now()) for token in store.tokens()]
    columns = ("token", "operator", "name", "may", "good until", "state")
    shown = [
        (
            row["id"],
            str(row["operator"] or "central bank"),
            row["name"],
            ", ".join(row["scopes"]),
            output.day_text(row["expires_at"] // DAY_S),
            row["state"],
        )
        for row in rows
    ]
    output.tell(as_json, {"tokens": rows}, output.listing(columns, shown) if rows else "There are no tokens.")


@app.command()
def revoke(
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id, as jiaozi token list shows it.")],
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    as_json: options.Json = False,
) -> None:
    """Revoke a token: the next request with it is refused."""
    with _store(Home(home, ledger)) as store:
        if not store.revoke_token(token, homes.now()):
            raise BadInput(f"There is no token {token!r}. List them with: jiaozi token list")
    output.tell(as_json, {"id": token, "state": "revoked"}, output.done(f"Token {token} is revoked."))


def _facts(token: Token, now: int) -> dict:
    state = "good" if token.good(now) else "expired" if token.revoked_at is None else "revoked"
    return {
        "id": token.id,
        "operator": token.operator,
        "name": token.name,
        "scopes": sorted(token.scopes),
        "expires_at": token.expires_at,
        "state": state,
    }


@contextmanager
def _store(here: Home) -> Iterator[Store]:
    here.check_url()
    engine = open_existing(here.ledger_url)
    try:
        yield Store(engine)
    finally:
        engine.dispose()
