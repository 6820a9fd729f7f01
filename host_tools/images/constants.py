"""Puts the values of named constants in the place of their names before a module is compiled for a device.

`protocol/` names every number, and so it should; but MicroPython keeps each name once per module that imports it, and a board has few
bytes. What counts as a constant: a name in capitals, bound once, at the top level of a module, to an integer or a short text that can
be worked out from literals and other constants. Its uses in all modules become literals, its imports and its definition go away.

The compiler has checked the original source before: line numbers are not kept here.
"""

import ast
import operator
from collections.abc import Iterable

MAX_TEXT = 16  # a longer text repeated would cost more than its name

Constant = int | str
Modules = dict[str, ast.Module]  # by dotted name

_OPERATIONS: dict[type[ast.operator], object] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
}


def inline_constants(modules: Modules, packages: tuple[str, ...]) -> None:
    """Rewrite `modules` in place. Definitions go away in `packages` only: nothing reaches into those by a computed name."""
    constants = _find_constants(modules)
    for name, module in modules.items():
        _Inliner(name, constants, modules, name.split(".")[0] in packages).visit(module)
        ast.fix_missing_locations(module)


def _find_constants(modules: Modules) -> dict[str, dict[str, Constant]]:
    """By module, the constants it defines; worked out until nothing more is found, since they build on each other."""
    found: dict[str, dict[str, Constant]] = {name: {} for name in modules}
    bound = {name: _bound_names(module) for name, module in modules.items()}
    while True:
        count = sum(map(len, found.values()))
        for name, module in modules.items():
            known = dict(_imported(module, found)) | found[name]
            for statement in module.body:
                target = _constant_target(statement)
                if target is None or bound[name].count(target) != 1 or target in found[name]:
                    continue
                assert isinstance(statement, ast.Assign)
                value = _evaluate(statement.value, known)
                if value is not None:
                    found[name][target] = known[target] = value
        if count == sum(map(len, found.values())):
            return found


def _bound_names(module: ast.Module) -> list[str]:
    """Every name that is bound anywhere in a module, as often as it is."""
    stores = [node.id for node in ast.walk(module) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)]
    arguments = [node.arg for node in ast.walk(module) if isinstance(node, ast.arg)]
    return stores + arguments


def _constant_target(statement: ast.stmt) -> str | None:
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return None
    target = statement.targets[0]
    # A name with an underscore is MicroPython's own business: `_X = const(1)` vanishes without our help.
    return target.id if isinstance(target, ast.Name) and target.id.isupper() and target.id[0] != "_" else None


def _imported(module: ast.Module, found: dict[str, dict[str, Constant]]) -> Iterable[tuple[str, Constant]]:
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and node.module in found:
            for alias in node.names:
                if alias.asname is None and alias.name in found[node.module]:
                    yield alias.name, found[node.module][alias.name]


def _evaluate(node: ast.expr, known: dict[str, Constant]) -> Constant | None:
    match node:
        case ast.Constant(value=int() | str() as value) if not isinstance(value, bool):
            return value if isinstance(value, int) or len(value) <= MAX_TEXT else None
        case ast.Name(id=name):
            return known.get(name)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            one, other = _evaluate(left, known), _evaluate(right, known)
            if isinstance(one, int) and isinstance(other, int):
                return _OPERATIONS[type(op)](one, other)  # type: ignore[operator]
    return None


class _Inliner(ast.NodeTransformer):
    def __init__(
        self, name: str, constants: dict[str, dict[str, Constant]], modules: Modules, drops: bool
    ) -> None:
        self._drops = drops
        self._own = constants[name]
        self._constants = constants
        self._known = dict(_imported(modules[name], constants)) | self._own
        # `from protocol import errors` and `import protocol.errors`-like names under which a whole module is reached
        self._aliases = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in ast.walk(modules[name])
            if isinstance(node, ast.ImportFrom)
            for alias in node.names
            if f"{node.module}.{alias.name}" in constants
        }

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | None:
        known = self._constants.get(node.module or "", {})
        node.names = [alias for alias in node.names if alias.asname is not None or alias.name not in known]
        return node if node.names else None

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | None:
        self.generic_visit(node)
        return None if self._drops and _constant_target(node) in self._own else node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if isinstance(node.ctx, ast.Load) and node.id in self._known:
            return ast.Constant(self._known[node.id])
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id in self._aliases:
            value = self._constants[self._aliases[node.value.id]].get(node.attr)
            if value is not None:
                return ast.Constant(value)
        self.generic_visit(node)
        return node
