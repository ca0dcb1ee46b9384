"""What holds for the repository as a whole: nothing of one machine in it, pins with hashes, named targets.

The patterns are written so that this file does not hold what they look for.
"""

import ast
import re
import subprocess
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]

# A path that is right to name, and why: {(file, matched text): reason}.
JUSTIFIED_PATHS: dict[tuple[str, str], str] = {}

# Folders in which one machine's own things lie. After a word, a dot or a slash it is part of something else.
MACHINE_PATH = re.compile(r"(?<![\w.~}*/-])/(?:work|root|home|tmp|opt|Users|mnt/[a-z])/[\w.@+-]*|\b[A-Z]:\\Users\\")

# Hosts that serve packages.
REGISTRY_HOST = re.compile(
    r"\b(?:"
    r"(?:test\.)?pypi\.(?:org|python\.org)|(?:files\.)?pythonhosted\.org|piwheels\.org|"
    r"registry\.(?:npmjs\.org|yarnpkg\.com)|npmjs\.com|"
    r"(?:deb|security|ftp|snapshot)\.debian\.org|archive\.ubuntu\.com|"
    r"(?:static\.|index\.)?crates\.io|proxy\.golang\.org|repo\.maven\.apache\.org|repo1\.maven\.org|"
    r"(?:repo|conda)\.anaconda\.(?:com|org)|rubygems\.org"
    r")\b"
)
# Words that mark work left undone.
UNDONE = re.compile(r"\b(?:TO[D]O|FIX[M]E|X[X]X)\b")

REQUIREMENT_FILES = sorted((ROOT / "requirements").glob("*.txt"))


@pytest.fixture(scope="module")
def files(require_tool: Callable[[str, str], Path]) -> list[Path]:
    """Every file that git tracks."""
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout: its files are looked through")
    git = require_tool("git", "to list the repository's files")
    listed = subprocess.run([git, "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    tracked = [ROOT / name for name in listed.split("\0") if name]
    assert tracked, "git tracks nothing yet: `git add` first"
    return [path for path in tracked if path.is_file()]


def lines_matching(files: list[Path], pattern: re.Pattern[str]) -> Iterator[tuple[str, int, str]]:
    """(file, line number, matched text) of every match in the text files."""
    for path in files:
        content = path.read_bytes()
        if b"\0" in content:  # a picture, a session: no text
            continue
        name = path.relative_to(ROOT).as_posix()
        for number, line in enumerate(content.decode().splitlines(), start=1):
            for match in pattern.finditer(line):
                yield name, number, match.group()


@pytest.mark.parametrize(
    ("pattern", "examples", "harmless"),
    [
        (
            MACHINE_PATH,
            [
                "/wo" + "rk/main/x",
                "see /ro" + "ot/.cache",
                '"/ho' + 'me/me/a"',
                "=/t" + "mp/x",
                "/t" + "mp/ is",
            ],
            ["docs/work/a", "./tmp/b", "~/home/c", "/dev/ttyACM0", "/usr/share", "https://a.b/home/c"],
        ),
        (
            REGISTRY_HOST,
            ["https://py" + "pi.org/simple", "files.python" + "hosted.org", "registry.npm" + "js.org"],
            ["from PyPI", "debian.org/doc", "micropython.org"],
        ),
        (UNDONE, ["# TO" + "DO: later", "FIX" + "ME"], ["todos", "mktemp XXXXXX", "fixed"]),
    ],
    ids=["path", "host", "undone"],
)
def test_the_patterns_find_what_they_should(pattern: re.Pattern[str], examples: list[str], harmless: list[str]) -> None:
    assert [text for text in examples if not pattern.search(text)] == []
    assert [text for text in harmless if pattern.search(text)] == []


def test_no_file_names_a_path_of_one_machine(files: list[Path]) -> None:
    found = [hit for hit in lines_matching(files, MACHINE_PATH) if (hit[0], hit[2]) not in JUSTIFIED_PATHS]
    assert found == []


def test_every_justified_path_is_still_there(files: list[Path]) -> None:
    there = {(name, text) for name, _, text in lines_matching(files, MACHINE_PATH)}
    assert JUSTIFIED_PATHS.keys() - there == set()


def test_no_file_names_a_package_registry(files: list[Path]) -> None:
    assert list(lines_matching(files, REGISTRY_HOST)) == []


def test_nothing_is_marked_as_undone(files: list[Path]) -> None:
    assert list(lines_matching(files, UNDONE)) == []


def silent_handlers(source: str) -> list[int]:
    """Line numbers of the `except` clauses that do nothing at all."""
    handlers = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ExceptHandler)]
    return [node.lineno for node in handlers if all(_does_nothing(statement) for statement in node.body)]


