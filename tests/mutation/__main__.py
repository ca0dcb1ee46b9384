"""Mutation testing of the parts that decide over heat: `make mutation`, or `python -m tests.mutation safety pid`.

Each mutant (see `mutants`) takes the place of its module in a process of its own, and tests are run on it until one
fails (see `suite`). Killed: a test failed, or the module could not even be loaded. A mutant that outlasts its time is
no kill. What survives is listed in docs/mutation.md, each with the reason in reasons.toml why no test can or need tell
it. What was found is kept (build/mutation) while the module and what told are the same, so that a call goes on
where the last one ended.
"""

import argparse
import json
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rich.progress import Progress

from tests.mutation.mutants import Mutant, mutants
from tests.mutation.suite import (
    CORE,
    KILLED,
    LEFT_OUT,
    OWN,
    RESULTS,
    ROOT,
    SURVIVED,
    TIMED_OUT,
    Task,
    digest_of,
    proof_of,
    try_all,
    warm_up,
)

PAGE = ROOT / "docs" / "mutation.md"
REASONS = Path(__file__).parent / "reasons.toml"
GOAL = 0.9


@dataclass
class Kept:
    """What is known of a module's mutants, by their numbers; of another source of it nothing is.

    A kill stands while the test that told is the same, a survivor while all tests are. `hints` are the tests that told
    of a mutant (by its words) last time, whatever has changed since: they go first.
    """

    name: str
    all: list[Mutant]
    fates: dict[int, tuple[str, str, str]]  # fate, the test that told, and what both are worth: see `_worth`
    hints: dict[str, str]
    source: str

    @classmethod
    def of(cls, name: str) -> "Kept":
        path = CORE / f"{name}.py"
        source = digest_of([path])
        results = RESULTS / f"{name}.json"
        known = json.loads(results.read_text()) if results.exists() else {}
        fates = known["fates"] if known.get("source") == source else {}
        standing = {int(at): (fate, by, worth) for at, (fate, by, worth) in fates.items() if worth == _worth(fate, by)}
        return cls(name, mutants(path.read_text(encoding="utf-8")), standing, known.get("hints", {}), source)

    def take(self, at: int, fate: str, by: str) -> None:
        self.fates[at] = (fate, by, _worth(fate, by))
        if by:
            self.hints[self._key(at)] = by

    def hints_by_number(self) -> dict[int, str]:
        return {at: self.hints.get(self._key(at), "") for at in range(len(self.all))}

    def _key(self, at: int) -> str:
        return f"{self.all[at].kind} {self.all[at].told}"

    def left(self) -> list[int]:
        return [at for at in range(len(self.all)) if at not in self.fates]

    def write(self) -> None:
        RESULTS.mkdir(parents=True, exist_ok=True)
        known = {
            "source": self.source,
            "fates": {at: self.fates[at] for at in sorted(self.fates)},
            "hints": self.hints,
        }
        (RESULTS / f"{self.name}.json").write_text(json.dumps(known))

    def count(self, fate: str) -> int:
        return sum(each == fate for each, *_ in self.fates.values())

    @property
    def rate(self) -> float:
        return self.count(KILLED) / len(self.fates) if self.fates else 0.0


@cache
def _worth(fate: str, by: str) -> str:
    return proof_of(by if fate == KILLED else "")


def examine(all_kept: Sequence[Kept], most: int | None, workers: int, progress: Progress) -> None:
    """Try mutants that were not tried yet, at most so many of each module."""
    by_name = {kept.name: kept for kept in all_kept}
    tasks = [Task(kept.name, kept.all, kept.left()[:most], kept.hints_by_number()) for kept in all_kept]
    tasks = [task for task in tasks if task.left]
    bars = {task.name: progress.add_task(task.name, total=len(task.left)) for task in tasks}

    def found(name: str, at: int, fate: str, by: str) -> None:
        by_name[name].take(at, fate, by)
        by_name[name].write()
        progress.advance(bars[name])

    if tasks:
        try_all(tasks, workers, found)


def page() -> str:
    """docs/mutation.md, of the results that are kept."""
    reasons = tomllib.loads(REASONS.read_text(encoding="utf-8"))
    lines = [
        "# Mutation testing",
        "",
        "Made by `make mutation`: one small change at a time to the modules that decide over heat (`tests/mutation/`",
        "says which changes), each in a process of its own with the tests of `tests/unit` that run what was changed",
        f"(but for {' and '.join(f'`{each}`' for each in LEFT_OUT)}) and the recorded runs. A mutant that outlasts its",
        "time is no kill. `make mutation FILES=pid` tries one module again.",
        "",
        "| module | as of | mutants | tried | killed | timed out | survived | kill rate |",
        "|---|---|---|---|---|---|---|---|",
    ]
    survivors: list[str] = []
    for name in OWN:
        kept = Kept.of(name)
        if not kept.fates:
            lines.append(f"| `{name}.py` | {kept.source} | {len(kept.all)} | 0 | | | | |")
            continue
        counts = " | ".join(str(kept.count(fate)) for fate in (KILLED, TIMED_OUT, SURVIVED))
        tried = f"{len(kept.all)} | {len(kept.fates)}"
        lines.append(f"| `{name}.py` | {kept.source} | {tried} | {counts} | {kept.rate:.1%} |")
        left = [(at, fate) for at, (fate, *_) in sorted(kept.fates.items()) if fate != KILLED]
        if left:
            survivors += ["", f"## What survives in `{name}.py`", "", "| line | change | reason |", "|---|---|---|"]
        for at, fate in left:
            mutant = kept.all[at]
            reason = reasons.get(name, {}).get(mutant.told, NO_REASON)
            told = mutant.told.replace("|", chr(92) + "|") + ("" if fate == SURVIVED else f" ({fate})")
            survivors.append(f"| {mutant.line} | `{told}` | {reason} |")
    return "\n".join(lines + survivors) + "\n"


NO_REASON = "**none yet**"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=f"of {', '.join(OWN)}; default: all")
    parser.add_argument("--most", type=int, metavar="N", help="only so many more mutants of each")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="forks at a time")
    parser.add_argument("--page", action="store_true", help="only make the page again, of what is known")
    asked = parser.parse_args()
    unknown = [each for each in asked.modules if each not in OWN]
    if unknown:
        parser.error(f"no such module: {', '.join(unknown)}")
    low: list[str] = []
    if not asked.page:
        warm_up()
        all_kept = [Kept.of(name) for name in asked.modules or OWN]
        with Progress() as progress:
            examine(all_kept, asked.most, asked.workers, progress)
        for kept in all_kept:
            print(f"{kept.name}: {len(kept.fates)} of {len(kept.all)} mutants tried, {kept.rate:.1%} killed")
            low += [kept.name] * (kept.rate < GOAL)
    PAGE.write_text(page(), encoding="utf-8")
    print(f"the page is {PAGE.relative_to(ROOT)}")
    if low:
        raise SystemExit(f"below {GOAL:.0%}: {', '.join(low)}")


if __name__ == "__main__":
    main()
