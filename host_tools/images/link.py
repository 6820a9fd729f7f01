"""Makes one module out of a package's modules, for devices: each name then stands once instead of once per module.

Sources are written for readers, in many small modules; a `.mpy` carries its own table of every name it mentions, and those tables were a
third of the firmware. Linking changes no name a caller sees (`from protocol.tap import PAID` becomes `from protocol import PAID`);
only top-level names that something else in the package is called too get their module's name in front. What cannot be linked safely, because a
local variable hides a name that has to change, is an error of the build, never a guess.
"""

import ast
from collections import Counter
from collections.abc import Iterator

from host_tools.images.constants import Modules


class LinkError(Exception):
    """Names are in each other's way; the message says which and where."""


def link_packages(modules: Modules, packages: tuple[str, ...]) -> Modules:
    """`modules` by dotted name, with each of `packages` replaced by a single module of that name."""
    linked = {name: module for name, module in modules.items() if _package(name, packages) is None}
    final = _final_names(modules, packages)
    for package in packages:
        body: list[ast.stmt] = []
        for name in _in_order([name for name in modules if _package(name, packages) == package], modules):
            _Renamer(name, modules[name], package, packages, final).visit(modules[name])
            body.extend(modules[name].body)
        linked[package] = ast.Module(_without_docstrings(body), [])
    for name in linked:
        if name not in packages:
            _Renamer(name, linked[name], None, packages, final).visit(linked[name])
        ast.fix_missing_locations(linked[name])
    return linked


def _package(name: str, packages: tuple[str, ...]) -> str | None:
    head = name.split(".")[0]
    return head if head in packages else None


def _top_level_names(module: ast.Module) -> list[str]:
    names = []
    for statement in module.body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            names.append(statement.name)
        elif isinstance(statement, ast.Assign):
            names += [target.id for target in statement.targets if isinstance(target, ast.Name)]
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            names.append(statement.target.id)
    return list(dict.fromkeys(names))


def _final_names(modules: Modules, packages: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """By module, what each of its top-level names is called in the linked package."""
    final: dict[str, dict[str, str]] = {}
    for package in packages:
        own = {name: _top_level_names(module) for name, module in modules.items() if _package(name, packages) == package}
        counts = Counter(top for names in own.values() for top in names)
        inside = {name: {bound for scope in _scopes(modules[name]) for bound in _bound_inside(scope)} for name in own}
        for name, names in own.items():
            # `apdu.refusal` becomes a bare name, which a local variable of another module would hide.
            hidden = set().union(*(bound for other, bound in inside.items() if other != name))
            stem = name.rpartition(".")[2]
            final[name] = {top: _prefixed(stem, top) if counts[top] > 1 or top in hidden else top for top in names}
    return final


def _prefixed(stem: str, name: str) -> str:
    # `_X = const(1)` vanishes only while its name begins with an underscore.
    return f"_{stem}{name}" if name.startswith("_") else f"{stem}_{name}"


def _in_order(names: list[str], modules: Modules) -> list[str]:
    """Modules after those they import at the top level."""
    ordered: list[str] = []

    def place(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise LinkError(f"{name} imports itself by way of {' and '.join(path)}")
        if name in ordered:
            return
        for statement in modules[name].body:
            if isinstance(statement, ast.ImportFrom):
                whole = [f"{statement.module}.{alias.name}" for alias in statement.names]
                for needed in [statement.module or "", *whole]:
                    if needed in names and needed != name:
                        place(needed, (*path, name))
        ordered.append(name)

    for name in names:
        place(name, ())
    return ordered


def _without_docstrings(body: list[ast.stmt]) -> list[ast.stmt]:
    return [node for node in body if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant))]


def _scopes(module: ast.Module) -> list[ast.FunctionDef | ast.ClassDef]:
    return [node for node in ast.walk(module) if isinstance(node, ast.FunctionDef | ast.ClassDef)]


def _bound_inside(scope: ast.FunctionDef | ast.ClassDef) -> Iterator[str]:
    """What a function or class binds in itself. Methods count only where the class's own body mentions them: nobody else sees them bare."""
    for node in ast.walk(scope):
        if isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.ExceptHandler) and node.name:
            yield node.name
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.asname or alias.name for alias in node.names)
    if isinstance(scope, ast.ClassDef):
        values = [node.value for node in scope.body if isinstance(node, ast.Assign)]
        mentioned = {name.id for value in values for name in ast.walk(value) if isinstance(name, ast.Name)}
        yield from (node.name for node in scope.body if isinstance(node, ast.FunctionDef) and node.name in mentioned)


class _Renamer(ast.NodeTransformer):
    """Takes one module's imports of linked packages apart and gives names their final form. `package`: the one it is linked into."""

    def __init__(
        self, name: str, module: ast.Module, package: str | None, packages: tuple[str, ...], final: dict[str, dict[str, str]]
    ) -> None:
        self._name = name
        self._package = package
        self._packages = packages
        self._final = final
        self._names = {top: end for top, end in final.get(name, {}).items() if top != end} if package else {}
        self._aliases: dict[str, str] = {}  # local name of a whole module: its dotted name
        for node in ast.walk(module):
            if isinstance(node, ast.ImportFrom):
                self._learn(node)
        self._refuse_hidden(module)

    def _learn(self, node: ast.ImportFrom) -> None:
        source = node.module or ""
        for alias in node.names:
            local = alias.asname or alias.name
            if f"{source}.{alias.name}" in self._final:
                self._aliases[local] = f"{source}.{alias.name}"
            elif source in self._final and self._package == source.split(".")[0]:
                end = self._final[source][alias.name]
                if local != end:
                    self._names[local] = end

    def _refuse_hidden(self, module: ast.Module) -> None:
        """Nothing inside a function or a class may bind a name that has to change."""
        changing = set(self._names) | set(self._aliases)
        for scope in _scopes(module):
            hidden = changing & set(_bound_inside(scope))
            if hidden:
                raise LinkError(
                    f"{self._name}, line {scope.lineno}: {sorted(hidden)[0]!r} means one thing here and another at the top level; rename one"
                )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt] | ast.stmt | None:
        source = node.module or ""
        head = source.split(".")[0]
        if head not in self._packages or not self._is_linked(node):
            return node  # also a module that this board does not carry
        if self._package == head:
            return None
        kept: list[ast.stmt] = []
        for alias in node.names:
            if f"{source}.{alias.name}" in self._final:
                kept.append(ast.Import([ast.alias(head, alias.asname or alias.name)]))
            else:
                end = self._final[source][alias.name]
                local = alias.asname or alias.name
                kept.append(ast.ImportFrom(head, [ast.alias(end, local if local != end else None)], 0))
        return kept

    def _is_linked(self, node: ast.ImportFrom) -> bool:
        source = node.module or ""
        return source in self._final or all(f"{source}.{alias.name}" in self._final for alias in node.names)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        if node.col_offset == 0:
            node.name = self._names.get(node.name, node.name)
        self.generic_visit(node)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        if node.col_offset == 0:
            node.name = self._names.get(node.name, node.name)
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return ast.Name(self._names.get(node.id, node.id), node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        source = self._aliases.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if source is None:
            self.generic_visit(node)
            return node
        end = self._final[source].get(node.attr, node.attr)
        if self._package == source.split(".")[0]:
            return ast.Name(end, node.ctx)
        assert isinstance(node.value, ast.Name)
        return ast.Attribute(node.value, end, node.ctx)
