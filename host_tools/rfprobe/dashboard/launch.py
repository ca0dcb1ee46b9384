"""`rfprobe run` for the operator of a dashboard, in a process of its own: what heats does not hang on a web server.

The process asks before it arms, and stops when this one hangs up or dies (see `rfprobe.attended`).
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, cast

from rfprobe.attended import YES
from rfprobe.errors import ExitCode
from rfprobe.words import cause_sentence, result_title

ANSWER_WITHIN_s: Final = 120.0
_LAST_LINES = 6


@dataclass
class Asked:
    """What the device understood, to be confirmed."""

    title: str
    device: str
    rows: list[tuple[str, str]]
    confirmed: str
    warnings: list[str]
    at_s: float = field(default_factory=time.monotonic)


class Launch:
    """One run, from the click to its end. `phase`: configuring, confirm, running, ended."""

    def __init__(self, arguments: Sequence[str]) -> None:
        self.phase = "configuring"
        self.asked: Asked | None = None
        self.told = ""
        """How it ended, in a line."""
        self._errors: list[str] = []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rfprobe.cli", "run", *arguments, "--attended", "--json"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
        )
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._read, "run's words"), (self._read_errors, "run's errors"))
        ]
        for thread in self._threads:
            thread.start()

    @property
    def over(self) -> bool:
        return self.phase == "ended"

    def answer(self, arm: bool) -> None:
        """Arm and start it, or let it be."""
        if self.phase != "confirm":
            return
        self.phase = "running"
        self._say(YES if arm else "no")

    def look(self) -> None:
        """What is never answered is a no."""
        if self.asked is not None and time.monotonic() > self.asked.at_s + ANSWER_WITHIN_s:
            self.answer(False)

    def stop(self) -> None:
        """Hang up, which ends it; also if it has not come to own the port yet."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:
            self.told = "the run had ended already"

    def wait(self, within_s: float) -> None:
        """Until it is over, that long at most."""
        until_s = time.monotonic() + within_s
        while not self.over and time.monotonic() < until_s:
            time.sleep(0.05)

    def _say(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError):  # it has ended, or was hung up on: its last words tell why
            self.told = "the run has ended"

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            said = _object(line)
            if "confirm" in said:
                self.asked = Asked(**said["confirm"])
                self.phase = "confirm"
            elif "result" in said:
                self._end(f"{result_title(said['result'])}. {cause_sentence(said.get('stop_reason'))}")
        code = self._process.wait()  # it may have written a report meanwhile; the port was free long before
        self._threads[1].join(1.0)
        if not self.over:
            self._end(self._why_nothing(code))

    def _read_errors(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            if line.strip():
                self._errors = [*self._errors, line.strip()][-_LAST_LINES:]

    def _end(self, told: str) -> None:
        self.told = told
        self.phase = "ended"

    def _why_nothing(self, code: int) -> str:
        if code in (ExitCode.COMPLETED, ExitCode.OPERATOR):
            return "Nothing was armed."
        return self._errors[-1] if self._errors else f"the run ended with exit code {code}"


def _object(line: str) -> dict[str, Any]:
    try:
        said = json.loads(line)
    except ValueError:
        return {}
    return cast(dict[str, Any], said) if isinstance(said, dict) else {}
