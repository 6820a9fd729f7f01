"""Leaves out of linked packages what nothing on the board mentions: tables and helpers that only hosts use.

The linker has made sure that the top level of a linked module holds nothing but imports and plain definitions, so
leaving one out has no other effect. A name counts as mentioned wherever it stands in code that stays, whatever it means
there: too much may stay, never too little.
"""

import ast
from collections.abc import Collection, Iterator

from host_tools.images.names import Modules

_Definition = ast.FunctionDef | ast.ClassDef | ast.Assign | ast.AnnAssign


def drop_unused(modules: Modules, packages: Collection[str]) -> None:
    """Rewrite the linked `packages` in `modules` in place."""
    definitions = [
        node for name in packages if name in modules for node in modules[name].body if isinstance(node, _Definition)
    ]
    unused = {id(node): node for node in definitions}
    mentioned = {word for name, module in modules.items() if name not in packages for word in _words(module)}
    while True:
        needed = [node for node in unused.values() if mentioned & set(_bound(node))]
        if not needed:
            break
        for node in needed:
            del unused[id(node)]
            mentioned |= set(_words(node))
    for name in packages:
        if name in modules:
            modules[name].body = [node for node in modules[name].body if id(node) not in unused]
            _drop_imports(modules[name])


def _drop_imports(module: ast.Module) -> None:
    """Imports of names that what is left does not mention."""
    mentioned = {word for node in module.body if isinstance(node, _Definition) for word in _words(node)}
    for node in module.body:
        if isinstance(node, ast.Import | ast.ImportFrom):
            node.names = [alias for alias in node.names if (alias.asname or alias.name) in mentioned]
    module.body = [node for node in module.body if not isinstance(node, ast.Import | ast.ImportFrom) or node.names]


def _bound(node: _Definition) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    else:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        yield from (name.id for target in targets for name in ast.walk(target) if isinstance(name, ast.Name))


def _words(tree: ast.AST) -> Iterator[str]:
    """Every name and attribute that is mentioned."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Import | ast.ImportFrom):
            yield from (alias.name for alias in node.names)
