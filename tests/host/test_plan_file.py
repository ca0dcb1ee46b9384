"""Plans: what the device is told, and that every broken one is refused by file, line, key and reason."""

import os
import re
import socket
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfprobe.errors import BadInput, EnvironmentProblem, ExitCode
from rfprobe.plan_file import PLAN_KEYS, read_plan, template, write_template
from rfprobe.resources import names, shipped
from rfprobe.toml_source import MAX_FILE_BYTES
from rfprobe_core import plan as device

GOOD = """\
[plan]
name = "L3 phantom, 10 mm tip"
mode = "temperature"            # temperature | power | impedance | pulsed
[target]
temperature_C = 70.0
ramp_C_per_s = 1.0
hold_s = 60.0
[limits]
max_power_W = 20.0
max_temperature_C = 95.0
min_impedance_ohm = 20.0
max_impedance_ohm = 2000.0
guard_trip_C = 44.0
"""
TOLD = re.compile(r"(?P<file>.+):(?P<line>\d+): key `(?P<key>[^`]+)`: (?P<reason>.+)")


@dataclass(frozen=True)
class Broken:
    """A plan with one thing wrong: what to replace by what, and how that is to be told."""

    name: str
    old: str
    new: str
    line: int
    key: str
    reason: str


BROKEN = [
    Broken("unknown key", "hold_s = 60.0", "hold_s = 60.0\nrest_s = 5.0", 8, "target.rest_s", "unknown key"),
    Broken("misspelt key", "hold_s", "holds", 7, "target.holds", "did you mean `hold_s`?"),
    Broken("unknown table", "[limits]", "[limit]", 8, "limit", "did you mean `limits`?"),
    Broken("stray key", "[plan]", "author = 1\n[plan]", 1, "author", "unknown key"),
    Broken(
        "text for a number",
        "hold_s = 60.0",
        'hold_s = "60"',
        7,
        "target.hold_s",
        "must be a number, is the text",
    ),
    Broken(
        "boolean for a number",
        "hold_s = 60.0",
        "hold_s = true",
        7,
        "target.hold_s",
        "must be a number, is true",
    ),
    Broken(
        "list for a number",
        "hold_s = 60.0",
        "hold_s = [1]",
        7,
        "target.hold_s",
        "must be a number, is a list",
    ),
    Broken("table for a number", "hold_s = 60.0", "hold_s = {s = 1}", 7, "target.hold_s", "is a table"),
    Broken("date for a number", "hold_s = 60.0", "hold_s = 2026-01-01", 7, "target.hold_s", "must be a number"),
    Broken(
        "number for text",
        'name = "L3 phantom, 10 mm tip"',
        "name = 3",
        2,
        "plan.name",
        "must be text in quotes",
    ),
    Broken(
        "number for a boolean",
        "[limits]",
        "[limits]\nguard_needed = 1",
        9,
        "limits.guard_needed",
        "true or false",
    ),
    Broken("value for a table", "[plan]", "limits = 3\n[plan]", 9, "limits", "given twice"),
    Broken("negative hold", "hold_s = 60.0", "hold_s = -1.0", 7, "target.hold_s", "-1 s; must be 0 to 3600 s"),
    Broken("hold too long", "hold_s = 60.0", "hold_s = 1e9", 7, "target.hold_s", "must be 0 to 3600 s"),
    Broken("not a number", "hold_s = 60.0", "hold_s = nan", 7, "target.hold_s", "must be a finite number, is nan"),
    Broken("infinite", "hold_s = 60.0", "hold_s = inf", 7, "target.hold_s", "must be a finite number, is inf"),
    Broken("overflows", "hold_s = 60.0", "hold_s = 1e999", 7, "target.hold_s", "must be a finite number"),
    Broken("5000 digits", "hold_s = 60.0", "hold_s = " + "9" * 5000, 7, "target.hold_s", "5000 digits"),
    Broken("400 digits", "hold_s = 60.0", "hold_s = " + "9" * 400, 7, "target.hold_s", ""),
    Broken("no ramp", "ramp_C_per_s = 1.0", "ramp_C_per_s = 0.0", 6, "target.ramp_C_per_s", "0.01 to 5 °C/s"),
    Broken(
        "target too high",
        "temperature_C = 70.0",
        "temperature_C = 300",
        5,
        "target.temperature_C",
        "38 to 104 °C",
    ),
    Broken(
        "target above its limit",
        "max_temperature_C = 95.0",
        "max_temperature_C = 60.0",
        5,
        "target.temperature_C",
        "the target is not below max_temperature: 70 °C against 60 °C",
    ),
    Broken(
        "impedance window empty",
        "min_impedance_ohm = 20.0\nmax_impedance_ohm = 2000.0",
        "min_impedance_ohm = 900.0\nmax_impedance_ohm = 900.0",
        11,
        "limits.min_impedance_ohm",
        "min_impedance is not below max_impedance: 900 Ω against 900 Ω",
    ),
    Broken(
        "hold longer than RF may be on",
        "guard_trip_C = 44.0",
        "guard_trip_C = 44.0\nmax_rf_on_s = 30.0",
        14,
        "limits.max_rf_on_s",
        "max_rf_on is shorter than the hold: 30 s against 60 s",
    ),
    Broken(
        "guard trips too high",
        "guard_trip_C = 44.0",
        "guard_trip_C = 46.0",
        13,
        "limits.guard_trip_C",
        "38 to 45 °C",
    ),
    Broken("no guard trip", "guard_trip_C = 44.0\n", "", 8, "limits.guard_trip_C", "missing"),
    Broken("no such mode", '"temperature" ', '"warm" ', 3, "plan.mode", "no mode 'warm'; available: temperature"),
    Broken(
        "mode without its power",
        '"temperature" ',
        '"pulsed" ',
        4,
        "target.power_W",
        'missing: needed with mode = "pulsed"',
    ),
    Broken("mode without quotes", '"temperature" ', "temperature ", 3, "plan.mode", "text needs quotes"),
    Broken("empty name", '"L3 phantom, 10 mm tip"', '""', 2, "plan.name", "at least 1"),
    Broken("blank name", '"L3 phantom, 10 mm tip"', '"  "', 2, "plan.name", "one line of printable text"),
    Broken(
        "name of two lines",
        '"L3 phantom, 10 mm tip"',
        '"a\\nb"',
        2,
        "plan.name",
        "one line of printable text",
    ),
    Broken(
        "rate",
        "[limits]",
        "[telemetry]\nrate_Hz = 30\n[limits]",
        9,
        "telemetry.rate_Hz",
        "must be one of 1, 2, 4",
    ),
    Broken(
        "rate of 0",
        "[limits]",
        "[telemetry]\nrate_Hz = 0\n[limits]",
        9,
        "telemetry.rate_Hz",
        "must be one of 1",
    ),
    Broken("key twice", "hold_s = 60.0", "hold_s = 60.0\nhold_s = 61.0", 8, "target.hold_s", "given twice"),
    Broken("table twice", "[limits]", "[target]\n[limits]", 8, "target", "given twice"),
    Broken("no value", "hold_s = 60.0", "hold_s =", 7, "target.hold_s", "not a valid TOML value"),
    Broken("no equals sign", "hold_s = 60.0", "hold_s 60.0", 7, "target.hold_s", "a key needs `= value`"),
    Broken("decimal comma", "hold_s = 60.0", "hold_s = 60,0", 7, "target.hold_s", "not valid TOML"),
    Broken("bracket open", "[target]", "[target", 4, "target", "not valid TOML"),
    Broken("quote open", 'tip"', "tip", 2, "plan.name", "not valid TOML"),
    Broken("key missing", "hold_s = 60.0\n", "", 4, "target.hold_s", "missing"),
    Broken(
        "table missing",
        "[target]\ntemperature_C = 70.0\nramp_C_per_s = 1.0\nhold_s = 60.0\n",
        "",
        1,
        "target",
        "missing",
    ),
    Broken(
        "dotted key",
        "hold_s = 60.0",
        "hold_s.long = 60.0",
        7,
        "target.hold_s",
        "must be a number, is a table",
    ),
    Broken("nested 5000 deep", "hold_s = 60.0", "hold_s = " + "[" * 5000, 1, "plan", "nested too deeply"),
]


