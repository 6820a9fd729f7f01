"""Makes one module out of a package's modules, for devices: each name then stands once instead of once per module.

Sources are written for readers, in many small modules; a `.mpy` carries its own table of every name it mentions, and
those tables were a third of the firmware. Linking changes no name a caller sees: `from protocol.tap import PAID`
becomes `from protocol import PAID`. A top-level name that means something else somewhere in the package gets its
module's name in front. What cannot be linked safely is an error of the build (`names.NamesError`), never a guess.
"""

import ast
from collections.abc import Collection, Iterable

from host_tools.images.names import Modules, Names, NamesError, imported_from, package_of, read_names

Final = dict[str, dict[str, str]]  # by module of a linked package, what each of its names is called in the end


def link_packages(modules: Modules, packages: Collection[str]) -> Modules:
    """`modules` with each of `packages` replaced by a single module of that name; the given ones are rewritten.

    Raises `NamesError`.
    """
    names = read_names(modules, packages)
    final: Final = {}
    for package in packages:
        inside = {name: names[name] for name in modules if package_of(name, packages) == package}
        _refuse_clashing_imports(inside, packages)
        final |= _final_names(inside, packages)
    for name, module in modules.items():
        _Rewriter(name, modules, packages, names[name], final).visit(module)
    linked = {name: module for name, module in modules.items() if package_of(name, packages) is None}
    for package in packages:
        parts = {name: names[name] for name in modules if package_of(name, packages) == package}
        if parts:
            body = [node for name in _in_order(parts) for node in modules[name].body if not isinstance(node, ast.Expr)]
            linked[package] = ast.fix_missing_locations(ast.Module(_imports_first(body), []))
    _in_order(read_names(linked, packages=()))  # packages that import each other could not be loaded any more
    return linked


def _refuse_clashing_imports(inside: dict[str, Names], packages: Collection[str]) -> None:
    meanings: dict[str, tuple[str, str | None]] = {}
    for name, names in inside.items():
        for local, meaning in _outer_imports(name, names, packages).items():
            if meanings.setdefault(local, meaning) != meaning:
                raise NamesError(
                    f"{name}: imports as {local!r} what another module of the package does not; rename one"
                )
            if any(local in other.private for other in inside.values() if local not in other.imported):
                raise NamesError(f"{name}: imports {local!r}, which another module of the package means otherwise")


def _outer_imports(name: str, names: Names, packages: Collection[str]) -> dict[str, tuple[str, str | None]]:
    """What a module imports from outside its package: that stays, as an import of the linked module."""
    own = package_of(name, packages)
    return {local: what for local, what in names.imported.items() if package_of(what[0], packages) != own}


def _final_names(inside: dict[str, Names], packages: Collection[str]) -> Final:
    final: Final = {}
    for name, names in inside.items():
        stem = name.rpartition(".")[2]
        # A bare name must mean the same in the whole package: `apdu.refusal` becomes `refusal`, which a local variable
        # of another module would hide, and a function called `open` would take the place of everyone's built-in.
        taken: set[str] = set()
        for other, theirs in inside.items():
            if other != name:
                taken |= theirs.private | set(theirs.defined) | set(_outer_imports(other, theirs, packages))
        final[name] = {top: _prefixed(stem, top) if top in taken else top for top in names.defined}
        ends = set(final[name].values())
        clash = (ends & taken) | ((ends - set(names.defined)) & (names.private | set(names.imported)))
        if clash:
            raise NamesError(f"{name}: {min(clash)!r} is taken in the package; rename one")
    ends = [end for table in final.values() for end in table.values()]
    for end in ends:
        if ends.count(end) > 1:
            raise NamesError(f"{end!r} would stand twice in one package; rename one")
    return final


def _imports_first(body: list[ast.stmt]) -> list[ast.stmt]:
    """`body` with every import once."""
    imports: list[ast.Import | ast.ImportFrom] = []
    sources: dict[str, list[ast.alias]] = {}
    for node in body:
        if isinstance(node, ast.Import):
            if ast.unparse(node) not in map(ast.unparse, imports):
                imports.append(node)
        elif isinstance(node, ast.ImportFrom):
            aliases = sources.setdefault(node.module or "", [])
            aliases += [new for new in node.names if ast.unparse(new) not in map(ast.unparse, aliases)]
    imports += [ast.ImportFrom(source, aliases, 0) for source, aliases in sources.items()]
    return [*imports, *(node for node in body if not isinstance(node, ast.Import | ast.ImportFrom))]


