"""The firmware, compiled so that each integer it computes is held against what 32 bits hold without the heap.

`Checked()` is a copy of `rfprobe_core` and `rfprobe_drivers` under names of its own. In each function but the
exempt ones every sum, product, shift, negation and call result is watched: operands and results must be whole
numbers within −2^30 … 2^30−1, the small integers of MicroPython on 32 bits. The copy keeps the least and the
largest result of each such place in the source; `unseen()` lists the places that nothing has reached.
"""

import ast
import importlib
import importlib.abc
import importlib.util
import itertools
import operator
import sys
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import rfprobe_core
import rfprobe_drivers

SMALLEST = -(1 << 30)
LARGEST = (1 << 30) - 1
FOLDERS = {each.__name__: Path(str(each.__file__)).parent for each in (rfprobe_core, rfprobe_drivers)}
# The board runs viper's copy of these loops or this one; CPython's own is not what is meant here.
STAND_IN = {"rfprobe_core.kernels": "kernels_plain.py"}

_OPERATIONS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.FloorDiv: operator.floordiv,
    ast.Div: operator.truediv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_COUNTER = itertools.count()


class OutOfBoundsError(AssertionError):
    """An integer that would go to the heap of a 32-bit board, or a float, which always does."""


@dataclass
class Site:
    """One operation in the source, and the range its results have had."""

    where: str
    text: str
    seen: bool = False
    low: int = LARGEST
    high: int = SMALLEST

    @property
    def place(self) -> str:
        """Where it is and what it says."""
        return f"{self.where}: {self.text}"

    def take(self, value: object) -> None:
        self.seen = True
        if isinstance(value, float):
            raise OutOfBoundsError(f"{self.place} is the float {value}")
        if not isinstance(value, int):
            return
        if not SMALLEST <= value <= LARGEST:
            raise OutOfBoundsError(f"{self.place} is or takes {value}: not small")
        self.low = min(self.low, value)
        self.high = max(self.high, value)


@dataclass
class Checked:
    """A copy of the firmware under watch, but for the `exempt` functions.

    To test the test: the operation at the place `doubled` gives twice its result, that at `floating` a float.
    """

    exempt: Sequence[str] = ()
    doubled: str = ""
    floating: str = ""

    def __post_init__(self) -> None:
        self.sites: list[Site] = []
        self.functions: set[str] = set()
        self._planted = bool(self.doubled or self.floating)
        self._prefix = f"checked{next(_COUNTER)}_"
        self._finder = _Finder(self)
        sys.meta_path.insert(0, self._finder)

    def module(self, name: str) -> Any:
        """The copy of a module, by its usual name."""
        return importlib.import_module(self._prefix + name)

    def load_all(self) -> None:
        """Load every module, so that all its places are known."""
        for package, folder in FOLDERS.items():
            for path in sorted(folder.glob("*.py")):
                if path.stem not in ("__init__", "kernels_viper", "kernels_cpython", "kernels_plain"):
                    self.module(f"{package}.{path.stem}")

    def unseen(self) -> list[str]:
        """Where nothing was computed yet."""
        return [site.place for site in self.sites if not site.seen]

    def close(self) -> None:
        """Forget the copy."""
        sys.meta_path.remove(self._finder)
        for name in [name for name in sys.modules if name.startswith(self._prefix)]:
            del sys.modules[name]

    def own_name(self, full: str) -> str | None:
        """The firmware's name for a module of this copy, None for any other module."""
        name = full.removeprefix(self._prefix)
        return name if name != full and name.partition(".")[0] in FOLDERS else None

    def compiled(self, name: str) -> types.CodeType:
        """The code of one module, every operation in it watched."""
        path = _path(name)
        source = path.read_text()
        tree = ast.parse(source)
        _Renamer(self._prefix).visit(tree)
        _Watcher(self, name.partition(".")[2], path.name).visit(tree)
        ast.fix_missing_locations(tree)
        return compile(tree, str(path), "exec")

    def site(self, where: str, text: str) -> int:
        """Register a place in the source; its number."""
        self.sites.append(Site(where, text))
        return len(self.sites) - 1

    def operate(self, number: int, symbol: str, left: Any, right: Any) -> Any:
        """`left <symbol> right`, watched."""
        site = self.sites[number]
        if not isinstance(left, str):
            for operand in (left, right):
                if isinstance(operand, int) and not SMALLEST <= operand <= LARGEST:
                    site.take(operand)
        result = _BY_NAME[symbol](left, right)
        if self._planted:
            result = self._spoiled(site, result)
        site.take(result)
        return result

    def _spoiled(self, site: Site, result: Any) -> Any:
        if site.place == self.doubled:
            return 2 * result
        return result * 1.0 if site.place == self.floating else result

    def give(self, number: int, result: Any) -> Any:
        """The result of a negation or a call, watched."""
        self.sites[number].take(result)
        return result

    def answer(self, where: str, result: Any) -> Any:
        """The result of a call, watched; such a place need not be seen."""
        if type(result) is int and not SMALLEST <= result <= LARGEST:
            raise OutOfBoundsError(f"{where}: a call gives {result}, which is not a small integer")
        return result


