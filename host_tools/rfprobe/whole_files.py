"""Files that are there whole or not at all."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedWriter
from pathlib import Path

from rfprobe.errors import EnvironmentProblem, reason_of


@contextmanager
def written_whole(path: Path) -> Generator[BufferedWriter]:
    """A file that is at `path` when all of it is written, and not before. Makes its folder; EnvironmentProblem."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with beside.open("wb") as file:
            yield file
        beside.replace(path)
    except OSError as error:
        raise EnvironmentProblem(f"{path}: cannot be written: {reason_of(error)}") from None
    finally:
        if beside.is_file():
            beside.unlink()
