"""The tests, collected once in a process of its own, which is forked for each mutant.

A mutant that differs inside one function has that function's code put in the place of the real one, in a fork that has
everything imported and collected; then the tests that run this function are run, those that find most first. What else
a module has (its tables, its constants) is in half the project by then: such a mutant is loaded in place of the module
in a fork that has imported nothing of the project, and the tests are collected anew, the module's own first.

A fork may use so much CPU time and no more; one that does is timed out, which is no kill.
"""

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import islice
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any

from tests.mutation.mutants import Mutant

ROOT = Path(__file__).resolve().parents[2]
CORE = ROOT / "firmware" / "rfprobe_core"
RESULTS = ROOT / "build" / "mutation"
PYCACHE = RESULTS / "pycache"
COVERAGE = RESULTS / "coverage.json"

KILLED, SURVIVED, TIMED_OUT = "killed", "survived", "timed out"
NOT_LOADED = "cannot be loaded"
ONE_TEST_CPU_s = 6.0  # besides ten times what it usually takes
COLLECTED_ANEW_CPU_s = 45
STUCK_AFTER_s = 600.0

# What takes long, and tells of mutants only what others tell sooner: the bounds of all intermediates, and the tests
# of a test.
LEFT_OUT = ("test_bounds", "test_a_planted_hole_is_found")
RECORDED = "tests/runtimes/test_same_bytes.py::test_the_recording_is_made_by_the_sources_of_today"

# The tests of a module that are collected anew for its mutants: its own, which are tried first, and after the
# recordings those of what uses its tables and constants most.
OWN: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "safety": (("test_safety", "test_constants", "test_integrity"), ("test_controller", "test_commands", "test_modes")),
    "pid": (("test_pid", "test_constants"), ("test_controller", "test_modes")),
    "power": (("test_power", "test_constants"), ("test_controller", "test_kernels", "test_modes")),
    "sequence": (("test_sequence", "test_constants"), ("test_controller", "test_commands", "test_modes")),
    "governor": (("test_governor", "test_constants"), ("test_controller",)),
    "protocol": (
        ("test_protocol", "test_constants", "test_reporter"),
        ("test_commands", "test_lines", "test_sequence", "test_safety", "test_blackbox", "test_controller"),
    ),
}

Found = Callable[[str, int, str, str], None]
"""Called with a module's name, its mutant's number, its fate, and the test that told."""
Say = Callable[[Any], None]
Work = Callable[[Say], None]


@dataclass
class Task:
    """Mutants of a module that are to be tried; `hints` are the tests that told of them last time."""

    name: str
    mutants: Sequence[Mutant]
    left: Sequence[int]
    hints: Mapping[int, str]

    @property
    def path(self) -> str:
        return str(CORE / f"{self.name}.py")


def digest_of(paths: Iterable[Path]) -> str:
    content = sha256()
    for path in paths:
        content.update(path.name.encode() + path.read_bytes())
    return content.hexdigest()[:12]


def tests_files() -> list[Path]:
    """What the fates of mutants depend on, besides the sources."""
    folders = (ROOT / "tests" / "unit", ROOT / "tests" / "runtimes" / "data")
    return [path for folder in folders for path in sorted(folder.glob("*.*"))]


def proof_of(by: str) -> str:
    """Of what a kill is worth: the test that told (a node of pytest), and what its file has besides tests.

    Other tests may come, go and change, and a mutant that this one has killed is killed.
    """
    if by == NOT_LOADED:
        return "by its source alone"
    path, _, rest = by.partition("::")
    if not rest or not (ROOT / path).exists():
        return digest_of(tests_files())
    test = rest.partition("[")[0].partition("::")[0]
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    others = [each for each in tree.body if not getattr(each, "name", "").startswith("test_")]
    own = [each for each in tree.body if getattr(each, "name", "") == test]
    return sha256("\n".join(ast.unparse(each) for each in own + others).encode()).hexdigest()[:12] if own else ""


def unit_tests() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in (ROOT / "tests" / "unit").glob("test_*.py"))


def _options() -> list[str]:
    return ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-o", "timeout=0", *_left_out()]


def _left_out() -> list[str]:
    return ["-k", " and ".join(f"not {each}" for each in LEFT_OUT), "-m", "not long"]


