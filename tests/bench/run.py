"""`make bench`: every `bench_*.py` beside this file has a `run()` that measures and returns the rows of a table.

Where it names a `PAGE`, what does not depend on the machine, the table is written there too.
"""

import importlib
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table


def main() -> None:
    wanted = sys.argv[1:]
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # benches borrow what the tests are made of
    console = Console()
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        if wanted and path.stem.removeprefix("bench_") not in wanted:
            continue
        module = importlib.import_module(f"tests.bench.{path.stem}")
        rows = module.run()
        table = Table(title=(module.__doc__ or path.stem).splitlines()[0], title_justify="left")
        for column in rows[0]:
            table.add_column(str(column))
        for row in rows:
            table.add_row(*[str(value) for value in row.values()])
        console.print(table)
        if hasattr(module, "PAGE"):
            module.PAGE.write_text(page(path.stem, module.__doc__ or "", rows), encoding="utf-8")


def page(name: str, told: str, rows: list[dict[str, object]]) -> str:
    """The table in Markdown, under what the bench says of itself."""
    title, _, more = told.partition("\n")
    lines = [
        " | ".join(map(str, each)) for each in ([*rows[0]], ["---"] * len(rows[0]), *[row.values() for row in rows])
    ]
    made = f"Made by `.venv/bin/python tests/bench/run.py {name.removeprefix('bench_')}`."
    return "\n".join([f"# {title.rstrip('.')}", more, made, "", *[f"| {line} |" for line in lines], ""])


if __name__ == "__main__":
    main()
