"""Mutation testing of the parts that decide over heat: `make mutation`, or `python -m tests.mutation safety pid`.

Each mutant (see `mutants`) is loaded in place of its module in a process of its own, and the module's tests are run on
it until one fails. Killed: a test failed, or the module could not even be loaded. A mutant that outlasts the time is no
kill. What survives is listed in docs/mutation.md, each with the reason in reasons.toml why no test can or need tell it.
What was found is kept (build/mutation), so that a call goes on where the last one ended, while the source is the same.
"""

import argparse
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import random
import select
import signal
import sys
import tomllib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from types import ModuleType

from rich.progress import Progress

from tests.mutation.mutants import Mutant, mutants

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "firmware" / "rfprobe_core"
PAGE = ROOT / "docs" / "mutation.md"
REASONS = Path(__file__).parent / "reasons.toml"
RESULTS = ROOT / "build" / "mutation"
LIMIT_s = 120.0
GOAL = 0.9

# The module's tests, those that find most first. The recording is last: it sees every change of any frame in a run.
RECORDED = "tests/runtimes/test_same_bytes.py::test_the_recording_is_made_by_the_sources_of_today"
TESTS: dict[str, tuple[str, ...]] = {
    "safety": ("test_safety", "test_constants", "test_integrity", "test_controller"),
    "pid": ("test_pid", "test_constants", "test_controller"),
    "power": ("test_power", "test_constants", "test_controller"),
    "sequence": ("test_sequence", "test_constants", "test_controller", "test_commands"),
    "governor": ("test_governor", "test_constants", "test_controller"),
    "protocol": (
        "test_protocol",
        "test_constants",
        "test_sequence",
        "test_commands",
        "test_reporter",
        "test_lines",
        "test_safety",
        "test_blackbox",
    ),
}
KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"
_NO_TESTS = 5
_USAGE = 4


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from the source it is given, and leaves all others alone."""

    def __init__(self, name: str, path: Path, source: str) -> None:
        self._name, self._path, self._source = name, path, source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, str(self._path), "exec"), module.__dict__)


class _Told:
    """A pytest plugin: the first test that failed."""

    def __init__(self) -> None:
        self.failed = ""

    def pytest_runtest_logreport(self, report: object) -> None:
        if getattr(report, "failed", False) and not self.failed:
            self.failed = str(getattr(report, "nodeid", ""))


def tests_of(name: str) -> list[str]:
    return [f"tests/unit/{each}.py" for each in TESTS[name]] + [RECORDED]


def _run_tests(name: str, source: str) -> tuple[int, str]:
    """Run the module's tests in this process, on this source of it."""
    import pytest

    sys.meta_path.insert(0, _Instead(f"rfprobe_core.{name}", CORE / f"{name}.py", source))
    told = _Told()
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "--hypothesis-seed=1"]
    code = int(pytest.main([*options, *tests_of(name)], plugins=[told]))
    return code, told.failed


def judge(name: str, source: str) -> tuple[str, str]:
    """(fate, the test that told) of a source of this module, in a process of its own."""
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reads)
        os.setsid()
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 1)
            os.dup2(nowhere.fileno(), 2)
        try:
            answer = (*_run_tests(name, source), _others())
        except BaseException as error:
            answer = (1, f"{type(error).__name__} while collecting", [])
        os.write(writes, json.dumps(answer).encode())
        os._exit(0)
    os.close(writes)
    ready, _, _ = select.select([reads], [], [], LIMIT_s)
    with os.fdopen(reads, "rb") as pipe:
        said = pipe.read() if ready else b""
    os.killpg(child, signal.SIGKILL) if _is_there(child) else None
    os.waitpid(child, 0)
    if not ready:
        return TIMED_OUT, ""
    code, failed, others = json.loads(said) if said else (1, "the process ended", [])
    _import_all(others)
    if code in (_NO_TESTS, _USAGE):
        raise SystemExit(f"{name}: pytest could not run its tests (exit {code})")
    return (SURVIVED, "") if code == 0 else (KILLED, failed or "cannot be loaded")


def _others() -> list[str]:
    """What is loaded here and is not ours: the next child finds it there."""
    return sorted(name for name in sys.modules if name.partition(".")[0] not in ("rfprobe", *_OURS))


_OURS = ("rfprobe_core", "rfprobe_drivers", "tests", "__main__", "onboard")


def _import_all(names: Sequence[str]) -> None:
    for name in names:
        if name not in sys.modules:
            with suppress(Exception):  # a part of a package that is not meant to be imported by itself
                importlib.import_module(name)


def _is_there(child: int) -> bool:
    try:
        os.killpg(child, 0)
    except ProcessLookupError:
        return False
    return True


