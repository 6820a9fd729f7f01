"""What `doctor` says: one record for everything it finds, whether it is well or not."""

from dataclasses import dataclass

OK = "ok"
NOTE = "note"  # well, but there is something to know or to do
TROUBLE = "trouble"


@dataclass(frozen=True)
class Finding:
    """`code` names the kind of finding for programs and in docs/troubleshooting.md. `commands` are to be typed as they
    stand; `fix` is the sentence before them. `usable`: a device or reader that the other commands can work with.
    """

    where: str
    severity: str
    code: str
    found: str
    cause: str = ""
    fix: str = ""
    commands: tuple[str, ...] = ()
    usable: bool = False


def group_trouble(where: str, what: str, user: str, group: str, knows: bool) -> Finding:
    """No permission, and group `group` has it. `knows`: the user is in the group, but this session began before."""
    if knows:
        return Finding(
            where,
            TROUBLE,
            "session-older-than-group",
            f"No permission to use {what}, though {user} is in its group {group}.",
            "This session began before that: groups are given out at log-in.",
            "Log out and in again, or restart the computer. For this one terminal:",
            (f"newgrp {group}",),
        )
    return Finding(
        where,
        TROUBLE,
        "no-permission",
        f"No permission to use {what}.",
        f"It belongs to the group {group}, and {user} is not in it.",
        "Join the group, then log out and in again:",
        (f"sudo usermod -aG {group} {user}",),
    )
