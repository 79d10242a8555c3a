# SPDX-License-Identifier: Apache-2.0
"""The changes that `make mutants` tries: one comparison, condition, flag or number at a time.

Each is a change of the text, not of the tree: the rest of the file stays as it is, line by line.
"""

import ast
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

_WRITTEN: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
    ast.Is: "is",
    ast.IsNot: "is not",
    ast.In: "in",
    ast.NotIn: "not in",
}
_OTHERS: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.Lt: ast.LtE,
    ast.Gt: ast.GtE,
    ast.Is: ast.IsNot,
    ast.In: ast.NotIn,
}
_OTHERS |= {other: one for one, other in _OTHERS.items()}
_SIGNS: dict[type[ast.operator], str] = {ast.Add: "-", ast.Sub: "+", ast.Mult: "+"}
_ATOMS = (ast.Name, ast.Attribute, ast.Call, ast.Subscript)
_TEXTS = (ast.JoinedStr, ast.List, ast.ListComp, ast.Tuple)


@dataclass(frozen=True, order=True)
class Mutant:
    """One change of one file."""

    file: str
    line: int
    column: int
    before: str
    """The text that is replaced; it may go over several lines."""
    after: str
    source_line: str
    """The line where it begins, as it is; by this and the change a mutant is found again."""

    def __str__(self) -> str:
        before, after = (" ".join(text.split()) for text in (self.before, self.after))
        return f"{self.file}:{self.line}: {before} → {after}"

    def applied(self, text: str) -> str:
        """The text of the file with the change."""
        whole, before = text.encode(), self.before.encode()
        start = _starts(whole)[self.line - 1] + self.column
        assert whole[start:].startswith(before), f"{self}: the file has changed"
        return (whole[:start] + self.after.encode() + whole[start + len(before) :]).decode()


def mutants(file: str, text: str) -> list[Mutant]:
    """Every change of a file, in the order of its lines.

    Args:
        file: its path from the top directory.
        text: what it says.
    """
    whole = text.encode()
    starts, lines = _starts(whole), text.splitlines()

    def source(node: ast.expr) -> str:
        end = starts[(node.end_lineno or node.lineno) - 1] + (node.end_col_offset or 0)
        return whole[starts[node.lineno - 1] + node.col_offset : end].decode()

    return sorted(
        Mutant(
            file, node.lineno, node.col_offset, source(node), after, lines[node.lineno - 1].strip()
        )
        for node, is_condition in _code(ast.parse(text))
        for after in _changes(node, source, is_condition=is_condition)
    )


def _starts(whole: bytes) -> list[int]:
    """Where each line begins; Python counts columns in bytes."""
    return [0, *(at + 1 for at, byte in enumerate(whole) if byte == ord("\n"))]


def _code(tree: ast.AST) -> Iterator[tuple[ast.expr, bool]]:
    """The expressions that are worked out at run time, and whether each is a condition.

    Annotations are not, and decorators' flags change nothing that a test could see. ``strict=`` of
    zip only says that both are of one length. Within f-strings Python 3.11 knows no positions.
    """
    for field, value in ast.iter_fields(tree):
        if field in ("annotation", "returns", "decorator_list", "type_params"):
            continue
        for node in value if isinstance(value, list) else [value]:
            if isinstance(node, ast.expr):
                yield node, field in ("test", "ifs")
            if isinstance(node, ast.keyword) and node.arg == "strict":
                continue
            if isinstance(node, ast.AST) and not isinstance(node, ast.JoinedStr):
                yield from _code(node)


def _compared(ops: Sequence[ast.cmpop], changed: int, rights: Iterable[str]) -> Iterator[str]:
    """What follows the left side of a comparison, with the operator at `changed` another one."""
    kinds = [_OTHERS[type(op)] if at == changed else type(op) for at, op in enumerate(ops)]
    return (f"{_WRITTEN[kind]} {right}" for kind, right in zip(kinds, rights, strict=True))


def _joined(op: ast.boolop, parts: list[str]) -> Iterator[str]:
    """Conditions joined by the other word, and by the same with one of them left out."""
    same, other = (" and ", " or ") if isinstance(op, ast.And) else (" or ", " and ")
    yield f"({other.join(parts)})"
    for left_out in range(len(parts)):
        yield f"({same.join(parts[:left_out] + parts[left_out + 1 :])})"


def _changes(
    node: ast.expr, text_of: Callable[[ast.expr], str], *, is_condition: bool
) -> Iterator[str]:
    """What could stand in the place of an expression."""

    def source(part: ast.expr) -> str:
        # The parentheses around a part are not of the part: it gets its own.
        return text_of(part) if isinstance(part, _ATOMS) else f"({text_of(part)})"

    match node:
        case ast.Compare(left=left, ops=ops, comparators=rights):
            for changed in range(len(ops)):
                yield " ".join((source(left), *_compared(ops, changed, map(source, rights))))
        case ast.BoolOp(op=op, values=values):
            yield from _joined(op, [source(value) for value in values])
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield f"bool({source(operand)})"
        case ast.IfExp(body=body, orelse=orelse):
            yield source(body)
            yield source(orelse)
        case ast.BinOp(left=left, op=op, right=right) if _counts(op, left, right):
            yield f"{source(left)} {_SIGNS[type(op)]} {source(right)}"
        case ast.Constant(value=int(value)):
            yield str(not value if isinstance(value, bool) else value + 1)
        case _ if is_condition:
            yield f"not ({source(node)})"


def _counts(op: ast.operator, left: ast.expr, right: ast.expr) -> bool:
    """Whether an operation may be one of numbers: texts and lists are only put together."""
    return type(op) in _SIGNS and not isinstance(left, _TEXTS) and not isinstance(right, _TEXTS)
