"""What a stage finds, under a name that plays it again."""

import io
import json

import image
from nor import Broken, Cut


def text_of(error) -> str:
    """The traceback."""
    text = io.StringIO()
    image.print_exception(error, text)
    return text.getvalue()


def found(stage: str, arguments, what: str) -> None:
    """Print a violation."""
    print(json.dumps({"violation": ":".join([stage] + [str(word) for word in arguments]), "what": what}))


def run_named(stage: str, main, *arguments) -> None:
    """`main(*arguments)`, which prints its last line itself unless it raises: that is a violation."""
    try:
        main(*arguments)
    except (Exception, Broken, Cut) as error:  # noqa: BLE001  (every one is a violation)
        found(stage, arguments, text_of(error))
        print(json.dumps({"violations": 1}))
