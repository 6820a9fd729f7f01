"""The service as a ledger: what a carrier needs of `Ledger`, over HTTP.

Where `Ledger` takes a key, this takes None: the service has the operators' keys. A sync needs no secret at all; the
rest needs a token. Times are the service's own, so that `now` is not sent.

What fails on the way is repeated: every call here may be, without anything counting twice. Raises `LedgerError`s, those
of the service's ledger among them, and `RefusedByService` for what the service itself refuses.
"""

import random
import ssl
import time
from collections.abc import Callable
from ipaddress import ip_address
from typing import Any, NoReturn
from urllib.parse import urlsplit

import httpx

from host_tools.ledger.answer import Settlement
from host_tools.ledger.errors import LedgerError, LedgerUnavailable, NotRedeemable, OutcomeUnknown, UnknownAccount
from host_tools.ledger.reports.span import Span
from host_tools.server import framing
from host_tools.server.errors import OF_LEDGER, WrongOffset
from host_tools.server.orders import WORDS
from protocol.errors import DecodeError
from protocol.objects import (
    Acknowledgement,
    Certificate,
    Load,
    OperatorCertificate,
    Order,
    Request,
    Transfer,
)

SCHEMES = ("https://", "http://")

TRIES = 8  # in a row that bring nothing: about half a minute
FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 10.0
PIECE_BYTES = 1 << 20  # of an upload, in one request: what a break loses at the most
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_AGAIN = (408, 429, 502, 503, 504)
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_BY_WORD = {said.word: kind for kind, said in OF_LEDGER.items()}


class RefusedByService(LedgerError):
    """The service did not pass this on to its ledger; `word` is what it says to programs."""

    def __init__(self, what: str, advice: str, word: str):
        super().__init__(what, advice)
        self.word = word


