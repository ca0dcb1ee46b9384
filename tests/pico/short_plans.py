"""A plan of a few seconds for each way of delivering energy: the emulated chip takes ten seconds for one."""

from dataclasses import dataclass
from pathlib import Path

from rfprobe.resources import shipped

PLAN = """
[plan]
name = "{name}"
mode = "{mode}"

[target]
{target}
cooldown_s = 0.5

[limits]
max_power_W = 15.0
max_temperature_C = {hottest_C}
min_impedance_ohm = 20.0
max_impedance_ohm = 1000.0
guard_needed = true
guard_trip_C = 44.0
{more}
"""


@dataclass(frozen=True)
class ShortPlan:
    """What makes the plan, and what has to come of it; `faults` are what the tissue does of itself."""

    mode: str
    target: str
    cause: str
    more: str = ""
    hottest_C: float = 90.0
    faults: tuple[str, ...] = ()
    states: tuple[str, ...] = ("RAMP", "HOLD", "COOLDOWN")

    def write(self, name: str, folder: Path) -> Path:
        text = PLAN.format(name=name, mode=self.mode, target=self.target, more=self.more, hottest_C=self.hottest_C)
        path = folder / f"{name}.toml"
        path.write_text(text, encoding="utf-8")
        return path


SHORT_PLANS = {
    "temperature": ShortPlan("temperature", "temperature_C = 42.0\nramp_C_per_s = 4.0\nhold_s = 1.0", "hold_complete"),
    "dose": ShortPlan(
        "temperature",
        "temperature_C = 48.0\nramp_C_per_s = 5.0\nhold_s = 20.0",
        "dose_reached",
        '[end]\nby = "dose"\ndose_min = 0.05',
        states=("RAMP", "COOLDOWN"),
    ),
    "power": ShortPlan(
        "power", "power_W = 6.0\ntemperature_C = 80.0\nramp_C_per_s = 5.0\nhold_s = 1.5", "hold_complete"
    ),
    # the tissue would boil after a quarter of a minute: here its impedance rises by half at a moment of our choice
    "impedance": ShortPlan(
        "impedance",
        "power_W = 6.0\ntemperature_C = 80.0\nramp_C_per_s = 5.0\nhold_s = 4.0",
        "hold_complete",
        "[impedance]\nrolloff_step_ohm = 20.0\nrest_s = 1.0",
        faults=("impedance_rise=1.0@4.0+0.6",),
        states=("RAMP", "HOLD", "REST", "COOLDOWN"),
    ),
    "pulsed": ShortPlan(
        "pulsed",
        "power_W = 10.0\ntemperature_C = 41.0\nramp_C_per_s = 0.5\nhold_s = 2.5",
        "hold_complete",
        hottest_C=45.0,
        states=("RAMP", "HOLD", "REST", "COOLDOWN"),
    ),
}


def probe_with_a_near_boundary(folder: Path) -> Path:
    """The shipped probe, its boundary thermocouple at the electrode: a dose is gathered there in seconds."""
    text = (shipped("probes") / "bone-10mm.toml").read_text(encoding="utf-8")
    changed = text.replace("place_mm = 6.0", "place_mm = 2.2")
    assert changed != text
    path = folder / "near.toml"
    path.write_text(changed, encoding="utf-8")
    return path
