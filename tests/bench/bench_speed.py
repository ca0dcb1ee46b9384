"""How fast a whole simulated run is, as a ratio to real time, beside a fixed loop of the same run of this script.

A short run comes first: loading numpy and scipy is not simulating.
"""

import tempfile
import time
from pathlib import Path

import rfprobe

SIMULATED_S = 600.0
RATIOS = {"cpython": (200, 100), "micropython": (50, 30)}  # aimed at, and at least
LOOP = 5_000_000

PLAN = """
[plan]
name = "ten minutes"
mode = "temperature"
[target]
temperature_C = 70.0
ramp_C_per_s = 1.0
hold_s = {hold_s}
[limits]
max_power_W = 20.0
max_temperature_C = 95.0
min_impedance_ohm = 20.0
max_impedance_ohm = 2000.0
guard_trip_C = 44.0
guard_needed = false
"""


def reference_loop_s() -> float:
    """A fixed amount of plain Python: what this machine gives at this moment."""
    began = time.perf_counter()
    total = 0
    for index in range(LOOP):
        total += index & 7
    assert total == sum(index & 7 for index in range(8)) * (LOOP // 8)
    return time.perf_counter() - began


def simulate(runtime: str, hold_s: float) -> tuple[float, float]:
    """Simulated and wall seconds of a whole run into a session, power-up to the last cooling second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "plan.toml"
        path.write_text(PLAN.format(hold_s=hold_s))
        began = time.perf_counter()
        session = rfprobe.simulate(path, tissue="liver", runtime=runtime, seed=1, out_dir=Path(folder))
        wall_s = time.perf_counter() - began
        simulated_s = float(session.summary["simulated_s"])
        session.close()
    return simulated_s, wall_s


def run() -> list[dict[str, object]]:
    """One row a runtime."""
    rows: list[dict[str, object]] = []
    for runtime, (aim, least) in RATIOS.items():
        around_s, _ = simulate(runtime, hold_s=1.0)
        before_s = reference_loop_s()
        simulated_s, wall_s = simulate(runtime, hold_s=SIMULATED_S - around_s + 1.0)
        loop_s = (before_s + reference_loop_s()) / 2
        rows.append(
            {
                "runtime": runtime,
                "simulated s": round(simulated_s, 1),
                "wall s": round(wall_s, 2),
                "× real time": round(simulated_s / wall_s, 1),
                "aim": aim,
                "at least": least,
                "reference loop s": round(loop_s, 3),
                "run / reference loop": round(wall_s / loop_s, 2),
            }
        )
    return rows