@dataclass
class Kept:
    """What is known of a module's mutants, by their numbers; of another source of it nothing is."""

    name: str
    all: list[Mutant]
    fates: dict[int, tuple[str, str]]
    source: str

    @classmethod
    def of(cls, name: str) -> "Kept":
        source = (CORE / f"{name}.py").read_text(encoding="utf-8")
        mark = sha256(source.encode()).hexdigest()[:12]
        path = RESULTS / f"{name}.json"
        known = json.loads(path.read_text()) if path.exists() else {}
        same = known.get("source") == mark
        fates = {int(at): (fate, by) for at, (fate, by) in known["fates"].items()} if same else {}
        return cls(name, mutants(source), fates, mark)

    def write(self) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        known = {"source": self.source, "fates": {at: self.fates[at] for at in sorted(self.fates)}}
        (RESULTS / f"{self.name}.json").write_text(json.dumps(known))

    def count(self, fate: str) -> int:
        return sum(each == fate for each, _ in self.fates.values())

    @property
    def rate(self) -> float:
        return self.count(KILLED) / len(self.fates) if self.fates else 0.0


def examine(kept: Kept, most: int | None, seed: int, survivors: bool, progress: Progress) -> None:
    """Try mutants that were not tried yet, so many of them by chance; or those again that survived."""
    source = (CORE / f"{kept.name}.py").read_text(encoding="utf-8")
    fate, failed = judge(kept.name, source)
    if fate != SURVIVED:
        raise SystemExit(f"{kept.name}: its tests do not pass as it is: {failed or fate}")
    left = [at for at in range(len(kept.all)) if at not in kept.fates]
    if survivors:
        left = [at for at, (told, _) in kept.fates.items() if told != KILLED]
    random.Random(seed).shuffle(left)
    task = progress.add_task(kept.name, total=len(left[:most]))
    for at in left[:most]:
        kept.fates[at] = judge(kept.name, kept.all[at].source)
        kept.write()
        progress.advance(task)


def page() -> str:
    """docs/mutation.md, of the results that are kept."""
    reasons = tomllib.loads(REASONS.read_text(encoding="utf-8"))
    lines = [
        "# Mutation testing",
        "",
        "Made by `make mutation`: one small change at a time to the modules that decide over heat (`tests/mutation/`",
        "says which changes), each in a process of its own with the module's fast tests and the recorded run. A mutant",
        "that outlasts its time is no kill. Where only some were tried, they were drawn by chance, and the rate is",
        "that of the sample.",
        "",
        "| module | mutants | tried | killed | timed out | survived | kill rate |",
        "|---|---|---|---|---|---|---|",
    ]
    survivors: list[str] = []
    for name in TESTS:
        kept = Kept.of(name)
        if not kept.fates:
            lines.append(f"| `{name}.py` | {len(kept.all)} | 0 | | | | |")
            continue
        counts = " | ".join(str(kept.count(fate)) for fate in (KILLED, TIMED_OUT, SURVIVED))
        lines.append(f"| `{name}.py` | {len(kept.all)} | {len(kept.fates)} | {counts} | {kept.rate:.1%} |")
        left = [(at, fate) for at, (fate, _) in sorted(kept.fates.items()) if fate != KILLED]
        if left:
            survivors += ["", f"## What survives in `{name}.py`", "", "| line | change | reason |", "|---|---|---|"]
        for at, fate in left:
            mutant = kept.all[at]
            reason = reasons.get(name, {}).get(mutant.told, "**none yet**")
            told = mutant.told.replace("|", chr(92) + "|") + ("" if fate == SURVIVED else f" ({fate})")
            survivors.append(f"| {mutant.line} | `{told}` | {reason} |")
    return "\n".join(lines + survivors) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(TESTS)}; default: all")
    parser.add_argument("--most", type=int, metavar="N", help="only so many more mutants of each, drawn by chance")
    parser.add_argument("--survivors", action="store_true", help="those again that survived so far")
    parser.add_argument("--seed", type=int, default=1, help="of the draw")
    parser.add_argument("--page", action="store_true", help="only make the page again, of what is known")
    asked = parser.parse_args()
    unknown = [each for each in asked.modules if each not in TESTS]
    if unknown:
        parser.error(f"no such module: {', '.join(unknown)}")
    low: list[str] = []
    if not asked.page:
        _warm_up()
        with Progress() as progress:
            for name in asked.modules or TESTS:
                kept = Kept.of(name)
                examine(kept, asked.most, asked.seed, asked.survivors, progress)
                progress.print(f"{name}: {len(kept.fates)} of {len(kept.all)} mutants tried, {kept.rate:.1%} killed")
                low += [name] * (kept.rate < GOAL)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"the page is {PAGE.relative_to(ROOT)}")
    if low:
        raise SystemExit(f"below {GOAL:.0%}: {', '.join(low)}")


def _warm_up() -> None:
    """Import once what every child needs, but for ours; what is compiled is kept, apart from everything else."""
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(RESULTS / "pycache")
    for name in ("pytest", "hypothesis", "numpy", "pydantic", "cobs.cobs", "pytest_timeout", "xdist.plugin"):
        importlib.import_module(name)


if __name__ == "__main__":
    main()