def warm_up() -> None:
    """Import once what every fork needs, but for ours; what is compiled is kept, apart from everything else."""
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(PYCACHE)
    for name in ("pytest", "hypothesis.stateful", "numpy", "pydantic", "cobs.cobs", "pytest_timeout", "xdist.plugin"):
        importlib.import_module(name)
    from hypothesis import Phase, settings

    # The same examples for each mutant; a failure is not made smaller, as nobody will read it. The profile of the tests
    # takes all this over, as it is made out of the one that is loaded.
    settings.register_profile(
        "mutation", deadline=None, database=None, derandomize=True, phases=(Phase.explicit, Phase.generate)
    )
    settings.load_profile("mutation")


# ---- forks -----------------------------------------------------------------------------------------------------------


@dataclass
class Fork:
    """A child process that says one thing and ends."""

    child: int
    pipe: int
    began: float


def fork(work: Work) -> Fork:
    """Do `work` in a child; it is given what says the answer and ends the child."""
    reads, writes = os.pipe()
    child = os.fork()
    if child:
        os.close(writes)
        return Fork(child, reads, time.monotonic())
    os.close(reads)
    os.setsid()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)

    def say(answer: Any) -> None:
        os.write(writes, json.dumps(answer).encode())
        os._exit(0)

    try:
        work(say)
    except BaseException as error:
        say([KILLED, f"{type(error).__name__} while it was loaded"])
    os._exit(1)


def answer_of(forked: Fork) -> Any:
    """What it said; None where it came to nothing."""
    with os.fdopen(forked.pipe, "rb") as pipe:
        said = pipe.read()
    with suppress(ProcessLookupError):
        os.killpg(forked.child, signal.SIGKILL)
    os.waitpid(forked.child, 0)
    return json.loads(said) if said else None


def _side_by_side(jobs: Iterable[tuple[str, int, Work]], most: int, found: Found) -> None:
    """Do the jobs in forks, so many at a time."""
    running: dict[int, tuple[str, int, Fork]] = {}
    waiting = iter(jobs)
    while True:
        for name, at, work in islice(waiting, most - len(running)):
            forked = fork(work)
            running[forked.pipe] = (name, at, forked)
        if not running:
            return
        ready, _, _ = select.select(list(running), [], [], 1.0)
        for pipe in ready:
            name, at, forked = running.pop(pipe)
            found(name, at, *(answer_of(forked) or (TIMED_OUT, "")))
        for _, _, forked in running.values():
            if time.monotonic() - forked.began > STUCK_AFTER_s:
                with suppress(ProcessLookupError):
                    os.killpg(forked.child, signal.SIGKILL)


# ---- which mutants differ inside one function ------------------------------------------------------------------------


def _codes(code: CodeType) -> dict[str, CodeType]:
    """A module's or a function's code and all that is in it, by qualified name."""
    found = {code.co_qualname if code.co_name != "<module>" else "": code}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _codes(constant)
    return found


def _essence(code: CodeType) -> tuple[object, ...]:
    """What a code object itself does, without what is nested in it and without places in the text."""
    constants = tuple((type(each).__name__, each) for each in code.co_consts if not isinstance(each, CodeType))
    return code.co_code, constants, code.co_names, code.co_varnames, code.co_freevars


def changed_function(plain: CodeType, mutated: CodeType) -> tuple[str, CodeType] | None:
    """The one function whose code differs, and its new code; None where something else does, or something nested."""
    before, after = _codes(plain), _codes(mutated)
    if before.keys() != after.keys():
        return None
    differing = [name for name, code in before.items() if _essence(code) != _essence(after[name])]
    if len(differing) != 1 or not differing[0] or "<" in differing[0]:
        return None
    nested = any(isinstance(each, CodeType) for each in after[differing[0]].co_consts)
    return None if nested else (differing[0], after[differing[0]])


def _live(module: ModuleType, qualname: str) -> FunctionType:
    owner: object = module
    *path, last = qualname.split(".")
    for part in path:
        owner = vars(owner)[part]
    made = vars(owner)[last]
    assert isinstance(made, FunctionType), qualname
    return made


# ---- a process with everything collected -----------------------------------------------------------------------------


@dataclass
class _Test:
    """What is known of a test from running it once on the modules as they are: `lines` are numbers by path."""

    item: Any
    took_s: float
    lines: dict[str, frozenset[int]]


