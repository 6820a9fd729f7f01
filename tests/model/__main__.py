"""`python -m tests.model`: check every size of the model, print one JSON line, exit 1 with the trail on a violation."""

import json
import sys

from tests.model.checking import SIZES, check, missing_tools


def main() -> int:
    if missing := missing_tools():
        print(
            f"Not checked: {' and '.join(missing)} missing. On Debian: apt install spin gcc libc6-dev", file=sys.stderr
        )
        return 2
    states = errors = 0
    for size in SIZES:
        result = check(size, sys.argv[1:])  # names of rules to take out, to see the model find something
        states += result.states
        errors += result.errors
        if result.errors:
            print(f"{size}: {result.violation}", *result.trail, sep="\n", file=sys.stderr)
            break
    print(json.dumps({"model_states": states, "errors": errors, "sizes": len(SIZES)}))
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
