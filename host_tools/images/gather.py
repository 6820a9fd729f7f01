"""Puts several packages into one, before they are linked: a device then has one table of names for all of them.

`protocol.tap` becomes `jiaozi.protocol_tap`. Only imports change: everything in the sources that names a module.
"""

import ast
from collections.abc import Collection

from host_tools.images.names import Modules, package_of


def gather(modules: Modules, packages: Collection[str], into: str) -> Modules:
    """`modules` with those of `packages` as modules of one package `into`; the given ones are rewritten.

    What marks a package as such (`__init__`) goes: it holds nothing but its description.
    """
    renamed = {name: gathered(name, into) for name in modules if package_of(name, packages)}
    marks = {name for name in renamed if any(other.startswith(name + ".") for other in renamed)}
    for module in modules.values():
        _Rewriter(renamed).visit(module)
    return {renamed.get(name, name): module for name, module in modules.items() if name not in marks}


def gathered(name: str, into: str) -> str:
    """What module `name` is called in package `into`."""
    return f"{into}.{name.replace('.', '_')}"


class _Rewriter(ast.NodeTransformer):
    def __init__(self, renamed: dict[str, str]) -> None:
        self._renamed = renamed

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        source = node.module or ""
        whole = [alias for alias in node.names if f"{source}.{alias.name}" in self._renamed]
        parts: list[ast.stmt] = []
        for alias in whole:
            package, _, name = self._renamed[f"{source}.{alias.name}"].rpartition(".")
            parts.append(ast.ImportFrom(package, [ast.alias(name, alias.asname or alias.name)], 0))
        rest = [alias for alias in node.names if alias not in whole]
        if rest:
            parts.append(ast.ImportFrom(self._renamed.get(source, source), rest, node.level))
        for part in parts:
            ast.copy_location(part, node)
            ast.fix_missing_locations(part)
        return parts  # pyright: ignore[reportReturnType]  (several statements for one, as NodeTransformer allows)
