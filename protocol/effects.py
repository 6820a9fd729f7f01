"""What a state machine asks its owner to do, in order.

The machines decide; whoever holds the journal and the settings acts.

Order is the safety rule: a `Commit` stands before the `Answer` that reveals it, so whoever performs effects one after
the other and stops at the first failure has committed before it answers.
"""

from protocol.errors import JOURNAL_FULL, Refused


class Reserve:
    """Guarantee journal space for so many more records of so many bytes together, or refuse.

    `promised`: an earlier Reserve has included them.
    """

    def __init__(self, n_records: int, n_bytes: int, promised: bool = False):
        self.n_records = n_records
        self.n_bytes = n_bytes
        self.promised = promised


class Commit:
    """Append this record and return only when it is durable."""

    def __init__(self, record: bytes):
        self.record = record


class Drop:
    """Records below this seq are covered by an installed base and may go."""

    def __init__(self, seq: int):
        self.seq = seq


class Save:
    """Write these settings, values by name, in one atomic step."""

    def __init__(self, values: dict):
        self.values = values


class Then:
    """Call `action()`: a state in memory that may change only when what stands before has been done."""

    def __init__(self, action):
        self.action = action


class Answer:
    """Send these bytes."""

    def __init__(self, data: bytes):
        self.data = data


def perform(effects: list, journal, settings, purse) -> bytes:
    """Do the effects in order and return the bytes of the last `Answer` (b"" if there is none).

    `journal` has `reserve(n_records, n_bytes, promised)`, `append(record)` and `drop_below(seq)`, `settings` has
    `update(values)`; both return only when the work is durable and raise when it failed. Raises `Refused(JOURNAL_FULL)`
    before anything was changed.
    """
    answer = b""
    for effect in effects:
        if isinstance(effect, Commit):
            journal.append(effect.record)
            purse.apply(effect.record)
        elif isinstance(effect, Answer):
            answer = effect.data
        elif isinstance(effect, Reserve):
            if not journal.reserve(effect.n_records, effect.n_bytes, effect.promised):
                raise Refused(JOURNAL_FULL)
        elif isinstance(effect, Then):
            effect.action()
        elif isinstance(effect, Save):
            settings.update(effect.values)
        else:
            journal.drop_below(effect.seq)
    return answer
