"""Hardware profiles: what the device is told, which are refused, and that plan and probe go together."""

import math
import re
from pathlib import Path

import pytest

from rfprobe.errors import BadInput
from rfprobe.plan_file import CONTRADICTION_PARTNERS, PLAN_KEYS, read_plan
from rfprobe.probe_file import PROFILE_KEYS, device_values, read_probe
from rfprobe.resources import find, names, shipped
from rfprobe.sim.tissue import equal_impedance_radius_mm
from rfprobe_core import plan as device

PROBES = shipped("probes")
GOOD = (PROBES / "bone-10mm.toml").read_text(encoding="utf-8")
TOLD = re.compile(r"(?P<file>.+):(?P<line>\d+): key `(?P<key>[^`]+)`: (?P<reason>.+)")


def line_of(text: str, nth: int = 1) -> int:
    """The line of the nth occurrence of `text` in the good profile."""
    found = [number for number, line in enumerate(GOOD.splitlines(), start=1) if line.startswith(text)]
    return found[nth - 1]


def refused(tmp_path: Path, content: str) -> re.Match[str]:
    path = tmp_path / "probe.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(BadInput) as raised:
        read_probe(path)
    told = TOLD.fullmatch(str(raised.value).splitlines()[0])
    assert told is not None, str(raised.value)
    assert told["file"] == str(path)
    return told


@pytest.mark.parametrize(
    ("old", "new", "begins", "nth", "key", "reason"),
    [
        ('role = "boundary"', 'role = "tip"', "role", 2, "thermocouple[1].role", "'control'"),
        ('role = "boundary"', 'role = "control"', "[[thermocouple", 1, "thermocouple", "exactly one"),
        ('role = "control"', 'role = "none"', "[[thermocouple", 1, "thermocouple", "exactly one"),
        (
            "place_mm = 6.0",
            "place_mm = 1.0",
            "place_mm",
            2,
            "thermocouple[1].place_mm",
            "inside the electrode",
        ),
        ("place_mm = 6.0", "place_mm = nan", "place_mm", 2, "thermocouple[1].place_mm", "finite"),
        ("max_duty = 0.98", "max_duty = 98", "max_duty", 1, "rf_stage.max_duty", "out of range"),
        ("max_duty = 0.98", "max_duty = 0.0", "max_duty", 1, "rf_stage.max_duty", "out of range"),
        ("max_duty = 0.98", "max_duty = 0.9", "max_duty", 1, "rf_stage.max_duty", "reach max_voltage: 0.9"),
        ("inverted = false", "inverted = true", "inverted", 1, "rf_stage.inverted", "invert it in hardware"),
        (
            "max_voltage_V = 75.0",
            "max_voltage_V = 81.0",
            "max_voltage_V",
            1,
            "rf_stage.max_voltage_V",
            "above what the stage gives at full duty: 81 V against 80 V",
        ),
        (
            "v_full_scale_V = 100.0",
            "v_full_scale_V = 80.0",
            "v_full_scale_V",
            1,
            "sense.v_full_scale_V",
            "82.5 V",
        ),
        (
            "i_full_scale_A = 1.2",
            "i_full_scale_A = 1.0",
            "i_full_scale_A",
            1,
            "sense.i_full_scale_A",
            "1.1 A",
        ),
        (
            'drive_law = "envelope"',
            'drive_law = "linear"',
            "drive_law",
            1,
            "rf_stage.drive_law",
            "'envelope'",
        ),
        ("Hz = 50", "Hz = 55", "Hz", 1, "mains.Hz", "must be 50 or 60"),
        ("Hz = 50", "Hz = 50.0", "Hz", 1, "mains.Hz", "a whole number"),
        ("used = false", "used = 0", "used", 1, "footswitch.used", "true or false"),
        ("inverted = false", 'inverted = "no"', "inverted", 1, "rf_stage.inverted", "true or false"),
        ("[footswitch]", "[pedal]", "[footswitch]", 1, "pedal", "unknown key"),
        ("[mains]", "[calibration]\nv_gain = 1.0\n[mains]", "[mains]", 1, "calibration", "rfprobe calibrate"),
        (
            "carrier_kHz = 480.0",
            "carrier_kHz = 5.0",
            "carrier_kHz",
            1,
            "rf_stage.carrier_kHz",
            "greater than",
        ),
    ],
)
def test_a_broken_profile_is_refused_by_line_and_key(
    tmp_path: Path, old: str, new: str, begins: str, nth: int, key: str, reason: str
) -> None:
    assert GOOD.count(old) == 1, "the table is wrong"
    told = refused(tmp_path, GOOD.replace(old, new))
    assert told["key"] == key
    assert re.search(reason, told["reason"]), told["reason"]
    assert int(told["line"]) == line_of(begins, nth)


def test_five_thermocouples_are_one_too_many(tmp_path: Path) -> None:
    one = '[[thermocouple]]\nrole = "none"\ntype = "T"\nplace_mm = 9.0\nlag_s = 0.5\n'
    told = refused(tmp_path, GOOD + one * 2)
    assert told["key"] == "thermocouple"
    assert "at most 4" in told["reason"]


def test_a_profile_without_thermocouples_is_refused(tmp_path: Path) -> None:
    head, _, rest = GOOD.partition("[[thermocouple]]")
    told = refused(tmp_path, head + rest[rest.index("[rf_stage]") :])
    assert told["key"] == "thermocouple"


