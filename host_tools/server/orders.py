"""What an operator can order a device, in the service's words: each is what and argument of an `Order`."""

from protocol.objects import CLOSE_PROMPT, RETIRE, TAKE_PIN_AWAY, UNBLOCK_PIN

ORDERS = {
    "unblock_pin": (UNBLOCK_PIN, 0),
    "take_pin_away": (UNBLOCK_PIN, TAKE_PIN_AWAY),
    "retire": (RETIRE, 0),
    "close_prompt": (CLOSE_PROMPT, 0),
}
WORDS = {order: word for word, order in ORDERS.items()}
