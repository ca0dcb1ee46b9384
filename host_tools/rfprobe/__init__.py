"""Host tools of the rfprobe ablation controller. Not a medical device.

    import rfprobe
    s = rfprobe.simulate("vertebra-70C", tissue="vertebra", seed=7)
    s = rfprobe.open("last")
    s.df, s.truth, s.events, s.summary

Importing this is quick: pandas, matplotlib and the simulator are imported when they are needed.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rfprobe_core.version import VERSION

if TYPE_CHECKING:
    from rfprobe.progress import Progress
    from rfprobe.session import Session

__all__ = ["__version__", "open", "simulate"]

__version__ = VERSION


def open(session: str | Path = "last", directory: str | Path = "sessions") -> "Session":
    """Open a recorded session: a path, an id (or how it begins), or "last", the newest in `directory`.

    Raises `rfprobe.errors.BadInput` where there is no such session.
    """
    from rfprobe.session import open_session

    return open_session(session, Path(directory))


def simulate(
    plan: str | Path,
    probe: str | Path = "bone-10mm",
    tissue: str = "vertebra",
    runtime: str | None = None,
    seed: int = 1,
    faults: Sequence[str] = (),
    out_dir: str | Path = "sessions",
    progress: "Callable[[Progress], None] | None" = None,
    black_box: bool = False,
) -> "Session":
    """Run a plan on the virtual probe and return its session.

    Plan and probe are paths, or names of shipped ones; `faults` as on the command line: "interlock@20". `black_box`
    fetches the device's last 10 s at full rate after any run, not only after one that ended by a fault.
    Raises `rfprobe.errors.BadInput` before anything is started.
    """
    from rfprobe.plan_file import read_plan
    from rfprobe.probe_file import read_probe
    from rfprobe.resources import find
    from rfprobe.sim.engine import simulate as run

    return run(
        read_plan(find("plans", str(plan))),
        read_probe(find("probes", str(probe))),
        tissue,
        runtime=runtime,
        seed=seed,
        faults=faults,
        out_dir=Path(out_dir),
        progress=progress,
        black_box=black_box,
    )
