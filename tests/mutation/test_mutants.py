"""The mutator itself: each kind of change is made, one at a time, and one that no test tells is told as a survivor."""

import ast
import re
import tomllib

import pytest

from tests.mutation.__main__ import GOAL, NO_REASON, PAGE, REASONS
from tests.mutation.mutants import mutants
from tests.mutation.suite import OWN, changed_function


def changes(source: str) -> list[tuple[str, str]]:
    """(kind, the changed module) of each mutant."""
    return [(each.kind, each.source) for each in mutants(source)]


@pytest.mark.parametrize(
    ("source", "kind", "changed"),
    [
        ("x = 5", "number", "x = 6"),
        ("x = 'name'", "name", "x = 'mutatedname'"),
        ("x = True", "flag", "x = False"),
        ("y = a < b", "compare", "y = a <= b"),
        ("y = a >= b", "compare", "y = a > b"),
        ("y = a == b", "compare", "y = a != b"),
        ("y = a <= b <= c", "logic", "y = not a <= b <= c"),
        ("y = a + b", "arithmetic", "y = a - b"),
        ("y = a // b", "arithmetic", "y = a * b"),
        ("y = a << b", "arithmetic", "y = a >> b"),
        ("y = -a", "arithmetic", "y = a"),
        ("y = a and b", "logic", "y = a or b"),
        ("y = not a", "logic", "y = a"),
        ("y += a", "left out", "pass"),
        ("a.b = c", "left out", "pass"),
        ("a[0] = c", "left out", "pass"),
        ("a.b()", "left out", "pass"),
    ],
)
def test_each_kind_of_change(source: str, kind: str, changed: str) -> None:
    assert (kind, changed) in changes(source)


def test_a_condition_becomes_its_contrary() -> None:
    assert ("logic", "if not a:\n    b()") in changes("if a:\n    b()")


@pytest.mark.parametrize(
    "source",
    [
        '"""What it is."""',
        "from a import b",
        "__all__ = ('a', 'b')",
        "x = 'words for people'",
        "x = y",
    ],
)
def test_what_is_left_as_it_is(source: str) -> None:
    assert changes(source) == []


def test_a_limiter_is_only_turned_into_its_contrary() -> None:
    for source in ("if x > most:\n    x = most", "y = x if x < most else most"):
        assert [kind for kind, _ in changes(source)] == ["logic"]
    assert {kind for kind, _ in changes("y = 0 if x < most else most")} == {"compare", "logic", "number"}


def test_one_place_differs_and_the_rest_is_the_same() -> None:
    source = "TABLE = (('a', 1, 2), ('b', 3, 4))\ndef f(x):\n    return x + 1 if x > 2 else 0\n"
    made = mutants(source)
    assert len({each.source for each in made}) == len(made) == 12
    plain = ast.unparse(ast.parse(source)).splitlines()
    for each in made:
        differing = [now for now, was in zip(each.source.splitlines(), plain, strict=True) if now != was]
        assert len(differing) == 1, each.told
    assert sorted(each.line for each in made) == [1] * 6 + [3] * 6


PLAIN = """
LIMIT = 5
class Loop:
    gain = 2
    def step(self, x, most=9):
        return x + 1 if x < most else most
def each(values):
    return [value + 3 for value in values]
"""


@pytest.mark.parametrize(
    ("change", "function"),
    [
        (("x + 1", "x - 1"), "Loop.step"),
        (("x < most", "x <= most"), "Loop.step"),
        (("LIMIT = 5", "LIMIT = 6"), None),
        (("gain = 2", "gain = 3"), None),
        (("most=9", "most=10"), None),
        (("value + 3", "value + 4"), None),
    ],
)
def test_only_what_differs_inside_one_function_is_put_in_place_of_it(
    change: tuple[str, str], function: str | None
) -> None:
    """Anything else may be in the tables of other modules by then: that is loaded anew."""
    mutated = compile(PLAIN.replace(*change), "x", "exec")
    found = changed_function(compile(PLAIN, "x", "exec"), mutated)
    assert (found and found[0]) == function


# The page that was made


def _page() -> str:
    return PAGE.read_text(encoding="utf-8")


def test_every_module_is_tried_whole_and_told_well_enough() -> None:
    rows = re.findall(r"^\| `(\w+)\.py` \| \w+ \| (\d+) \| (\d+) \| (\d+) \|", _page(), re.MULTILINE)
    assert {name for name, *_ in rows} == set(OWN)
    for name, all_of_them, tried, killed in rows:
        assert all_of_them == tried, name
        assert int(killed) >= GOAL * int(tried), name


def test_every_survivor_has_its_reason_and_every_reason_its_survivor() -> None:
    page = _page()
    assert NO_REASON not in page
    reasons = tomllib.loads(REASONS.read_text(encoding="utf-8"))
    told = {
        told.replace(chr(92) + "|", "|") for told in re.findall(r"^\| \d+ \| `(.+?)`(?: \|| \()", page, re.MULTILINE)
    }
    for name, each in reasons.items():
        stale = [words for words in each if not any(words in one for one in told)]
        assert stale == [], f"{name}: no such survivor any more"
