"""Expressions over the columns of an index: ``label in (1, 2) and width >= 640``.

The grammar is closed: columns, numbers, names of classes, comparisons, ``in``, ``and``,
``or``, ``not``, ``+ - * /``. Nothing is called, and nothing is evaluated as Python.
"""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fiberaug.errors import UsageError

__all__ = ["COLUMNS", "Expression"]

COLUMNS = ("label", "width", "height", "orientation", "boxes", "group", "weight")
"""Columns that an expression may name."""

_MOST_CHARACTERS = 1000
_COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Eq: operator.eq, ast.NotEq: operator.ne,
}  # fmt: skip
_ARITHMETIC: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}  # fmt: skip


class Expression:
    """A condition on samples.

    Args:
        text: For example ``label == "crack" or boxes > 0 and width * height >= 1e6``.
        classes: Class ids by name, for quoted names.

    Raises:
        UsageError: It is no condition in this grammar.
    """

    def __init__(self, text: str, classes: Mapping[str, int]) -> None:
        self._text, self._classes = text, classes
        if len(text) > _MOST_CHARACTERS:
            raise self._wrong(f"it has {len(text)} characters, {_MOST_CHARACTERS} may")
        try:
            self._tree = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise self._wrong(f"it is no expression: {error}") from None
        empty = {name: np.zeros(0) for name in COLUMNS}
        if self._value(self._tree, empty).dtype != np.bool_:
            raise self._wrong("it is no condition: compare something")

    def __call__(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Return which samples meet the condition.

        Args:
            columns: Arrays [samples] by name, see :data:`COLUMNS`.
        """
        known = {name: np.asarray(columns[name], np.float64) for name in COLUMNS}
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(self._value(self._tree, known), np.bool_)

    def _value(  # noqa: PLR0911  # one for each kind of node
        self, node: ast.expr, columns: Mapping[str, Any]
    ) -> Any:  # noqa: ANN401  # an array or a number
        if isinstance(node, ast.Name):
            if node.id not in columns:
                raise self._wrong(f"there is no column {node.id!r}")
            return columns[node.id]
        if isinstance(node, ast.Constant):
            return self._constant(node.value)
        if isinstance(node, ast.BoolOp):
            parts = [self._condition(value, columns) for value in node.values]
            join = np.logical_and if isinstance(node.op, ast.And) else np.logical_or
            return join.reduce(np.broadcast_arrays(*parts))
        if isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.Not):
                return ~self._condition(node.operand, columns)
            if isinstance(node.op, ast.USub):
                return -self._number(node.operand, columns)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = (self._number(n, columns) for n in (node.left, node.right))
            return _ARITHMETIC[type(node.op)](left, right)
        if isinstance(node, ast.Compare):
            return self._compare(node, columns)
        raise self._wrong(f"{ast.unparse(node)!r} is not in the grammar")

    def _compare(self, node: ast.Compare, columns: Mapping[str, Any]) -> Any:  # noqa: ANN401  # as _value
        left, parts = self._number(node.left, columns), []
        for how, right_node in zip(node.ops, node.comparators, strict=True):
            if isinstance(how, ast.In | ast.NotIn):
                if not isinstance(right_node, ast.Tuple | ast.List | ast.Set):
                    raise self._wrong("`in` needs a list, such as (1, 2)")
                values = [self._number(item, {}) for item in right_node.elts]
                found = np.isin(left, values)
                parts.append(~found if isinstance(how, ast.NotIn) else found)
                continue
            if type(how) not in _COMPARE:
                raise self._wrong(f"{ast.unparse(node)!r} is not in the grammar")
            right = self._number(right_node, columns)
            parts.append(np.asarray(_COMPARE[type(how)](left, right)))
            left = right
        return np.logical_and.reduce(np.broadcast_arrays(*parts))

    def _condition(self, node: ast.expr, columns: Mapping[str, Any]) -> Any:  # noqa: ANN401  # as _value
        value = np.asarray(self._value(node, columns))
        if value.dtype != np.bool_:
            raise self._wrong(f"{ast.unparse(node)!r} is no condition")
        return value

    def _number(self, node: ast.expr, columns: Mapping[str, Any]) -> Any:  # noqa: ANN401  # as _value
        value = self._value(node, columns)
        if np.asarray(value).dtype == np.bool_:
            raise self._wrong(f"{ast.unparse(node)!r} is no number")
        return value

    def _constant(self, value: object) -> float:
        if isinstance(value, str):
            if value not in self._classes:
                raise self._wrong(
                    f"there is no class {value!r}; there are {list(self._classes)[:20]}"
                )
            return float(self._classes[value])
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong(f"{value!r} is neither a number nor a class")
        return float(value)

    def _wrong(self, why: str) -> UsageError:
        return UsageError(
            f"subset={self._text[:200]!r}: {why}; columns are {', '.join(COLUMNS)}"
        )
