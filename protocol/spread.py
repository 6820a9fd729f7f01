"""How revocations spread by taps: the end of a tap, in which reader and card pass on what is newer, sans-IO.

Runs when the payment is decided and shown, and can change nothing of it. What the card gives is checked like what a
host brings. Bounded with whatever card: one issuer's list each way, and `MAX_EXCHANGES`. Driven like a `Tap`; a card
that leaves, or an exception of `response`, ends it.
"""

from protocol import apdu
from protocol.errors import MISMATCH, Refused
from protocol.objects import Certificate, Revocations
from protocol.party import Party
from protocol.revocations import epoch_of
from protocol.trust import ROOT_ISSUER

MAX_EXCHANGES = 32  # a complete list and its delta, both of full length, each way are 26


class Spread:
    """`card` is the card's Certificate, `epoch` and `root_epoch` what it said of its operator's and the root's list.

    `may_evict`: the card has paid us, or we it, so it is one of its operator; that operator's list may take the place
    of another's.
    """

    def __init__(self, party: Party, perform, card: Certificate, epoch: int, root_epoch: int, may_evict: bool = False):
        self._trust = party.trust
        self._may_evict = may_evict
        self._perform = perform
        self.exchanges = 0
        self._talk = self._all(((ROOT_ISSUER, root_epoch), (card.operator, epoch)))
        self._next: bytes | None = b""
        self.response(None)

    def command(self) -> bytes | None:
        """The next command APDU, or None at the end."""
        if self._next is None or self.exchanges == MAX_EXCHANGES:
            return None
        self.exchanges += 1
        return self._next

    def meanwhile(self) -> None:
        """Nothing is left to do while the card works."""

    def response(self, raw: bytes | None) -> None:
        """Take the card's response. Raises `Refused` or `DecodeError`; nothing more is passed on then."""
        try:
            self._next = self._talk.send(raw)
        except StopIteration:
            self._next = None

    def _all(self, heads):
        """Yields commands, is sent their responses."""
        trust = self._trust
        done = []
        for issuer, theirs in heads:
            held = trust.list_of(issuer)
            pulls = theirs > held.epoch
            if pulls in done or theirs == held.epoch or issuer and issuer not in trust.operators:
                continue
            if pulls and not (self._may_evict or trust.has_place(issuer)):
                continue
            done.append(pulls)
            for _ in range(2):
                held = trust.list_of(issuer)
                if theirs > held.epoch:
                    yield from self._pull(issuer, held.epoch)
                elif theirs < held.epoch:
                    newer = held.newer_than(theirs)
                    for command in apdu.chained(apdu.PUT, newer):
                        apdu.parse_response((yield command))
                    theirs = epoch_of(newer)

    def _pull(self, issuer: int, epoch: int):
        """Ask for one object that is newer than this epoch, and install it."""
        raw = yield apdu.command(apdu.REVOCATIONS, issuer.to_bytes(2, "big") + epoch.to_bytes(4, "big"))
        data = apdu.parse_response(raw)
        while raw[-2] == apdu.SW_MORE >> 8 and len(data) <= apdu.MAX_CHAIN_BYTES:
            raw = yield apdu.command(apdu.GET_RESPONSE, cla=apdu.CLA_ISO)
            data += apdu.parse_response(raw)
        revocations = Revocations.decode(data)
        if revocations.issuer != issuer:
            raise Refused(MISMATCH)
        wanted = self._trust.put_revocations(revocations, self._may_evict)
        if not wanted:
            raise Refused(MISMATCH)
        self._perform(wanted)
