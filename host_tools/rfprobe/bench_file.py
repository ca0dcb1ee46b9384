"""`bench.toml`: what is the same for every run at one bench. Names for its ports, and what a sample must be told.

[ports]
left = "id:E6616407E3646B2F"       # --port @left

[sample]
required = ["probe_serial", "batch"]
own = ["operator_initials"]        # keys beside those every sample may have
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field

from rfprobe.errors import BadInput
from rfprobe.plan_file import Table
from rfprobe.toml_source import load

NAME = Path("bench.toml")
Word = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z][A-Za-z0-9_-]*$")]
PortName = Annotated[str, Field(min_length=1, max_length=400)]


class SampleRules(Table):
    """`[sample]`: the keys that must be given, and the lab's own that may be."""

    required: list[Word] = Field(default_factory=list)
    own: list[Word] = Field(default_factory=list)


class Bench(Table):
    """The whole file; every part of it may be left out."""

    ports: dict[Word, PortName] = Field(default_factory=dict)
    sample: SampleRules = SampleRules()


def read_bench(path: Path = NAME) -> Bench:
    """The bench of this directory; an empty one where there is no file. Raises BadInput for a wrong one."""
    return load(path, Bench, "ports")[1] if path.exists() else Bench()


def port_of_alias(alias: str, bench: Bench) -> str:
    """What `@left` stands for. Raises BadInput for a name that `bench.toml` does not have."""
    name = alias.removeprefix("@")
    if name not in bench.ports:
        known = ", ".join(f"@{each}" for each in bench.ports) or "none"
        raise BadInput(f"--port {alias}: {NAME} has no such name under [ports]; it has: {known}")
    return bench.ports[name]