def refusal(path: Path) -> list[re.Match[str]]:
    """What reading `path` complains of, each line taken apart."""
    with pytest.raises(BadInput) as raised:
        read_plan(path)
    assert raised.value.exit_code == ExitCode.BAD_INPUT
    told = [TOLD.fullmatch(line) for line in str(raised.value).splitlines()]
    assert told
    assert all(told), str(raised.value)
    return [each for each in told if each is not None]


def written(tmp_path: Path, content: str | bytes) -> Path:
    path = tmp_path / "plan.toml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_broken_plan_is_refused_by_file_line_key_and_reason(tmp_path: Path, broken: Broken) -> None:
    assert GOOD.count(broken.old) == 1, "the table is wrong"
    path = written(tmp_path, GOOD.replace(broken.old, broken.new))
    first = refusal(path)[0]
    assert first["file"] == str(path)
    assert (int(first["line"]), first["key"]) == (broken.line, broken.key)
    assert broken.reason in first["reason"]


@pytest.mark.parametrize(
    ("content", "line", "reason"),
    [
        (b"", 1, "the file is empty"),
        (b"\n  \n", 1, "the file is empty"),
        (b"\x7fELF\x02\x01\x01\x00", 1, "not a text file: byte 0x7f at offset 0"),
        (b"[plan]\nname = '\x00'\n", 2, "not a text file: byte 0x00 at offset 15"),
        (b"[plan]\n\n# \xff\xfe", 3, "not UTF-8 text: byte 0xff at offset 10"),
        (GOOD.encode("utf-16"), 1, "not a text file"),
        (b"#" * (MAX_FILE_BYTES + 1), 1, "too large"),
    ],
)
def test_what_is_no_text_file_is_refused(tmp_path: Path, content: bytes, line: int, reason: str) -> None:
    (told,) = refusal(written(tmp_path, content))
    assert (int(told["line"]), told["key"]) == (line, "plan")
    assert reason in told["reason"]


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    places = {
        tmp_path / "none.toml": "there is no such file",
        tmp_path: "this is a directory",
        Path(os.devnull): "not a regular file",
        tmp_path / "none" / "plan.toml": "there is no such file",
    }
    for path, reason in places.items():
        (told,) = refusal(path)
        assert (told["file"], told["line"], told["key"]) == (str(path), "1", "plan")
        assert reason in told["reason"]