@pytest.mark.parametrize("name", names("probes"))
def test_the_shipped_profiles_are_good(name: str) -> None:
    probe = read_probe(PROBES / f"{name}.toml")
    values = probe.values()
    assert list(values) == [row[0] for row in device.PARAMETERS if row[1] == device.PROFILE]
    assert all(device.in_range(device.INDEX[key], value) for key, value in values.items())
    table = probe.profile.probe
    radius_mm = equal_impedance_radius_mm(table.tip_mm, table.diameter_mm)
    assert table.electrode_radius_mm == pytest.approx(radius_mm, abs=0.006)
    assert probe.roles == ("control", "boundary", "guard")
    at_the_edge = name.endswith("-zone")
    assert (probe.profile.thermocouple[0].place_mm == table.electrode_radius_mm) != at_the_edge


@pytest.mark.parametrize("name", names("probes"))
def test_the_derivation_in_the_head_is_the_one_that_is_used(name: str) -> None:
    text = (PROBES / f"{name}.toml").read_text(encoding="utf-8")
    table = read_probe(PROBES / f"{name}.toml").profile.probe
    c_mm, b_mm = table.tip_mm / 2, table.diameter_mm / 2
    focus_mm, angle = math.sqrt(c_mm**2 - b_mm**2), math.acosh(c_mm / b_mm)
    assert f"c = {c_mm:g} mm, b = {b_mm:g} mm" in text
    assert f"{focus_mm:.3f} / {angle:.3f} = {focus_mm / angle:.2f} mm" in text


def test_units_become_the_devices() -> None:
    values = read_probe(PROBES / "bone-10mm.toml").values()
    assert values["thermocouples"] == 3
    assert [values[f"tc{place}_role"] for place in range(4)] == [1, 2, 3, 0]
    assert values["tc0_type"] == device.THERMOCOUPLE_TYPES.index("T")
    assert values["full_scale_voltage_mV"] == 80_000
    assert values["max_current_uA"] == 1_000_000
    assert values["min_current_uA"] == 5_000
    assert values["max_duty"] == round(0.98 * 65_535)
    assert values["mains_hz"] == 50


@pytest.mark.parametrize("plan", names("plans"))
@pytest.mark.parametrize("probe", names("probes"))
def test_every_shipped_plan_goes_with_every_shipped_probe(plan: str, probe: str) -> None:
    values = device_values(read_plan(find("plans", plan)), read_probe(find("probes", probe)))
    assert list(values) == list(device.NAMES)
    table = device.default_values()
    for name, value in values.items():
        table[device.INDEX[name]] = value
    assert device.contradiction(table) == -1


def test_a_plan_that_needs_a_guard_refuses_a_probe_without(tmp_path: Path) -> None:
    path = tmp_path / "unguarded.toml"
    path.write_text(GOOD.replace('role = "guard"', 'role = "none"'), encoding="utf-8")
    plan = read_plan(find("plans", "vertebra-70C"))
    with pytest.raises(BadInput) as raised:
        device_values(plan, read_probe(path))
    told = TOLD.fullmatch(str(raised.value))
    assert told is not None
    assert told["key"] == "limits.guard_needed"
    assert "needs a guard thermocouple and the profile has none" in told["reason"]
    assert plan.text.splitlines()[int(told["line"]) - 1].startswith("guard_needed")


def test_a_test_power_above_the_plans_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "strong.toml"
    path.write_text(GOOD.replace("test_power_W = 0.1", "test_power_W = 0.9"), encoding="utf-8")
    plan = tmp_path / "weak.toml"
    weak = find("plans", "vertebra-70C").read_text(encoding="utf-8").replace("max_power_W = 15.0", "max_power_W = 0.5")
    plan.write_text(weak, encoding="utf-8")
    with pytest.raises(
        BadInput, match=r"test_power_W`: the test power is above the plan's max_power: 0\.9 W against 0\.5 W"
    ):
        device_values(read_plan(plan), read_probe(path))


def test_an_impedance_that_the_probe_cannot_measure_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "coarse.toml"
    path.write_text(GOOD.replace("min_current_A = 0.005", "min_current_A = 0.1"), encoding="utf-8")
    plan = read_plan(find("plans", "vertebra-70C"))
    with pytest.raises(BadInput, match=r"limits\.max_impedance_ohm`: so high an impedance cannot be measured"):
        device_values(plan, read_probe(path))


def test_every_contradiction_of_the_device_has_a_key_to_be_told_by() -> None:
    keys = {**PLAN_KEYS, **PROFILE_KEYS}
    assert {parameter for parameter, _ in device.CONTRADICTIONS} <= set(keys)
    assert {*CONTRADICTION_PARTNERS, *CONTRADICTION_PARTNERS.values()} <= set(keys)


def test_names_and_paths_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("probes", "bone-10mm") == PROBES / "bone-10mm.toml"
    assert find("probes", "bone-10mm.toml") == PROBES / "bone-10mm.toml"
    assert find("plans", "sub/none.toml") == Path("sub/none.toml")
    assert find("plans", "none.toml") == Path("none.toml")
    (tmp_path / "vertebra-70C.toml").write_text("", encoding="utf-8")
    assert find("plans", "vertebra-70C.toml") == Path("vertebra-70C.toml")
    with pytest.raises(BadInput, match="neither a file nor one of the shipped plans: check-40C, dose-240, "):
        find("plans", "none")
