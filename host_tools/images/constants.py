"""Puts the values of named constants in the place of their names before a module is compiled for a device.

`protocol/` names every number, and so it should; but MicroPython keeps each name once per module that imports it, and a
board has few bytes. A constant is a public name in capitals that a linked package defines as an integer from 0 up or a
short text, worked out from literals and other constants, as `const(...)` or plainly. Its uses become literals; its
imports and definition go away.
"""

import ast
import operator
from collections.abc import Callable, Collection

from host_tools.images.names import Modules, Names, NamesError, imported_from, package_of, read_names

MAX_TEXT = 16  # a longer text repeated would cost more than its name

Constant = int | str

_OPERATIONS: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.LShift: operator.lshift,
    ast.BitOr: operator.or_,
}


def inline_constants(modules: Modules, packages: Collection[str]) -> None:
    """Rewrites `modules` in place; constants are looked for in `packages`. Raises `NamesError`."""
    names = read_names(modules, packages)
    found = _find_constants(modules, packages, names)
    for name, module in modules.items():
        _Inliner(name, modules, names[name], found).visit(module)
        ast.fix_missing_locations(module)


def _find_constants(
    modules: Modules, packages: Collection[str], names: dict[str, Names]
) -> dict[str, dict[str, Constant]]:
    """By module, the constants it defines; worked out until nothing more is found, since they build on each other."""
    found: dict[str, dict[str, Constant]] = {name: {} for name in modules}
    count = -1
    while count != (count := sum(map(len, found.values()))):
        for name, module in modules.items():
            if package_of(name, packages):
                known = _known(names[name], found) | found[name]
                for target, expression in _candidates(module, names[name]):
                    value = _evaluate(expression, known)
                    if value is not None:
                        found[name][target] = known[target] = value
    return found


def _candidates(module: ast.Module, names: Names) -> list[tuple[str, ast.expr]]:
    # A name with an underscore is MicroPython's own business: `_X = const(1)` vanishes without our help.
    return [
        (target.id, node.value)
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
        and target.id.isupper()
        and target.id[0] != "_"
        and target.id not in names.private
    ]


def _known(names: Names, found: dict[str, dict[str, Constant]]) -> dict[str, Constant]:
    """Local name and value of every constant that a module imports."""
    return {
        local: found[source][name]
        for local, (source, name) in names.imported.items()
        if name is not None and name in found.get(source, {})
    }


def _evaluate(node: ast.expr, known: dict[str, Constant]) -> Constant | None:
    match node:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() as value):
            return value
        case ast.Constant(value=str() as value):
            return value if len(value) <= MAX_TEXT else None
        case ast.Name(id=name):
            return known.get(name)
        case ast.Call(func=ast.Name(id="const"), args=[value]):
            return _evaluate(value, known)
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATIONS:
            one, other = _evaluate(left, known), _evaluate(right, known)
            if isinstance(one, int) and isinstance(other, int):
                value = _OPERATIONS[type(op)](one, other)
                return value if value >= 0 else None  # `-1 ** 2` is not `MINUS_ONE ** 2`
    return None


class _Inliner(ast.NodeTransformer):
    def __init__(self, name: str, modules: Modules, names: Names, found: dict[str, dict[str, Constant]]) -> None:
        self._name = name
        self._modules = modules
        self._found = found
        self._own = found[name]
        self._top = modules[name].body
        self._known = _known(names, found) | self._own
        self._aliases = {
            local: source for local, (source, whole) in names.imported.items() if whole is None and found.get(source)
        }
        # Also what is bound a second time elsewhere at the top level, in a `try` for example.
        hidden = (set(self._known) | set(self._aliases)) & (names.private | (set(names.defined) - set(self._own)))
        if hidden:
            raise NamesError(
                f"{name}: {min(hidden)!r} is a constant or module, and something else in places; rename one"
            )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.stmt | None:
        kept = []
        for alias in node.names:
            source, what = imported_from(node, alias, self._modules)
            if what is None or what not in self._found.get(source, {}):
                kept.append(alias)
            elif node not in self._top:
                raise NamesError(f"{self._name}, line {node.lineno}: import the constant {what!r} at the top level")
        node.names = kept
        return node if kept else None

    def visit_Assign(self, node: ast.Assign) -> ast.stmt | None:
        if isinstance(node.targets[0], ast.Name) and node.targets[0].id in self._own:
            return None
        self.generic_visit(node)
        return node

    def visit_Compare(self, node: ast.Compare) -> ast.expr:
        identity = any(isinstance(op, ast.Is | ast.IsNot) for op in node.ops)
        for operand in [node.left, *node.comparators]:
            if identity and isinstance(self.visit(operand), ast.Constant) and not isinstance(operand, ast.Constant):
                raise NamesError(f"{self._name}, line {node.lineno}: compare a constant with ==, not with `is`")
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Constant(self._known[node.id]) if node.id in self._known and isinstance(node.ctx, ast.Load) else node

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        if isinstance(node.value, ast.Name) and node.value.id in self._aliases:
            value = self._found[self._aliases[node.value.id]].get(node.attr)
            if value is not None and not isinstance(node.ctx, ast.Load):
                raise NamesError(f"{self._name}, line {node.lineno}: {node.attr!r} is a constant")
            return node if value is None else ast.Constant(value)
        self.generic_visit(node)
        return node
