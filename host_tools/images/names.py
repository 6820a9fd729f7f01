"""What the names of a module stand for, for the two steps that rewrite sources for a device: `constants` and `link`.

They may only touch a name that means the same thing wherever a module mentions it. Which scope binds what is asked of
CPython's own compiler (`symtable`), so that no way of binding a name is forgotten. What could change its meaning is
refused (`NamesError`), never guessed at.
"""

import ast
import symtable
from collections.abc import Collection, Iterator
from dataclasses import dataclass

Modules = dict[str, ast.Module]  # by dotted name

# What reaches names by their text, or asks which module it is in.
_REFLECTION = frozenset({"__file__", "__name__", "dir", "eval", "exec", "globals", "locals", "vars"})


class NamesError(Exception):
    """Something that would not mean the same on the device; the message says where and what."""


@dataclass(frozen=True)
class Names:
    """The names of one module."""

    defined: list[str]  # bound at the top level, in order; of imports only what `_handed_on` allows
    imported: dict[str, tuple[str, str | None]]  # by statements at the top level: (module, name in it; None: all of it)
    private: frozenset[str]  # what something in here means by a name of its own: locals, parameters, built-ins


def package_of(name: str, packages: Collection[str]) -> str | None:
    """The one of `packages` that module `name` belongs to."""
    head = name.partition(".")[0]
    return head if head in packages else None


def read_names(modules: Modules, packages: Collection[str]) -> dict[str, Names]:
    """The names of all `modules`. Raises `NamesError` for what those of `packages` and their users may not do."""
    names = {}
    for name, module in modules.items():
        linked = package_of(name, packages) is not None
        table = symtable.symtable(ast.unparse(module), name, "exec")
        top = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
        imported = dict(_imports(name, module.body, modules))
        private = frozenset(_private(module, table, top))
        if linked:
            defined = _plain_definitions(name, module, modules)
            _refuse(name, (top - set(defined) - set(imported)), "is bound inside an expression")
            _refuse(name, private & (_REFLECTION | {"__import__"}), "does not survive linking")
            _refuse(name, _declared_global(table), "is declared global, and others may have imported its first value")
        else:
            assigned = {symbol.get_name() for symbol in table.get_symbols() if symbol.is_assigned()}
            defined = sorted(assigned | _handed_on(module, table, packages))
            _refuse(name, private & _REFLECTION, "does not survive inlining")
            _refuse_computed_imports(name, module, packages)
        names[name] = Names(defined, imported, private)
    for name, module in modules.items():
        _check_imports(name, module, modules, packages, names)
    return names


def _refuse(where: str, names: Collection[str], why: str) -> None:
    if names:
        raise NamesError(f"{where}: {sorted(names)[0]!r} {why}")


def imported_from(node: ast.ImportFrom, alias: ast.alias, modules: Modules) -> tuple[str, str | None]:
    """What `from ... import` names: (module, name in it), or (module, None) for a whole module."""
    source = node.module or ""
    whole = f"{source}.{alias.name}"
    return (whole, None) if whole in modules else (source, alias.name)


def _imports(name: str, body: list[ast.stmt], modules: Modules) -> Iterator[tuple[str, tuple[str, str | None]]]:
    seen: set[str] = set()
    for node in body:
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        for alias in node.names:
            local = alias.asname or alias.name.partition(".")[0]
            if local in seen:
                raise NamesError(f"{name}, line {node.lineno}: {local!r} is imported twice")
            seen.add(local)
            yield local, (alias.name, None) if isinstance(node, ast.Import) else imported_from(node, alias, modules)