_BY_NAME = {kind.__name__: function for kind, function in _OPERATIONS.items()}


def _path(name: str) -> Path:
    package, _, stem = name.partition(".")
    return FOLDERS[package] / STAND_IN.get(name, f"{stem or '__init__'}.py")


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, checked: Checked) -> None:
        self._checked = checked

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        name = self._checked.own_name(fullname)
        if name is None:
            return None
        return importlib.util.spec_from_loader(fullname, self, is_package="." not in name)

    def exec_module(self, module: types.ModuleType) -> None:
        name = self._checked.own_name(module.__name__)
        assert name is not None
        checked = self._checked
        watchers = {
            "watch_operation": checked.operate,
            "watch_result": checked.give,
            "watch_answer": checked.answer,
        }
        module.__dict__.update(watchers)
        exec(checked.compiled(name), module.__dict__)


class _Renamer(ast.NodeTransformer):
    """Imports of the firmware mean the copy."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        if node.module and node.module.partition(".")[0] in FOLDERS:
            node.module = self._prefix + node.module
        return node


class _Watcher(ast.NodeTransformer):
    """Wraps each operation inside functions. What runs once, when a module is loaded, may use the heap."""

    def __init__(self, checked: Checked, module: str, file: str) -> None:
        self._checked = checked
        self._file = file
        self._scope = [module]
        self._depth = 0

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        self._scope.append(node.name)
        self.generic_visit(node)
        self._scope.pop()
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self._scope.append(node.name)
        name = ".".join(self._scope)
        self._checked.functions.add(name)
        if name not in self._checked.exempt:
            self._depth += 1
            node.body = [self.visit(statement) for statement in node.body]
            self._depth -= 1
        self._scope.pop()
        return node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        return self._operation(node, node.op, node.left, node.right)

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        if not self._depth:
            return node
        # firmware's targets are names, attributes and items by plain numbers: looking twice changes nothing
        target = ast.parse(ast.unparse(node.target), mode="eval").body
        value = self._operation(node, node.op, target, node.value)
        return ast.copy_location(ast.Assign([self.visit(node.target)], value), node)  # type: ignore[arg-type]

    def visit_UnaryOp(self, node: ast.UnaryOp) -> ast.AST:
        text = ast.unparse(node)
        self.generic_visit(node)
        if not self._depth or isinstance(node.op, ast.Not) or isinstance(node.operand, ast.Constant):
            return node
        number = self._checked.site(self._where(node), text)
        return _call("watch_result", node, ast.Constant(number), node)

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        if not self._depth:
            return node
        return _call("watch_answer", node, ast.Constant(self._where(node)), node)

    def _operation(self, node: ast.expr | ast.AugAssign, op: ast.operator, left: ast.expr, right: ast.expr) -> ast.AST:
        text = ast.unparse(node)
        formatting = isinstance(left, ast.Constant) and isinstance(left.value, str)
        left, right = self.visit(left), self.visit(right)
        if not self._depth or formatting:
            return ast.copy_location(ast.BinOp(left, op, right), node)
        number = self._checked.site(self._where(node), text)
        return _call("watch_operation", node, ast.Constant(number), ast.Constant(type(op).__name__), left, right)

    def _where(self, node: ast.expr | ast.AugAssign) -> str:
        return f"{self._file}:{node.lineno} {'.'.join(self._scope)}"


def _call(name: str, at: ast.AST, *arguments: ast.expr) -> ast.AST:
    return ast.copy_location(ast.Call(ast.Name(name, ast.Load()), list(arguments), []), at)
