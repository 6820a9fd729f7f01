"""Decides in `start` what the board's description decides, and leaves out what would then never run.

`start` names every part that a board can have and asks `board` which there are. A device has one board for life: what
`start` asks is answered here, from the same constants, and what hangs on the answer alone goes or stays. Tables as a
whole stay in `board`.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

_BOARD = "board"
_SCALARS = (int, str, bool, type(None))
_UNKNOWN = object()
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
}


def decide(module: ast.Module, constants: Mapping[str, Any]) -> None:
    """Rewrites `module` in place; `constants` are those of its `board`."""
    _Decider(constants).visit(module)
    for node in ast.walk(module):
        if getattr(node, "body", None) == []:
            node.body = [ast.Pass()]  # pyright: ignore[reportAttributeAccessIssue]  (a statement with a body)
    ast.fix_missing_locations(module)


class _Decider(ast.NodeTransformer):
    def __init__(self, constants: Mapping[str, Any]) -> None:
        self._constants = constants

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        truth = self._value(node.test)
        if truth is _UNKNOWN:
            return self.generic_visit(node)
        kept: list[ast.stmt] = []
        for statement in node.body if truth else node.orelse:
            new = self.visit(statement)
            kept += new if isinstance(new, list) else [new]
        return kept

    def visit_IfExp(self, node: ast.IfExp) -> ast.AST:
        truth = self._value(node.test)
        if truth is _UNKNOWN:
            return self.generic_visit(node)
        return self.visit(node.body if truth else node.orelse)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        for index, statement in enumerate(node.body):
            if isinstance(statement, ast.Return):
                del node.body[index + 1 :]
        return node

    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        return self._answered(node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return self._answered(node)

    def _answered(self, node: ast.expr) -> ast.AST:
        value = self._value(node)
        return ast.Constant(value) if type(value) in _SCALARS else self.generic_visit(node)

    def _value(self, node: ast.expr) -> Any:
        """What it is on this board, `_UNKNOWN` if that hangs on anything else."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Attribute(value=ast.Name(id=name), attr=constant) if name == _BOARD:
                return self._constants.get(constant, _UNKNOWN)
            case ast.Subscript(value=table, slice=ast.Constant(value=key)):
                value = self._value(table)
                return value.get(key, _UNKNOWN) if isinstance(value, dict) else _UNKNOWN
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                value = self._value(operand)
                return value if value is _UNKNOWN else not value
            case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
                values = self._value(left), self._value(right)
                return _UNKNOWN if _UNKNOWN in values else _COMPARISONS[type(op)](*values)
        return _UNKNOWN
