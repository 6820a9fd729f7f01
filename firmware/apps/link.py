"""The serial link to a host: frames in, the card's answers out. The same commands as a tap; each is executed once."""

from ports.errors import UartClosed
from protocol.card import Card
from protocol.framing import AnswerOnce, FrameDecoder


class HostLink:
    """Serves the host on one UART. A host that goes away leaves nothing half done; `gone` then says so for good."""

    def __init__(self, uart, device):
        self._uart = uart
        self._card = Card(device)
        self._decoder = FrameDecoder()
        self._answers = AnswerOnce()
        self.gone = False

    def poll(self) -> bool:
        """Answer the frames that have arrived; never waits. True if there were any."""
        if self.gone:
            return False
        try:
            frames = self._decoder.feed(self._uart.read())
            for sequence, command in frames:
                self._uart.write(self._answers.answer(sequence, command, self._process))
                self._card.after()
        except UartClosed:
            self.gone = True
            return False
        return bool(frames)

    def _process(self, command: bytes) -> bytes:
        if not command:
            self._card.reset()  # a new session of the host; what follows answers with a status word, like any card
        return self._card.process(command)