def _frozen(lines: Mapping[str, Collection[int]]) -> dict[str, frozenset[int]]:
    return {path: frozenset(each) for path, each in lines.items()}


class _Loop:
    """A pytest plugin that, in place of running the tests, tries the mutants on them.

    What differs in more than one function, or in one that ran while the tests were collected, is left in `remaining`.
    """

    def __init__(self, tasks: Sequence[Task], most: int, found: Found) -> None:
        self.tasks = tasks
        self.remaining: dict[str, list[int]] = {}
        self._most = most
        self._found = found
        self._paths = frozenset(task.path for task in tasks)
        self._entered: set[tuple[str, str]] = set()
        self._tests: list[_Test] = []

    def watch(self) -> None:
        """From here on, what of the modules is called is noted."""

        def profile(frame: FrameType, event: str, _arg: object) -> None:
            if event == "call" and frame.f_code.co_filename in self._paths:
                self._entered.add((frame.f_code.co_filename, frame.f_code.co_qualname))

        sys.setprofile(profile)

    def pytest_runtestloop(self, session: Any) -> bool:
        sys.setprofile(None)
        if session.testsfailed:
            raise SystemExit("the tests cannot be collected")
        self._tests = self._run_all_once(session.items)
        _side_by_side([job for task in self.tasks for job in self._jobs(task)], self._most, self._found)
        return True

    def _run_all_once(self, items: Sequence[Any]) -> list[_Test]:
        """In forks: what each test takes, and which lines of the modules it runs. One that fails ends everything."""
        digest = digest_of([*(Path(path) for path in sorted(self._paths)), *tests_files()])
        if COVERAGE.exists():
            kept = json.loads(COVERAGE.read_text())
            known = {nodeid: (took_s, lines) for nodeid, took_s, lines in kept["tests"]}
            if kept["digest"] == digest and known.keys() == {item.nodeid for item in items}:
                return [_Test(item, known[item.nodeid][0], _frozen(known[item.nodeid][1])) for item in items]
        tests = self._measured(items)
        told = [
            (test.item.nodeid, test.took_s, {path: sorted(each) for path, each in test.lines.items()}) for test in tests
        ]
        COVERAGE.write_text(json.dumps({"digest": digest, "tests": told}))
        return tests

    def _measured(self, items: Sequence[Any]) -> list[_Test]:
        parts = [items[start :: self._most] for start in range(self._most)]
        forks = [fork(lambda say, part=part: say([_traced(item, self._paths) for item in part])) for part in parts]
        known: list[_Test] = []
        for part, forked in zip(parts, forks, strict=True):
            told = answer_of(forked)
            if not told or isinstance(told[0], str):
                raise SystemExit(f"the tests do not run as it is: {told}")
            for item, (failed, took_s, lines) in zip(part, told, strict=True):
                if failed:
                    raise SystemExit(f"a test fails as it is: {item.nodeid}")
                known.append(_Test(item, took_s, _frozen(lines)))
        return known

    def _jobs(self, task: Task) -> list[tuple[str, int, Work]]:
        plain = compile(_unparsed(task.path), task.path, "exec")
        jobs: list[tuple[str, int, Work]] = []
        for at in task.left:
            changed = changed_function(plain, compile(task.mutants[at].source, task.path, "exec"))
            if changed is None or (task.path, changed[0]) in self._entered:
                self.remaining.setdefault(task.name, []).append(at)
            else:
                jobs.append((task.name, at, self._job(task, at, *changed)))
        return jobs

    def _job(self, task: Task, at: int, qualname: str, code: CodeType) -> Work:
        real = _live(sys.modules[f"rfprobe_core.{task.name}"], qualname)
        lines = {line for _, _, line in real.__code__.co_lines() if line is not None} - {real.__code__.co_firstlineno}
        chosen = [(test, test.lines.get(task.path, frozenset())) for test in self._tests]
        chosen = [(test, seen) for test, seen in chosen if seen & lines]
        line, hint = task.mutants[at].line, task.hints.get(at, "")
        chosen.sort(key=lambda each: (each[0].item.nodeid != hint, line not in each[1], each[0].took_s))

        def work(say: Say) -> None:
            real.__code__ = code
            for test, _ in chosen:
                signal.signal(signal.SIGPROF, lambda *_, test=test: say([TIMED_OUT, test.item.nodeid]))
                signal.setitimer(signal.ITIMER_PROF, ONE_TEST_CPU_s + 10 * test.took_s)
                if _fails(test.item):
                    say([KILLED, test.item.nodeid])
            say([SURVIVED, ""])

        return work


