"""Constants that the hot path has once more as `_NAME = const(…)` are the originals' values."""

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import rfprobe_core
import rfprobe_drivers
from rfprobe_core import safety

PACKAGES = (rfprobe_core, rfprobe_drivers)
# Copies of what has no name of its own.
COUNTED = {"_EVERY_TICK_ROWS": len(safety.EVERY_TICK), "_VALUE_ROWS": len(safety.VALUE)}
_NOT_ON_CPYTHON = ("kernels_viper",)


def modules() -> dict[str, Path]:
    """Every module of the firmware that CPython can load, by its name."""
    found = {
        f"{package.__name__}.{path.stem}": path
        for package in PACKAGES
        for path in sorted(Path(str(package.__file__)).parent.glob("*.py"))
        if path.stem not in ("__init__", *_NOT_ON_CPYTHON)
    }
    assert len(found) > 15
    return found


def originals() -> dict[str, set[int]]:
    """The values of all public whole-number constants, and the rows of the limit table by their names."""
    values: dict[str, set[int]] = {name.upper(): {row} for name, row in safety.ROW.items()}
    for name in modules():
        for key, value in vars(importlib.import_module(name)).items():
            if key.isupper() and not key.startswith("_") and isinstance(value, int):
                values.setdefault(key, set()).add(value)
    return values


def copies() -> Iterator[tuple[str, str, int]]:
    """(module, name, value) of each `_NAME = const(…)` at the top of a module."""
    for name, path in modules().items():
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                called, (target,) = node.value.func, node.targets
                if isinstance(called, ast.Name) and called.id == "const" and isinstance(target, ast.Name):
                    yield name, target.id, getattr(importlib.import_module(name), target.id)


ORIGINALS = originals()
COPIES = [(module, name, value) for module, name, value in copies() if name in COUNTED or name.lstrip("_") in ORIGINALS]


def test_there_are_copies() -> None:
    assert {"_RAMP", "_EVERY_TICK_ROWS", "_TC0_AGE"} <= {name for _, name, _ in COPIES}


@pytest.mark.parametrize(("module", "name", "value"), COPIES, ids=[f"{row[0]}.{row[1]}" for row in COPIES])
def test_a_copy_is_its_original(module: str, name: str, value: int) -> None:
    if name in COUNTED:
        assert value == COUNTED[name]
    else:
        assert ORIGINALS[name.lstrip("_")] == {value}, "differs, or two originals have this name"


def test_constants_are_numbers_that_stay_out_of_the_modules_names() -> None:
    """MicroPython folds `_NAME = const(…)` away; without the underscore it would be looked up again."""
    assert [(module, name) for module, name, _ in copies() if not name.startswith("_")] == []