def _plain_definitions(name: str, module: ast.Module, modules: Modules) -> list[str]:
    """A module that is merged with others may define and import at its top level, each name once, and nothing else.

    Then it does not matter when that runs.
    """
    defined = []
    for node in module.body:
        match node:
            case ast.FunctionDef(name=bound) | ast.ClassDef(name=bound):
                defined.append(bound)
            case ast.Assign(targets=[ast.Name(id=bound)]) | ast.AnnAssign(target=ast.Name(id=bound), value=ast.expr()):
                defined.append(bound)
            case ast.Import() | ast.ImportFrom() | ast.Expr(value=ast.Constant(value=str())):
                continue
            case _:
                raise NamesError(f"{name}, line {node.lineno}: only imports and plain definitions can be linked")
        if defined.count(bound) > 1 or bound in dict(_imports(name, module.body, modules)):
            raise NamesError(f"{name}, line {node.lineno}: {bound!r} is defined twice")
        if bound.startswith("__") or any(other.startswith(f"{name}.") for other in modules):
            raise NamesError(
                f"{name}, line {node.lineno}: {bound!r} cannot be linked; a package's __init__ stays empty"
            )
    return defined


def _handed_on(module: ast.Module, table: symtable.SymbolTable, packages: Collection[str]) -> set[str]:
    """What a module outside `packages` imports from others outside them, in a branch perhaps: nobody rewrites that, so
    third ones may import it from here.
    """
    rewritten = {
        alias.asname or alias.name
        for node in ast.walk(module)
        if isinstance(node, ast.ImportFrom) and package_of(node.module or "", packages)
        for alias in node.names
    }
    return {symbol.get_name() for symbol in table.get_symbols() if symbol.is_imported()} - rewritten


def _tables(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    for child in table.get_children():
        yield child
        yield from _tables(child)


def _private(module: ast.Module, table: symtable.SymbolTable, top: set[str]) -> Iterator[str]:
    stores = {node.id for node in ast.walk(module) if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load)}
    for symbol in table.get_symbols():
        if symbol.get_name() not in top:
            yield symbol.get_name()
    for scope in _tables(table):
        for symbol in scope.get_symbols():
            name = symbol.get_name()
            # A method is seen with its object only, unless the class's own body mentions it.
            method = symbol.is_namespace() and not symbol.is_referenced() and name not in stores
            if symbol.is_local() and scope.get_type() == "class" and method:
                continue
            if symbol.is_local() or symbol.is_declared_global() or name not in top:
                yield name


def _declared_global(table: symtable.SymbolTable) -> list[str]:
    return [
        symbol.get_name() for scope in _tables(table) for symbol in scope.get_symbols() if symbol.is_declared_global()
    ]


def _refuse_computed_imports(name: str, module: ast.Module, packages: Collection[str]) -> None:
    """`__import__("ports." + board.PORT)` is fine: what comes out of it is in no linked package."""
    allowed = set()
    for node in ast.walk(module):
        match node:
            case ast.Call(
                func=ast.Name(id="__import__") as function,
                args=[ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Add())],
            ) if "." in text and package_of(text, packages) is None:
                allowed.add(function)
            case ast.Name(id="__import__") if node not in allowed:
                raise NamesError(f"{name}, line {node.lineno}: what this imports may be in a linked package")


def _check_imports(
    name: str, module: ast.Module, modules: Modules, packages: Collection[str], names: dict[str, Names]
) -> None:
    """Every import of ours, wherever it stands, must name what its module itself defines."""
    for node in ast.walk(module):
        where = f"{name}, line {getattr(node, 'lineno', 0)}"
        top = node in module.body
        if isinstance(node, ast.Import):
            for alias in node.names:
                if package_of(alias.name, packages):
                    raise NamesError(f"{where}: write `from {alias.name.partition('.')[0]} import ...`")
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            raise NamesError(f"{where}: a relative import")
        inside = package_of(node.module or "", packages)
        for alias in node.names:
            source, what = imported_from(node, alias, modules)
            if inside and alias.name == "*":
                raise NamesError(f"{where}: import by name, not *")
            if inside and not top and (what is None or inside == package_of(name, packages)):
                raise NamesError(f"{where}: {alias.name!r} must be imported at the top level")
            if source not in modules:
                if inside and top:
                    raise NamesError(f"{where}: there is no {source!r} on this board")
            elif what is not None and what not in names[source].defined:
                raise NamesError(f"{where}: {source!r} does not itself define {what!r}")