def _unparsed(path: str) -> str:
    return ast.unparse(ast.parse(Path(path).read_text(encoding="utf-8")))


def _fails(item: Any) -> bool:
    from _pytest.runner import runtestprotocol

    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=None))


def _traced(item: Any, paths: Collection[str]) -> tuple[bool, float, dict[str, list[int]]]:
    """(whether it failed, seconds of CPU, the lines that it ran by path) of a test."""
    lines: dict[str, set[int]] = {path: set() for path in paths}

    def inside(frame: FrameType, event: str, _arg: object) -> Any:
        if event == "line":
            lines[frame.f_code.co_filename].add(frame.f_lineno)
        return inside

    def outside(frame: FrameType, _event: str, _arg: object) -> Any:
        return inside if frame.f_code.co_filename in paths else None

    began = time.process_time()
    sys.settrace(outside)
    try:
        failed = _fails(item)
    finally:
        sys.settrace(None)
    return failed, time.process_time() - began, {path: sorted(each) for path, each in lines.items() if each}


# ---- a process that collects anew ------------------------------------------------------------------------------------


class _Instead(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Loads one module from the source it is given, and leaves all others alone."""

    def __init__(self, name: str, source: str) -> None:
        self._name, self._path, self._source = f"rfprobe_core.{name}", CORE / f"{name}.py", source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, self._path, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        exec(compile(self._source, str(self._path), "exec"), module.__dict__)


@dataclass
class _Told:
    """A pytest plugin: the first test that failed."""

    failed: str = ""
    modules: list[str] = field(default_factory=list[str])

    def pytest_runtest_logreport(self, report: Any) -> None:
        if report.failed and not self.failed:
            self.failed = report.nodeid


def _anew(name: str, source: str, hint: str = "") -> Work:
    """The module's tests on this source of it: the file that told last time, its own, the recordings, and others."""
    own, others = ([f"tests/unit/{each}.py" for each in names] for names in OWN[name])
    told_last = hint.partition("::")[0]
    # the whole file: of a single test in one that cannot be imported pytest says that it is not there
    stages = [[told_last]] if told_last in own + others else []
    stages += [own[:1], own[1:], [RECORDED], others]

    def work(say: Say) -> None:
        import pytest

        resource.setrlimit(resource.RLIMIT_CPU, (COLLECTED_ANEW_CPU_s, COLLECTED_ANEW_CPU_s + 5))
        signal.signal(signal.SIGXCPU, lambda *_: say([TIMED_OUT, ""]))
        sys.meta_path.insert(0, _Instead(name, source))
        for stage in stages:
            told = _Told()
            code = int(pytest.main([*_options(), *stage], plugins=[told]))
            if told.failed or code in (_INTERRUPTED, _INTERNAL_ERROR):
                say([KILLED, told.failed or NOT_LOADED])
        say([SURVIVED, ""])

    return work


_INTERRUPTED, _INTERNAL_ERROR = 2, 3


# ---- both ------------------------------------------------------------------------------------------------------------


def try_all(tasks: Sequence[Task], most: int, found: Found) -> None:
    """Try these mutants, so many at a time; says what is found as it is found."""
    reads, writes = os.pipe()

    def tell(*fate: object) -> None:
        os.write(writes, (json.dumps(fate) + "\n").encode())

    def work(say: Say) -> None:
        import pytest

        loop = _Loop(tasks, most, tell)
        loop.watch()
        code = int(pytest.main([*_options(), *unit_tests(), RECORDED], plugins=[loop]))
        say([code, loop.remaining])

    collected = fork(work)
    os.close(writes)
    with os.fdopen(reads) as lines:
        for line in lines:
            found(*json.loads(line))
    told = answer_of(collected)
    if not told or told[0] not in (0, 5):
        raise SystemExit(f"the tests do not pass as it is, or cannot be collected: {told}")
    anew: dict[str, list[int]] = told[1]
    _side_by_side(
        [
            (task.name, at, _anew(task.name, task.mutants[at].source, task.hints.get(at, "")))
            for task in tasks
            for at in anew.get(task.name, [])
        ],
        most,
        found,
    )