def check_url(url: str) -> None:
    """Raises ValueError, with a sentence for people, for a URL that no service has or that is not encrypted."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if not host or port == 0 or parts.query or parts.fragment or parts.username or parts.password:
        raise ValueError(f"{url} is no service's address. Type one like https://ledger.example")
    if parts.scheme == "http" and not _is_loopback(host):
        raise ValueError(f"{url} is not encrypted. Use https://; http:// is for this computer only")


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


class RemoteLedger:
    """A ledger behind a service. `wait` is what pauses between two tries."""

    def __init__(self, url: str, token: str = "", wait: Callable[[float], None] = time.sleep):
        """Raises ValueError (`check_url`); nothing is sent yet."""
        check_url(url)
        self._url = url
        self._wait = wait
        self.standing: dict[str, Any] | None = None  # of the device settled last; None with its new Certificate
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # A proxy that the environment names is for what lies outside this computer
        trust = not _is_loopback(urlsplit(url).hostname or "")
        secured = httpx.create_ssl_context()  # public authorities, or those that SSL_CERT_FILE names
        self._http = httpx.Client(base_url=url, headers=headers, timeout=_TIMEOUT, trust_env=trust, verify=secured)

    def close(self) -> None:
        self._http.close()

    # A sync

    def begin_sync(self, device: bytes, now: int) -> tuple[bytes, int]:
        begun = self._ask("POST", f"{_of(device)}/syncs")
        return _bytes(begun, "nonce"), begun["first_seq"]

    def operator_certificate(self, operator: int) -> OperatorCertificate:
        return self._object(OperatorCertificate, self._ask("GET", f"/v1/operators/{operator}"), "certificate")

    def settle(self, signer: None, statement: bytes, records: list[bytes], now: int) -> Settlement:
        """Go on with the upload wherever the service has it, until it is settled."""
        upload = framing.join(statement, records)
        path = f"/v1/settlements/{framing.name_of(statement).hex()}"
        tries, offset = _Tries(self._url, self._wait), 0
        while True:
            piece = upload[offset : offset + PIECE_BYTES]
            length = {"offset": offset, "length": len(upload)}
            media = {"Content-Type": framing.MEDIA}
            try:
                response = self._http.post(path, params=length, content=piece, headers=media)
            except httpx.TransportError as error:
                tries.failed(error)
                offset = self._arrived(path)
                continue
            if response.status_code in _AGAIN:
                tries.put_off(response)
            elif response.status_code == 409 and _facts(response).get("error") == WrongOffset.said.word:
                offset = _offset(response)
                tries.put_off(response)
            elif response.status_code == 202:
                offset = _offset(response)
                tries.went_on()
            else:
                facts = self._checked(response)
                self.standing = facts.get("standing")
                return _settlement(facts)

    def _arrived(self, path: str) -> int:
        """How much the service has; if it has settled the upload, 0: whoever begins it again gets its answer."""
        return _offset(self._try("HEAD", path))

    # With a token

    def root_key(self) -> bytes:
        return _bytes(self._ask("GET", "/v1/root"), "key")

    def register_device(
        self, signer: None, operator: int, public_key: bytes, kind: int, mcc: int, account: int, name: str, now: int
    ) -> tuple[Certificate, Acknowledgement]:
        body = {"key": public_key.hex(), "kind": kind, "mcc": mcc, "account": account, "name": name}
        made = self._ask("POST", "/v1/devices", body)
        return self._object(Certificate, made, "certificate"), self._object(Acknowledgement, made, "acknowledgement")

    def order(self, signer: None, device: bytes, what: int, argument: int, now: int) -> Order:
        made = self._ask("POST", f"{_of(device)}/orders", {"order": WORDS[what, argument]})
        return self._object(Order, made, "order")

    def device(self, device: bytes, now: int = 0) -> dict:
        return self._ask("GET", _of(device))

    def loads(self, device: bytes) -> list[dict]:
        return self._ask("GET", f"{_of(device)}/loads")["loads"]

    def order_load(self, signer: None, device: bytes, amount: int, now: int) -> Load:
        """Numbered before it is ordered, so that trying again orders nothing twice."""
        number = max((load["number"] for load in self.loads(device)), default=0) + 1
        made = self._ask("PUT", f"{_of(device)}/loads/{number}", {"amount": amount})
        return self._object(Load, made, "load")

    def open_redemption(
        self, signer: None, payee_signer: None, device: bytes, amount: int, now: int
    ) -> tuple[Certificate, Request]:
        made = self._ask("POST", f"{_of(device)}/requests", {"amount": amount})
        return self._object(Certificate, made, "certificate"), self._object(Request, made, "request")

    def take_redemption(self, payee_signer: None, transfer: bytes, now: int) -> bytes:
        payer = Transfer.decode(transfer).payer
        return _bytes(self._ask("POST", f"{_of(payer)}/redemptions", {"transfer": transfer.hex()}), "evidence")

    def account_called(self, name: str) -> dict:
        """Raises `UnknownAccount`."""
        found = self._ask("GET", "/v1/accounts", params={"name": name})["accounts"]
        if not found:
            raise UnknownAccount(f"There is no account {name!r}", "Open it first")
        return found[0]

    def balance(self, account: int) -> int:
        return self._ask("GET", f"/v1/accounts/{account}")["balance"]

    # Reports: of the token's operator, whichever is named

    def by_operator(self, span: Span, operator: int | None = None) -> list[dict]:
        return [self._ask("GET", "/v1/reports/operator", params=_days(span))]

    def by_day(self, span: Span, operator: int | None = None, device: bytes | None = None) -> list[dict]:
        path = "/v1/reports/days" if device is None else f"/v1/reports/devices/{device.hex()}/days"
        lines: list[dict] = []
        after, more = {}, True
        while more:
            page = self._ask("GET", path, params=_days(span) | after)
            lines += page["lines"]
            more, after = page["more"], {"after": lines[-1]["day"] if lines else span.last}
        return lines

    def by_device(self, span: Span, operator: int | None = None, after: bytes = b"") -> list[dict]:
        """A page."""
        above = {"after": after.hex()} if after else {}
        return self._ask("GET", "/v1/reports/devices", params=_days(span) | above)["lines"]

    def positions(self, span: Span, operator: int | None = None) -> dict:
        pairs: list[dict] = []
        after, more, net = 0, True, 0
        while more:
            page = self._ask("GET", "/v1/reports/positions", params=_days(span) | {"after": after})
            pairs += page["pairs"]
            more, net, after = page["more"], page["net"], pairs[-1]["other"] if pairs else 0
        return {"pairs": pairs, "net": [{"operator": pairs[0]["operator"], "net": net}] if pairs else []}

    # One request and its answer

    def _ask(self, method: str, path: str, body: dict | None = None, params: dict | None = None) -> dict[str, Any]:
        return self._checked(self._try(method, path, body, params))

    def _try(self, method: str, path: str, body: dict | None = None, params: dict | None = None) -> httpx.Response:
        """The first answer that is not about trying again."""
        tries = _Tries(self._url, self._wait)
        while True:
            try:
                response = self._http.request(method, path, json=body, params=params)
            except httpx.TransportError as error:
                tries.failed(error)
                continue
            if response.status_code not in _AGAIN:
                return response
            tries.put_off(response)

    def _checked(self, response: httpx.Response) -> dict[str, Any]:
        """The facts of an answer. Raises the exception that an error stands for."""
        facts = _facts(response)
        if response.status_code == 200 and facts:
            return facts
        _refuse(facts, response, self._url)

    def _object(self, kind: Any, facts: dict[str, Any], name: str) -> Any:
        try:
            return kind.decode(_bytes(facts, name))
        except DecodeError as error:
            raise LedgerUnavailable(
                f"What {self._url} sent as {name} cannot be read ({error})", "Use the same version on both sides"
            ) from error


class _Tries:
    """How often in a row nothing came of it, and what is to be said in the end."""

    def __init__(self, url: str, wait: Callable[[float], None]):
        self._url, self._wait = url, wait
        self._failed = 0
        self._maybe_done = False

    def went_on(self) -> None:
        self._failed = 0

    def failed(self, error: httpx.TransportError) -> None:
        """Pause, or raise `LedgerUnavailable`, or `OutcomeUnknown` if a request may have arrived."""
        if _distrusted(error):
            raise LedgerUnavailable(
                f"The certificate of {self._url} is not one to trust",
                "Check --ledger; if its authority is your own, name its file in SSL_CERT_FILE",
            ) from error
        self._maybe_done |= not isinstance(error, _NOT_SENT)
        self._again(0.0, error)

    def put_off(self, response: httpx.Response) -> None:
        """The service asks for patience, or for another offset."""
        said = response.headers.get("Retry-After", "")
        self._maybe_done |= response.status_code in (502, 504) or _facts(response).get("error") == "outcome_unknown"
        self._again(float(said) if said.isascii() and said.isdigit() else 0.0, None, _facts(response))

    def _again(self, at_least: float, error: Exception | None, facts: dict[str, Any] | None = None) -> None:
        self._failed += 1
        if self._failed < TRIES:
            pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**self._failed) * (0.5 + random.random() / 2)
            self._wait(min(LONGEST_PAUSE_S, max(pause, at_least)))
            return
        if self._maybe_done:
            raise OutcomeUnknown(
                f"The connection to {self._url} broke", "Run it again: what was done already is not done twice"
            ) from error
        if facts and "what" in facts:
            raise LedgerUnavailable(f"{self._url} says: {facts['what']}", str(facts.get("advice"))) from error
        raise LedgerUnavailable(
            f"The service at {self._url} does not answer", "Check --ledger and the network, then run it again"
        ) from error


def _distrusted(error: BaseException | None) -> bool:
    """Whether it was the other side's certificate that a connection failed for: trying again is of no use."""
    while error is not None and not isinstance(error, ssl.SSLCertVerificationError):
        error = error.__cause__ or error.__context__
    return error is not None


