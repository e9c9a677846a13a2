"""Where a fault can be put into Python: comparisons, whole numbers, statements.

Left out are words for people (docstrings, comments, f-strings, what is logged), types, imports and decorators: the
tests hold what the code does, and a fault there does nothing.
"""

import ast
import io
import tokenize
from bisect import bisect_left
from collections.abc import Sequence

from tests.faults.fault import Place

TURNED = {
    "<": "<=",
    "<=": "<",
    ">": ">=",
    ">=": ">",
    "==": "!=",
    "!=": "==",
    "in": "not in",
    "not in": "in",
    "is": "is not",
    "is not": "is",
    "and": "or",
    "or": "and",
}
LOGS = frozenset({"debug", "info", "warning", "error", "exception", "critical", "print", "echo"})
# How wide JSON is indented and how much a cache holds changes nothing that anybody reads.
WITHOUT_EFFECT = frozenset({"indent", "maxsize"})


def python_places(text: str) -> list[Place]:
    """Every place of a module, in the order of the text."""
    finder = _Finder(text)
    finder.visit(ast.parse(text))
    return sorted(set(finder.places), key=lambda place: (place.start, place.end))


class _Finder(ast.NodeVisitor):
    def __init__(self, text: str) -> None:
        self.places: list[Place] = []
        self._text = text
        self._lines = text.splitlines(keepends=True)
        self._begins = [0]
        for line in self._lines:
            self._begins.append(self._begins[-1] + len(line))
        self._tokens = [
            (
                self._begins[token.start[0] - 1] + token.start[1],
                self._begins[token.end[0] - 1] + token.end[1],
                token.string,
            )
            for token in tokenize.generate_tokens(io.StringIO(text).readline)
            if token.type in (tokenize.OP, tokenize.NAME, tokenize.NUMBER, tokenize.STRING)
        ]
        self._depth = 0

    def visit_Compare(self, node: ast.Compare) -> None:
        for left, right in zip([node.left, *node.comparators], node.comparators, strict=False):
            self._turn_between(left, right)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._turn_between(left, right)
        self.generic_visit(node)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        if isinstance(node.op, ast.Not):
            start = self._span(node)[0]
            # A bracket after it stays.
            after = self._tokens[bisect_left(self._tokens, (start,)) + 1][0]
            self.places.append(Place(start, after, "", "`not` dropped"))
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        start, end = self._span(node)
        written = self._text[start:end]
        if type(node.value) is int and written.replace("_", "").isdecimal():
            moved = f"{node.value + 1:_}" if "_" in written else str(node.value + 1)
            self.places.append(Place(start, end, moved, "bound moved"))

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Call) and not _is_log(node.value):
            self._drop(node)
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        if all(isinstance(target, ast.Attribute | ast.Subscript) for target in node.targets):
            self._drop(node)
        self.generic_visit(node)

    def _simple(self, node: ast.stmt) -> None:
        self._drop(node)
        self.generic_visit(node)

    visit_AugAssign = visit_Raise = visit_Continue = visit_Break = _simple  # noqa: N815

    def visit_Return(self, node: ast.Return) -> None:
        # Without its result a function fails at once wherever it is called; that proves nothing about the tests.
        if node.value is None:
            self._drop(node)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        if not _is_log(node):
            self.generic_visit(node)

    def visit_keyword(self, node: ast.keyword) -> None:
        if node.arg not in WITHOUT_EFFECT:
            self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        for default in (*node.args.defaults, *node.args.kw_defaults):
            if default is not None:
                self.visit(default)
        self._depth += 1
        self._visit_all(node.body)
        self._depth -= 1

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._visit_all(node.body)

    def visit_If(self, node: ast.If) -> None:
        if isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            self._visit_all(node.orelse)
        else:
            self.generic_visit(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        """Words for people; Python 3.11 does not know the places in it either."""

    def _visit_all(self, nodes: Sequence[ast.AST]) -> None:
        for node in nodes:
            self.visit(node)

    def _turn_between(self, left: ast.expr, right: ast.expr) -> None:
        """The operator between two expressions becomes its neighbour."""
        begin, end = self._span(left)[1], self._span(right)[0]
        between = self._tokens[bisect_left(self._tokens, (begin,)) : bisect_left(self._tokens, (end,))]
        words = [token for token in between if token[2] in TURNED or token[2] == "not"]
        operator = " ".join(word for _, _, word in words)
        kind = "`and` and `or` exchanged" if operator in ("and", "or") else "comparison turned"
        self.places.append(Place(words[0][0], words[-1][1], TURNED[operator], kind))

    def _drop(self, node: ast.stmt) -> None:
        if self._depth:
            self.places.append(Place(*self._span(node), "pass", "line dropped"))

    def _span(self, node: ast.expr | ast.stmt) -> tuple[int, int]:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        return self._offset(node.lineno, node.col_offset), self._offset(node.end_lineno, node.end_col_offset)

    def _offset(self, line: int, column: int) -> int:
        # `ast` counts the bytes of a line.
        return self._begins[line - 1] + len(self._lines[line - 1].encode()[:column].decode())


def _is_log(call: ast.Call) -> bool:
    function = call.func
    return getattr(function, "attr", getattr(function, "id", "")) in LOGS
