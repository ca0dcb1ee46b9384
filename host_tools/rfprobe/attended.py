"""A run that another process of ours has started for its operator, and looks after.

It is told by lines on stdout, answers by a line on stdin, and asks for a stop by hanging up: when it dies, its run
does not go on without it.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Sequence
from typing import Final, TextIO

YES: Final = "yes"


class Attendant:
    """The other end of stdin and stdout. `gone` is set when it has hung up."""

    def __init__(self, lines: TextIO) -> None:
        self.gone = threading.Event()
        self._answers: list[bool] = []
        threading.Thread(target=self._listen, args=(lines,), name="attendant", daemon=True).start()

    def ask(
        self, title: str, device: str, rows: Sequence[tuple[str, str]], confirmed: str, warnings: Sequence[str]
    ) -> None:
        """Show it what would be armed."""
        asked = {"title": title, "device": device, "rows": rows, "confirmed": confirmed, "warnings": warnings}
        print(json.dumps({"confirm": asked}, ensure_ascii=False), flush=True)

    def answer(self) -> bool | None:
        """What it said, None while it has said nothing."""
        return self._answers[0] if self._answers else None

    def _listen(self, lines: TextIO) -> None:
        for line in lines:
            self._answers.append(line.strip() == YES)
        self._answers.append(False)
        self.gone.set()


def attendant() -> Attendant:
    """The one that started this process."""
    return Attendant(sys.stdin)
