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

COLUMNS = (
    "label", "width", "height", "orientation", "boxes", "group", "weight", "split",
)  # fmt: skip
"""Columns that an expression may name; ``split``: a hash of group or key in [0, 1)."""

_MOST_CHARACTERS = 1000
_LARGEST = 2**64
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
            names = (n for n in ast.walk(self._tree) if isinstance(n, ast.Name))
            self._names = {COLUMNS[0]} | {name.id for name in names}
            self({name: np.zeros(0) for name in COLUMNS})  # all of it is looked at
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            if isinstance(error, UsageError):
                raise
            raise self._wrong(f"it is no expression: {error}") from None

    def __call__(self, columns: Mapping[str, NDArray[Any]]) -> NDArray[np.bool_]:
        """Return which samples meet the condition.

        Comparisons of whole numbers are exact, arithmetic is done in float64.

        Args:
            columns: Arrays [samples] by name, see :data:`COLUMNS`; those that are not
                named in the condition are not asked for.
        """
        known = {name: columns[name] for name in COLUMNS if name in self._names}
        with np.errstate(all="ignore"):
            met = self._condition(self._tree, known)
        return np.broadcast_to(met, np.shape(known[COLUMNS[0]]))

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
                value = self._number(node.operand, columns)
                return -value if isinstance(value, int) else -np.float64(value)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            left, right = (
                np.asarray(self._number(side, columns), np.float64)
                for side in (node.left, node.right)
            )
            return _ARITHMETIC[type(node.op)](left, right)
        if isinstance(node, ast.Compare):
            return self._compare(node, columns)
        raise self._wrong(f"{ast.unparse(node)!r} is not in the grammar")

    def _compare(self, node: ast.Compare, columns: Mapping[str, Any]) -> Any:  # noqa: ANN401  # as _value
        sides, parts = [node.left, *node.comparators], []
        for left, how, right in zip(sides, node.ops, sides[1:], strict=False):
            if isinstance(how, ast.In | ast.NotIn):
                if not isinstance(right, ast.Tuple | ast.List | ast.Set):
                    raise self._wrong("`in` needs a list, such as (1, 2)")
                found = np.zeros((), np.bool_)
                for item in right.elts:
                    found = found | self._pair(operator.eq, left, item, columns)
                parts.append(~found if isinstance(how, ast.NotIn) else found)
            elif type(how) in _COMPARE:
                parts.append(self._pair(_COMPARE[type(how)], left, right, columns))
            else:
                raise self._wrong(f"{ast.unparse(node)!r} is not in the grammar")
        return np.logical_and.reduce(np.broadcast_arrays(*parts))

    def _pair(
        self,
        compare: Callable[[Any, Any], Any],
        left: ast.expr,
        right: ast.expr,
        columns: Mapping[str, Any],
    ) -> NDArray[np.bool_]:
        values = []
        for side, other in ((left, right), (right, left)):
            named = isinstance(side, ast.Constant) and isinstance(side.value, str)
            if named and not (isinstance(other, ast.Name) and other.id == "label"):
                raise self._wrong(f"{ast.unparse(side)} is compared with no label")
            values.append(
                self._class(side.value) if named else self._number(side, columns)  # type: ignore[attr-defined]
            )
        return np.asarray(compare(*values), np.bool_)

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

    def _class(self, name: str) -> int:
        if name not in self._classes:
            raise self._wrong(
                f"there is no class {name!r}; there are {list(self._classes)[:20]}"
            )
        return self._classes[name]

    def _constant(self, value: object) -> int | float:
        if type(value) is int and abs(value) < _LARGEST:
            return value
        if not isinstance(value, float):
            raise self._wrong(f"{value!r:.40} is no number below 2**64")
        return value

    def _wrong(self, why: str) -> UsageError:
        return UsageError(
            f"subset={self._text[:200]!r}: {why}; columns are {', '.join(COLUMNS)}"
        )