def _does_nothing(statement: ast.stmt) -> bool:
    is_constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return isinstance(statement, ast.Pass) or is_constant


def test_silent_handlers_are_found() -> None:
    body = "try:\n    f()\nexcept {}\n    {}\n"
    silent = [("OSError:", "pass"), (":", "pass"), ("ValueError as e:", "..."), (":", "'why not'; pass")]
    assert [silent_handlers(body.format(*case)) for case in silent] == [[3]] * len(silent)
    assert silent_handlers(body.format("OSError:", "lost += 1")) == []


def test_no_error_is_swallowed(files: list[Path]) -> None:
    sources = [path for path in files if path.suffix == ".py"]
    found = {path.relative_to(ROOT).as_posix(): silent_handlers(path.read_text(encoding="utf-8")) for path in sources}
    assert {name: lines for name, lines in found.items() if lines} == {}


def test_make_help_lists_every_target(require_tool: Callable[[str, str], Path]) -> None:
    make = require_tool("make", "to ask it for its targets")
    rules = re.findall(r"^([a-z][\w-]*):(?!=)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    told = subprocess.run([make, "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.findall(r"^  make (\S+) +\S", told, re.MULTILINE) == rules
    assert {"help", "setup", "demo", "unit", "test"} <= set(rules)


def requirements_in(path: Path) -> dict[str, tuple[Requirement, list[str]]]:
    """{name: (requirement, its hashes)} of one locked file."""
    found: dict[str, tuple[Requirement, list[str]]] = {}
    for entry in path.read_text(encoding="utf-8").replace("\\\n", " ").splitlines():
        pin, *hashes = entry.split("--hash=")
        if not pin.startswith("#"):
            requirement = Requirement(pin.strip())
            found[canonicalize_name(requirement.name)] = (requirement, [digest.strip() for digest in hashes])
    return found


def pinned_version(requirement: Requirement) -> str:
    (only,) = requirement.specifier
    assert only.operator == "==", requirement
    return only.version


def test_there_are_locked_files() -> None:
    assert {path.stem for path in REQUIREMENT_FILES} == {
        "build",
        "dev",
        "lock",
        "peer",
        "runtime",
        "typings-esp32",
        "typings-rp2",
    }


@pytest.mark.parametrize("path", REQUIREMENT_FILES, ids=lambda path: path.name)
def test_requirements_are_pinned_and_hashed_and_name_no_place(path: Path) -> None:
    locked = requirements_in(path)
    assert locked
    for requirement, hashes in locked.values():
        assert pinned_version(requirement)
        assert requirement.url is None
        assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), requirement
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"://|^ *-[^-]\S*|^ *--(?!hash=)\S*|\bfile:", text, re.MULTILINE) == []


def test_the_locked_files_fit_the_project_and_each_other() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    groups = project["dependency-groups"]
    runtime = [*project["project"]["dependencies"], *groups["build"]]
    extras = [line for lines in project["project"]["optional-dependencies"].values() for line in lines]
    wanted = {
        "runtime": runtime,
        "dev": [*runtime, *extras],
        "build": groups["build"],
        "lock": groups["lock"],
        "typings-rp2": groups["typings-rp2"],
        "typings-esp32": groups["typings-esp32"],
        "peer": groups["peer"],
    }
    locked = {name: requirements_in(ROOT / "requirements" / f"{name}.txt") for name in wanted}
    for name, lines in wanted.items():
        for want in map(Requirement, lines):
            pin, _ = locked[name][canonicalize_name(want.name)]
            assert want.specifier.contains(pinned_version(pin)), f"requirements/{name}.txt: {pin} is not {want}"
    for name, (pin, hashes) in locked["runtime"].items():
        tested_pin, tested_hashes = locked["dev"][name]
        assert (pin.specifier, hashes) == (tested_pin.specifier, tested_hashes)
