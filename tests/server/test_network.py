"""TLS, and a proxy in front: what comes in between a client and the service."""

import datetime
import ipaddress
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from host_tools.cli.exits import Exit
from host_tools.ledger.errors import LedgerUnavailable
from host_tools.server.client import RemoteLedger
from tests.host.command import PASSPHRASE, failed, jiaozi
from tests.server.bank import Bank

ELSEWHERE = "203.0.113.7"  # RFC 5737: documentation


def certificate(folder: Path) -> tuple[Path, Path]:
    """PEM files of a certificate for 127.0.0.1, signed by itself, and of its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "jiaozi test")])
    today = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(issuer_name=name, subject_name=name, public_key=key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - datetime.timedelta(days=1))
        .not_valid_after(today + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "chain.pem", folder / "key.pem"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    secret.write_bytes(key.private_bytes(*form))
    return chain, secret


@pytest.fixture
def new_bank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("JIAOZI_PASSPHRASE", PASSPHRASE)
    with Bank(tmp_path) as bank:
        yield bank


def test_a_sync_over_tls_trusts_whom_it_is_told_to(new_bank: Bank, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    chain, secret = certificate(tmp_path)
    url = new_bank.start("--tls-certificate", chain, "--tls-key", secret)
    assert url.startswith("https://127.0.0.1:")
    wallet = new_bank.device("Ana")
    waits: list[float] = []
    with pytest.raises(LedgerUnavailable, match="SSL_CERT_FILE"):
        RemoteLedger(url, wait=waits.append).begin_sync(wallet.id, 0)
    monkeypatch.setenv("SSL_CERT_FILE", str(chain))
    nonce, first = RemoteLedger(url, wait=waits.append).begin_sync(wallet.id, 0)
    assert (len(nonce), first) == (16, new_bank.ledger.device(wallet.id)["head_seq"] + 1)
    assert waits == [], "a certificate that is not trusted now is not trusted in a second"


@pytest.mark.parametrize(("options", "address"), [((), "127.0.0.1"), (("--proxy", "127.0.0.1"), ELSEWHERE)])
def test_only_a_proxy_that_was_named_says_who_a_client_is(new_bank: Bank, options: tuple[str, ...], address: str):
    url = new_bank.start(*options)
    response = httpx.get(f"{url}/health", headers={"X-Forwarded-For": ELSEWHERE}).raise_for_status()
    assert new_bank.line_of(response.headers["X-Request-Id"])["client"] == address


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--listen", "0.0.0.0:0"), "in the clear"),
        (("--listen", "ledger:80"), "no address"),
        (("--listen", "127.0.0.1"), "no address"),
        (("--listen", "127.0.0.1:70000"), "no address"),
        (("--tls-key", "/nowhere"), "go together"),
        (("--tls-key", "/nowhere", "--tls-certificate", "/nowhere"), "no file"),
        (("--operator", 0), "numbered"),
        (("--ledger", "https://x"), "names a service"),
    ],
)
def test_a_service_that_cannot_be_is_refused_before_a_passphrase_is_asked_for(
    tmp_path: Path, options: tuple[object, ...], words: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("JIAOZI_PASSPHRASE", raising=False)
    failed(jiaozi("serve", "--home", tmp_path, *options), Exit.USAGE, words)


def test_keys_that_are_not_the_ledgers_serve_nothing(new_bank: Bank, tmp_path: Path):
    folder = tmp_path / "other"
    folder.mkdir()
    with Bank(folder) as other:
        path = new_bank.home / "operator-1.key"
        path.unlink()
        (other.home / "operator-2.key").rename(path)
    refused = jiaozi("serve", "--home", new_bank.home, "--operator", 1, "--listen", "127.0.0.1:0")
    failed(refused, Exit.LEDGER_REFUSED, "not operator 1's")
