"""`jiaozi serve`: the ledger as an HTTP service."""

import ipaddress
from pathlib import Path
from typing import Annotated

import typer

from host_tools.cli import home as homes
from host_tools.cli import options, output
from host_tools.cli.exits import BadInput
from host_tools.cli.home import Home


def serve(
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDRESS:PORT", help="Where to listen; port 0 is any free one.")
    ] = "127.0.0.1:8440",
    certificate: Annotated[
        Path | None, typer.Option("--tls-certificate", metavar="FILE", help="PEM file with the certificate chain.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option("--tls-key", metavar="FILE", help="PEM file with the certificate's key.")
    ] = None,
    proxy: Annotated[
        str | None,
        typer.Option(
            "--proxy", metavar="ADDRESS", help="A proxy that does TLS, and says whom it speaks for (X-Forwarded-For)."
        ),
    ] = None,
    operators: Annotated[
        list[int] | None,
        typer.Option("--operator", metavar="NUMBER", help="Whose devices to serve; otherwise of all keys here."),
    ] = None,
    home: options.Home = options.DEFAULT_HOME,
    ledger: options.LedgerUrl = None,
    passphrase_file: options.PassphraseFile = None,
    as_json: options.Json = False,
) -> None:
    """Serve the ledger over HTTP: settle what carriers bring, and do what operators order. docs/service.md says more.

    Opens the operators' keys at the start. Stops at SIGTERM or Ctrl-C, after what is under way. The log goes to stderr.
    """
    from host_tools.server import run  # takes a moment to import, and one command needs it
    from host_tools.server.keyring import Keys

    place = run.Place(*_place(listen, certificate, key, proxy))
    here = Home(home, ledger)
    here.check_url()
    numbers = [homes.checked_operator(number) for number in operators or here.operators()]
    if not numbers:
        raise BadInput(f"There is no operator's key in {here.folder}. Run: jiaozi operator create, or give --home.")
    keys = {number: Keys(*here.operator_signers(number, passphrase_file)) for number in numbers}
    service = run.open_service(here.ledger_url, keys)

    def ready(url: str) -> None:
        facts = {"url": url, "operators": numbers, "ledger": here.shown_url}
        output.tell(as_json, facts, output.done(f"Serving {here.shown_url} at {url}"))

    run.serve(service, place, ready)


def _place(
    listen: str, certificate: Path | None, key: Path | None, proxy: str | None
) -> tuple[str, int, Path | None, Path | None, str | None]:
    """Raises `BadInput`. What others than this computer can reach is encrypted, here or by a proxy."""
    host, colon, digits = listen.rpartition(":")
    host = host.strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    if not colon or address is None or not (digits.isascii() and digits.isdigit() and int(digits) < 1 << 16):
        raise BadInput(f"--listen {listen} is no address with a port. Type one like 127.0.0.1:8440 or [::1]:8440.")
    if (certificate is None) != (key is None):
        raise BadInput("--tls-certificate and --tls-key go together. Give both.")
    if not address.is_loopback and certificate is None and proxy is None:
        raise BadInput(
            f"Tokens would cross the network in the clear on {host}."
            " Give --tls-certificate and --tls-key, or --proxy for one that does TLS, or listen on 127.0.0.1."
        )
    for file in (certificate, key):
        if file is not None and not file.is_file():
            raise BadInput(f"There is no file {file}. Name a PEM file.")
    return host, int(digits), certificate, key, proxy