def _facts(response: httpx.Response) -> dict[str, Any]:
    """The JSON object of an answer; empty for anything else, like a proxy's page."""
    try:
        facts = response.json()
    except ValueError:
        return {}
    return facts if isinstance(facts, dict) else {}


def _refuse(facts: dict[str, Any], response: httpx.Response, url: str) -> NoReturn:
    word, what, advice = (facts.get(name) for name in ("error", "what", "advice"))
    if not (isinstance(word, str) and isinstance(what, str) and isinstance(advice, str)):
        raise LedgerUnavailable(
            f"What answers at {url} is no jiaozi service (status {response.status_code})", "Check --ledger"
        )
    kind = _BY_WORD.get(word)
    if kind is None:
        raise RefusedByService(what, advice, word)
    if issubclass(kind, NotRedeemable):
        raise kind(what, advice, int(facts.get("free", 0)))
    raise kind(what, advice)


def _settlement(facts: dict[str, Any]) -> Settlement:
    return Settlement(
        objects=tuple(bytes.fromhex(data) for data in facts["objects"]),
        certified=facts["certified"],
        accepted=facts["accepted"],
        dead_letters=tuple(facts["dead_letters"]),
        note=facts["note"],
    )


def _offset(response: httpx.Response) -> int:
    said = response.headers.get(framing.OFFSET, "")
    return int(said) if said.isascii() and said.isdigit() else 0


def _days(span: Span) -> dict[str, Any]:
    return {"day": span.first, "days": span.last - span.first + 1}


def _of(device: bytes) -> str:
    return f"/v1/devices/{device.hex()}"


def _bytes(facts: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(facts[name])
