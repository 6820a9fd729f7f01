"""Puts source text in MicroPython's viper together: templates with numbers and with blocks of generated lines.

Owns how a template is written; knows nothing of what is in it.
"""

from collections.abc import Mapping, Sequence


def fill(template: str, numbers: Mapping[str, object], blocks: Mapping[str, Sequence[str]] | None = None) -> list[str]:
    """The lines of `template`. `{name}` is one of `numbers`; a line `<name>` is a block, indented as the line is.

    Raises KeyError for a name that is not given.
    """
    lines = []
    for line in template.format_map(numbers).splitlines():
        bare = line.strip()
        if bare.startswith("<") and blocks is not None:
            indentation = line[: -len(bare)]
            lines += [indentation + inner for inner in blocks[bare[1:-1]]]
        else:
            lines.append(line)
    return lines
