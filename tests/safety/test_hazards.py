"""The table of hazards is complete both ways: against the causes, the faults, and the safety tests there are."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from rfprobe.sim.faults import BY_NAME
from rfprobe_core.protocol import CAUSES
from tests.safety.worlds import ROOT

PAGE = ROOT / "docs" / "safety.md"
# Every test in these files must be named by a row.
SAFETY_TESTS = [*(ROOT / "tests" / "safety").glob("test_*.py"), ROOT / "tests" / "runtimes" / "test_interlocks.py"]
# Each must be the hazard of some row.
KINDS = (
    "too hot",
    "too long",
    "wrong place",
    "on when it should be off",
    "off and not known",
    "wrong reading is believed",
    "wrong record",
)
_CODE = re.compile(r"`([^`]+)`")


def rows_of(text: str) -> list[list[str]]:
    """The cells of each hazard's row."""
    lines = [line for line in text.splitlines() if re.match(r"\| H\d+ \|", line)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def named(rows: list[list[str]], column: int) -> set[str]:
    return {name for row in rows for name in _CODE.findall(row[column])}


@cache
def known_tests(path: Path) -> dict[str, bool]:
    """Each test of a file by name, and whether it is skipped or expected to fail."""
    found: dict[str, bool] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            marks = " ".join(ast.unparse(each) for each in node.decorator_list)
            found[node.name] = "xfail" in marks or "mark.skip" in marks
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]).startswith("Test"):
            found[ast.unparse(node.targets[0])] = False
    return found


def problems(text: str) -> list[str]:
    """What is missing on either side."""
    rows = rows_of(text)
    tests = named(rows, 5)
    found = [f"no row names the cause {each}" for each in set(CAUSES[1:]) - named(rows, 3)]
    found += [f"there is no cause {each}" for each in named(rows, 3) - set(CAUSES)]
    found += [f"no row names the fault {each}" for each in set(BY_NAME) - named(rows, 4)]
    found += [f"there is no fault {each}" for each in named(rows, 4) - set(BY_NAME)]
    hazards = " ".join(row[1].lower() for row in rows)
    found += [f"no row has the hazard: {kind}" for kind in KINDS if kind not in hazards]
    found += [f"{row[0]} names no test" for row in rows if not _CODE.findall(row[5])]
    found += [f"{row[0]} has no control" for row in rows if not row[2]]
    for test in sorted(tests):
        path, _, name = test.partition("::")
        there = known_tests(ROOT / path) if (ROOT / path).is_file() else {}
        if there.get(name, True):
            found.append(f"{test} is not there, or is not meant to pass")
    for path in SAFETY_TESTS:
        if path.name != Path(__file__).name:
            known = {f"{path.relative_to(ROOT)}::{name}" for name in known_tests(path)}
            found += [f"no row names the test {each}" for each in sorted(known - tests)]
    return found


TEXT = PAGE.read_text(encoding="utf-8")


def test_the_table_is_complete_both_ways() -> None:
    assert problems(TEXT) == []


@pytest.mark.parametrize("hazard", [row[0] for row in rows_of(TEXT)])
def test_a_row_that_is_removed_is_missed(hazard: str) -> None:
    lines = [line for line in TEXT.splitlines() if not line.startswith(f"| {hazard} |")]
    assert problems("\n".join(lines))


@pytest.mark.parametrize(
    ("there", "instead"),
    [
        ("`lease_lost`", "`lease_found`"),
        ("`host_flood`", "`host_drought`"),
        ("::test_what_an_escape_is`", "::test_what_no_escape_is`"),
        ("tests/safety/test_guard.py::", "tests/safety/test_gourd.py::"),
    ],
)
def test_a_name_that_is_wrong_is_found(there: str, instead: str) -> None:
    assert there in TEXT
    changed = TEXT.replace(there, instead)
    assert problems(changed)