@pytest.mark.skipif(not hasattr(socket, "AF_UNIX") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    path.chmod(0)
    (told,) = refusal(path)
    assert "no permission" in told["reason"]


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    (told,) = refusal(path)
    assert "not a regular file" in told["reason"]


def test_several_problems_are_all_told_the_gravest_first(tmp_path: Path) -> None:
    content = GOOD.replace("hold_s = 60.0", "hold_s = 'x'\nspeed = 1").replace("temperature_C = 70.0\n", "", 1)
    told = refusal(written(tmp_path, content.replace("max_power_W = 20.0", "max_power_W = 0")))
    assert [(each["key"], int(each["line"])) for each in told] == [
        ("target.speed", 7),
        ("target.hold_s", 6),
        ("limits.max_power_W", 9),
        ("target.temperature_C", 4),
    ]


def test_a_byte_order_mark_does_not_matter(tmp_path: Path) -> None:
    assert read_plan(written(tmp_path, "\ufeff" + GOOD)).name == "L3 phantom, 10 mm tip"


def test_the_values_are_the_devices_plan_group(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, GOOD))
    values = plan.values()
    assert list(values) == [row[0] for row in device.PARAMETERS if row[1] == device.PLAN]
    assert all(device.in_range(device.INDEX[name], value) for name, value in values.items())
    assert values["target_mC"] == 70_000
    assert values["ramp_mC_per_s"] == 1_000
    assert values["hold_ms"] == 60_000
    assert values["cooldown_ms"] == 30_000
    assert (values["start_min_mC"], values["start_max_mC"], values["start_spread_mC"]) == (10_000, 40_000, 3_000)
    assert values["guard_needed"] == 1
    assert values["telemetry_ticks"] == 5
    assert values["max_rf_on_ms"] == round((50 * 1.5 + 60 + 60) * 1000)
    assert values["max_energy_mJ"] == 20_000 * 195
    assert set(PLAN_KEYS) == set(values)


def test_the_window_of_the_start_is_the_plans_to_say(tmp_path: Path) -> None:
    cold = GOOD.replace("[limits]", "[start]\ncoolest_C = 2.0\nwarmest_C = 8.0\ndifference_C = 1.5\n\n[limits]")
    values = read_plan(written(tmp_path, cold)).values()
    assert (values["start_min_mC"], values["start_max_mC"], values["start_spread_mC"]) == (2_000, 8_000, 1_500)
    [told] = refusal(written(tmp_path, cold.replace("coolest_C = 2.0", "coolest_C = 8.0")))
    assert told["key"] == "start.coolest_C"


