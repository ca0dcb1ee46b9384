"""One small change at a time to a module's source: what a mutant is, and every one there is.

mutmut 3 changes only what is inside functions, and here the limits are tables of a module; cosmic-ray rewrites the
files under test in place, starts Python anew for each mutant, and counts a time-out as a kill. So: our own, on the AST.

A limiter (`if x > most: x = most`, `x if x < most else most`) does the same with < as with <=: there only the contrary
is tried. Left as they are: docstrings, text with a space in it (words for people), names that are only quoted
(`__all__`), and imports. Everything else of these kinds is changed, one place at a time:

| kind | change |
|---|---|
| number | n → n + 1 |
| name | a quoted name → another |
| compare | < → <=, <= → <, > → >=, >= → >, == → !=, != → == |
| arithmetic | + ↔ -, * ↔ //, % → //, << ↔ >>, & ↔ \\| |
| logic | and ↔ or, a condition → its contrary |
| flag | True ↔ False |
| left out | an assignment to an attribute or a place, an augmented one, or a call, is not done |
"""

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_COMPARE: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
}
_ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}
OTHER_NAME = "mutated"


@dataclass(frozen=True)
class Mutant:
    """A changed module: `source` is all of it, `before` and `after` are the statement or expression that differs."""

    line: int
    kind: str
    before: str
    after: str
    source: str

    @property
    def told(self) -> str:
        """The change in one line, the same as long as its statement is."""
        return f"{self.before} → {self.after}"


def mutants(source: str) -> list[Mutant]:
    """Every mutant of a module, in the order of its source."""
    tree = ast.parse(source)
    found: list[Mutant] = []
    for at, (node, kind, replacement) in enumerate(_changes(tree)):
        changed = copy.deepcopy(tree)
        same = next(place for index, place in enumerate(_changes(changed)) if index == at)[0]
        _put(changed, same, copy.deepcopy(replacement))
        statement = _statement_of(tree, node)
        found.append(
            Mutant(
                node.lineno,
                kind,
                _shortened(ast.unparse(statement)),
                _told(kind, node, replacement),
                ast.unparse(ast.fix_missing_locations(changed)),
            )
        )
    return sorted(found, key=lambda each: each.line)


def _told(kind: str, node: ast.AST, replacement: ast.AST) -> str:
    if kind == "left out":
        return "left out"
    return f"{_shortened(ast.unparse(node))} ⇒ {_shortened(ast.unparse(replacement))}"


def _shortened(text: str) -> str:
    first = text.splitlines()[0]
    return first if len(first) <= 90 else f"{first[:89]}…"


def _changes(tree: ast.Module) -> Iterator[tuple[ast.expr | ast.stmt, str, ast.AST]]:
    """(node, kind, what to put in its place) of each change."""
    skipped = _not_touched(tree) | _limiters(tree)
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.expr):
            for kind, other in _of_expression(node):
                yield node, kind, other
        elif isinstance(node, ast.stmt):
            yield from ((node, kind, other) for kind, other in _of_statement(node))


def _not_touched(tree: ast.Module) -> set[int]:
    """Docstrings, quoted words, `__all__` and imports."""
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped |= {id(node), id(node.value)}
        if isinstance(node, ast.Assign) and any(ast.unparse(each) == "__all__" for each in node.targets):
            skipped |= {id(each) for each in ast.walk(node)}
        if isinstance(node, ast.Import | ast.ImportFrom):
            skipped |= {id(each) for each in ast.walk(node)}
    return skipped


def _limiters(tree: ast.Module) -> set[int]:
    """Comparisons that choose between their own two sides, which are alike where they are equal."""
    found: set[int] = set()
    for node in ast.walk(tree):
        test = node.test if isinstance(node, ast.If | ast.IfExp) else None
        if not isinstance(test, ast.Compare) or len(test.ops) != 1 or type(test.ops[0]) in (ast.Eq, ast.NotEq):
            continue
        sides = {_same(test.left), _same(test.comparators[0])}
        if isinstance(node, ast.IfExp):
            chosen = {_same(node.body), _same(node.orelse)}
        elif len(node.body) == 1 and isinstance(node.body[0], ast.Assign) and not node.body[0].targets[1:]:
            chosen = {_same(node.body[0].targets[0]), _same(node.body[0].value)}
        else:
            continue
        if chosen == sides:
            found.add(id(test))
    return found


def _same(node: ast.expr) -> str:
    """An expression as text: the same for the same, read or written."""
    return ast.unparse(node)


def _of_expression(node: ast.expr) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.Constant):
        yield from _of_constant(node)
    elif isinstance(node, ast.Compare) and len(node.ops) == 1 and type(node.ops[0]) in _COMPARE:
        yield "compare", ast.Compare(node.left, [_COMPARE[type(node.ops[0])]()], node.comparators)
    elif isinstance(node, ast.Compare) and len(node.ops) > 1:
        yield "logic", ast.UnaryOp(ast.Not(), node)
    elif isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        yield "arithmetic", ast.BinOp(node.left, _ARITHMETIC[type(node.op)](), node.right)
    elif isinstance(node, ast.BoolOp):
        yield "logic", ast.BoolOp(ast.Or() if isinstance(node.op, ast.And) else ast.And(), node.values)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield "arithmetic" if isinstance(node.op, ast.USub) else "logic", node.operand
    elif isinstance(node, ast.IfExp):
        yield "logic", ast.IfExp(ast.UnaryOp(ast.Not(), node.test), node.body, node.orelse)


def _of_constant(node: ast.Constant) -> Iterator[tuple[str, ast.AST]]:
    value = node.value
    if isinstance(value, bool):
        yield "flag", ast.Constant(not value)
    elif isinstance(value, int):
        yield "number", ast.Constant(value + 1)
    elif isinstance(value, str) and value and " " not in value:
        yield "name", ast.Constant(OTHER_NAME + value)


def _of_statement(node: ast.stmt) -> Iterator[tuple[str, ast.AST]]:
    if isinstance(node, ast.If | ast.While):
        yield "logic", _with_test(node, ast.UnaryOp(ast.Not(), node.test))
    elif isinstance(node, ast.AugAssign) or _is_done_for_its_effect(node):
        yield "left out", ast.Pass()


def _is_done_for_its_effect(node: ast.stmt) -> bool:
    """A call whose result is not used, or an assignment to an attribute or a place."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Call)
    return isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name)


def _with_test(node: ast.If | ast.While, test: ast.expr) -> ast.stmt:
    made = copy.copy(node)
    made.test = test
    return made


def _put(tree: ast.Module, wanted: ast.AST, replacement: ast.AST) -> None:
    """Put `replacement` where `wanted` is."""

    class Put(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST:
            if node is wanted:
                return ast.copy_location(replacement, node)
            visited: ast.AST = self.generic_visit(node)
            return visited

    Put().visit(tree)


def _statement_of(tree: ast.Module, node: ast.AST) -> ast.AST:
    """The innermost element of a module's table, or statement, that holds `node`."""
    best: ast.AST = node
    for statement in ast.walk(tree):
        if isinstance(statement, ast.stmt) and any(each is node for each in ast.walk(statement)):
            best = statement
    if isinstance(best, ast.Assign) and isinstance(best.value, ast.Tuple | ast.Dict):
        rows = best.value.elts if isinstance(best.value, ast.Tuple) else best.value.values
        for row in rows:
            if any(each is node for each in ast.walk(row)):
                return row
    if isinstance(best, ast.If | ast.While):
        return best.test if any(each is node for each in ast.walk(best.test)) else best
    return best