def _prefixed(stem: str, name: str) -> str:
    # Private, so that `_X = const(1)` vanishes and other names can be shortened.
    return f"_{stem}{name}" if name.startswith("_") else f"_{stem}_{name}"


def _in_order(names: dict[str, Names]) -> list[str]:
    """Modules after those they import at the top level."""
    ordered: list[str] = []

    def place(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            raise NamesError(f"{name} imports itself by way of {' and '.join(path)}")
        if name not in ordered:
            for source, _ in names[name].imported.values():
                if source in names:
                    place(source, (*path, name))
            ordered.append(name)

    for name in names:
        place(name, ())
    return ordered


class _Rewriter(ast.NodeTransformer):
    """Gives one module's names their final form and leads its imports of linked packages to the linked modules."""

    def __init__(self, name: str, modules: Modules, packages: Collection[str], names: Names, final: Final) -> None:
        self._name = name
        self._modules = modules
        self._package = package_of(name, packages)
        self._packages = packages
        self._final = final
        self._top = list(modules[name].body)
        own = final.get(name, {})
        inside = names.imported.items() - _outer_imports(name, names, packages).items() if self._package else ()
        bare = {local: final[source][what] for local, (source, what) in inside if what is not None}
        self._names = {local: end for local, end in (own | bare).items() if local != end}
        self._aliases = {
            local: source for local, (source, what) in names.imported.items() if what is None and source in final
        }
        self._refuse((set(self._names) | set(self._aliases)) & names.private)
        self._refuse(set(self._aliases) & set(names.defined))

    def _refuse(self, hidden: Iterable[str]) -> None:
        for name in sorted(hidden):
            raise NamesError(
                f"{self._name}: {name!r} means one thing at the top level and another elsewhere; rename one"
            )

    def visit_ImportFrom(self, node: ast.ImportFrom) -> list[ast.stmt] | ast.stmt | None:
        package = package_of(node.module or "", self._packages)
        if package is None:
            return node
        if package == self._package:
            return None
        kept: list[ast.stmt] = []
        for alias in node.names:
            source, what = imported_from(node, alias, self._modules)
            local = alias.asname or alias.name
            if source not in self._final:
                return node  # a module that this board does not carry: still an ImportError when it is asked for
            if what is None:
                kept.append(ast.Import([ast.alias(package, local)]))
            else:
                end = self._final[source][what]
                kept.append(ast.ImportFrom(package, [ast.alias(end, local if local != end else None)], 0))
        return kept

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.stmt:
        return self._definition(node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.stmt:
        return self._definition(node)

    def _definition(self, node: ast.FunctionDef | ast.ClassDef) -> ast.stmt:
        if node in self._top and node.name in self._names:  # a method keeps its name
            if isinstance(node, ast.ClassDef):  # and a class shows it, in `__name__`
                raise NamesError(
                    f"{self._name}: class {node.name!r} has its name from another in the package; rename one"
                )
            node.name = self._names[node.name]
        self.generic_visit(node)
        return node

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self._aliases:
            raise NamesError(f"{self._name}, line {node.lineno}: the module {node.id!r} is used as a value")
        return ast.Name(self._names.get(node.id, node.id), node.ctx)

    def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
        source = self._aliases.get(node.value.id) if isinstance(node.value, ast.Name) else None
        if source is None:
            self.generic_visit(node)
            return node
        if node.attr not in self._final[source] or not isinstance(node.ctx, ast.Load):
            raise NamesError(
                f"{self._name}, line {node.lineno}: {node.attr!r} is no definition of {source!r} to be read"
            )
        end = self._final[source][node.attr]
        if self._package == package_of(source, self._packages):
            return ast.Name(end, node.ctx)
        return ast.Attribute(node.value, end, node.ctx)