def test_whole_numbers_will_do(tmp_path: Path) -> None:
    whole = GOOD.replace("70.0", "70").replace("60.0", "60")
    assert read_plan(written(tmp_path, whole)).values() == read_plan(written(tmp_path, GOOD)).values()


def test_comments_and_order_do_not_change_the_digest(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, GOOD))
    other = GOOD.replace("hold_s = 60.0", "# hold\nhold_s = 60.0").replace("L3", "L4")
    again = read_plan(written(tmp_path, other))
    assert again.digest == plan.digest
    assert again.text_sha256 != plan.text_sha256
    assert read_plan(written(tmp_path, GOOD.replace("60.0", "60.001"))).digest != plan.digest


def test_the_defaults_stay_within_the_hard_limits(tmp_path: Path) -> None:
    content = GOOD.replace("ramp_C_per_s = 1.0", "ramp_C_per_s = 0.01").replace("hold_s = 60.0", "hold_s = 3600")
    values = read_plan(written(tmp_path, content.replace("20.0\nmax_t", "50.0\nmax_t"))).values()
    assert values["max_rf_on_ms"] == 7_200_000
    assert values["max_energy_mJ"] == 50_000 * 7_200


def test_a_plan_that_cannot_complete_is_remarked_upon(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, GOOD + "max_rf_on_s = 61.0\n"))
    assert any("cannot complete" in remark for remark in plan.remarks())
    unguarded = read_plan(written(tmp_path, GOOD + "guard_needed = false\n"))
    assert any("no guard" in remark for remark in unguarded.remarks())
    assert read_plan(written(tmp_path, GOOD)).remarks() == []


def test_the_set_point_is_a_ramp_and_a_hold(tmp_path: Path) -> None:
    plan = read_plan(written(tmp_path, GOOD))
    assert plan.setpoint_C(-1.0, 20.0) is None
    assert plan.setpoint_C(10.0, 20.0) == 30.0
    assert plan.setpoint_C(50.0, 20.0) == 70.0
    assert plan.setpoint_C(110.0, 20.0) == 70.0
    assert plan.setpoint_C(110.1, 20.0) is None


@pytest.mark.parametrize("name", names("plans"))
def test_the_shipped_plans_are_good(name: str) -> None:
    plan = read_plan(shipped("plans") / f"{name}.toml")
    assert not any("cannot complete" in remark for remark in plan.remarks())


def test_three_plans_are_shipped() -> None:
    assert {"vertebra-70C", "phantom-50C", "liver-80C"} <= set(names("plans"))


@pytest.mark.parametrize("name", ["a plan", 'with "quotes" and \\', "größe 70 °C"])
def test_the_template_is_a_good_plan(tmp_path: Path, name: str) -> None:
    path = tmp_path / "new.toml"
    write_template(path, name, overwrite=False)
    assert read_plan(path).name == name
    assert path.read_text(encoding="utf-8") == template(name)
    with pytest.raises(BadInput, match="is there already"):
        write_template(path, name, overwrite=False)
    write_template(path, "other", overwrite=True)
    assert read_plan(path).name == "other"


def test_a_template_that_cannot_be_written_is_the_environments_fault(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem):
        write_template(tmp_path / "none" / "new.toml", "x", overwrite=False)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_no_bytes_at_all_make_the_reader_fail(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    refusal(written(tmp_path_factory.mktemp("bytes"), content))


@settings(max_examples=200, deadline=None)
@given(st.integers(0, len(GOOD) - 1), st.integers(1, 12), st.text(alphabet='[]{}"=.,# \n\tax0-', max_size=6))
def test_no_edit_of_a_good_plan_makes_the_reader_fail(
    tmp_path_factory: pytest.TempPathFactory, at: int, length: int, instead: str
) -> None:
    path = written(tmp_path_factory.mktemp("edit"), GOOD[:at] + instead + GOOD[at + length :])
    try:
        read_plan(path)
    except BadInput as error:
        assert all(TOLD.fullmatch(line) for line in str(error).splitlines()), str(error)
