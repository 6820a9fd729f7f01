"""A terminal's day: so many payments without sync on one device, by a wallet that syncs often; then its sync.

run_day.py PAYMENTS FLASH_BYTES
"""

import json
import sys

import image
import remember
from bank import TERMINAL, WALLET, Bank, Wrong
from named import run_named
from seat import Board
from table import Table
from wish import Wish

SYNC_EVERY = 150  # the wallet's: it makes two records for each payment and may make 500
AMOUNT = 99


def main(payments: int, flash_bytes: int) -> None:
    watch = image.Stopwatch()
    image.collect_every(1 << 22)  # often: what lives long then stands together
    table = Table(Bank())
    wallet = table.add("wallet", Board("wallet", 256 * 1024, 64 * 1024), WALLET)
    terminal = table.add("terminal", Board("terminal", flash_bytes, 64 * 1024), TERMINAL)
    for seat in (wallet, terminal):
        seat.start()
        table.personalise(seat)
        if seat is wallet:
            table.bank.order_load(seat.id, payments * AMOUNT + 5)
        table.sync(seat)
    for number in range(payments):
        Wish(table, "terminal", "wallet", False, 1, AMOUNT, confirm=True).fulfil()
        table.forget_air()
        if number % SYNC_EVERY == SYNC_EVERY - 1:
            remember.forget()
            table.sync(wallet)
            wallet.books.forget()
    table.check_all()
    if terminal.books.balance != payments * AMOUNT or wallet.books.in_doubt:
        raise Wrong("%d in the terminal" % terminal.books.balance)
    terminal.start()
    opened = terminal.board.flash.read_count
    table.check_all()
    table.sync(terminal)
    journal = image.journal_of(terminal.device)
    kept = journal.head_seq - journal.first_seq + 1
    table.sync(wallet)
    Wish(table, "terminal", "wallet", False, 1, 5, confirm=True).fulfil()
    terminal.start()
    table.check_all()
    result = {"payments": payments, "flash_bytes": flash_bytes, "read_at_start_bytes": opened, "records_kept": kept}
    result["violations"] = 0 if opened <= flash_bytes and kept <= 2 else 1
    result["seconds"] = watch.seconds()
    print(json.dumps(result))


run_named("day", main, int(sys.argv[1]), int(sys.argv[2]))
