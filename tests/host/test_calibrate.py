"""Sensors that are off are calibrated over the wire and judged by the truth; and what a user gets who does it wrong."""

import json
import os
import signal
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rfprobe.bundle import rerun
from rfprobe.calibration_bench import CalibrationBench, Reading, load_values, resting_values
from rfprobe.calibration_fit import BathPoint, fit_rf, fit_thermocouple
from rfprobe.calibration_kept import Kept, day_of, kept, today_day
from rfprobe.client import Phase, RunClient
from rfprobe.pin_record import replay_through
from rfprobe.plan_file import read_plan
from rfprobe.probe_file import SIMULATED_DAY, read_probe
from rfprobe.report import build_html
from rfprobe.report_compare import build_comparison
from rfprobe.report_pdf import build_pdf
from rfprobe.resources import find
from rfprobe.sim.bench_setup import BenchSetup
from rfprobe.sim.engine import simulate
from rfprobe.sim.lockstep import LockStep
from rfprobe.whole_files import written_whole
from rfprobe.wire import Frame
from rfprobe_core import protocol
from tests.host.virtual_bench import QUICK_PLAN, VirtualBench, finished, rfprobe, until, virtual_bench, virtual_probe

pytestmark = pytest.mark.slow

PROBE = read_probe(find("probes", "bone-10mm"))
LOAD_OHM = 100.0
ERRORS = ("control=1.8,1.03", "boundary=-2.5,0.985", "guard=0.9,0.97", "voltage=0.6,0.93", "current=0.004,1.09")
POWERS_W = (1.0, 2.0, 4.0, 6.0, 10.0)
TODAY = SIMULATED_DAY + 100
TC_WITHIN_C = 0.2
POWER_WITHIN = 0.02


class VirtualLine:
    """The virtual probe in virtual time."""

    def __init__(self, device: LockStep) -> None:
        self.device = device

    @property
    def now_s(self) -> float:
        return self.device.plant.t_s

    def exchange(self, out: bytes) -> bytes:
        self.device.plant.take_rows()
        return self.device.exchange(out)


class MeterReading:
    """The true power, in the mean of the second after it was asked for: a wattmeter does not show single ticks."""

    failed = False

    def __init__(self, device: LockStep) -> None:
        self._device = device
        self._from_s = device.plant.t_s
        self._seen_W: list[float] = []

    @property
    def done(self) -> bool:
        if self._device.plant.t_s > self._from_s + 1.0:
            return True
        self._seen_W.append(self._device.plant.power_W)
        return False

    def wait(self) -> float:
        return statistics.mean(self._seen_W)


def bench_of(device: LockStep) -> CalibrationBench:
    return CalibrationBench(VirtualLine(device), PROBE, lambda: False)


def thermocouples_calibrated(bench: CalibrationBench, baths_C: Sequence[float]) -> dict[str, int]:
    """In these baths, all places at once; what the device is to keep."""
    client = bench.configured(resting_values(PROBE))
    rows: list[list[BathPoint]] = []
    for bath_C in baths_C:
        rows.append(bench.bath_point(client, [0, 1, 2], bath_C, rows[-1] if rows else None, 5.0, 60.0))
    bench.let_go(client)
    changes: dict[str, int] = {}
    for place in range(3):
        line, _ = fit_thermocouple(PROBE.roles[place], [row[place] for row in rows])
        changes |= {
            f"tc{place}_offset_mC": round(line.offset * 1000),
            f"tc{place}_gain_ppm": round(line.gain * 1e6),
            f"tc{place}_cal_day": TODAY,
            f"tc{place}_cal_valid_days": 365,
        }
    return changes


def sense_calibrated(bench: CalibrationBench, device: LockStep) -> dict[str, int]:
    taken = [
        bench.load_point(each, LOAD_OHM, 8.0, lambda _: MeterReading(device))  # type: ignore[arg-type, return-value]
        for each in POWERS_W
    ]
    zero = (statistics.mean(each[1][0] for each in taken), statistics.mean(each[1][1] for each in taken))
    sense = PROBE.profile.sense
    fit = fit_rf([each[0] for each in taken], zero, LOAD_OHM, (sense.v_full_scale_V, sense.i_full_scale_A))
    return {
        "v_gain_ppm": round(fit.voltage.gain * 1e6),
        "v_offset_mV": round(fit.voltage.offset * 1000),
        "i_gain_ppm": round(fit.current.gain * 1e6),
        "i_offset_uA": round(fit.current.offset * 1e6),
        "rf_cal_day": TODAY,
        "rf_cal_valid_days": 365,
    }


def stored(bench: CalibrationBench, changes: dict[str, int]) -> Kept:
    client = bench.configured(resting_values(PROBE))
    values = bench.store(client, changes, TODAY)
    bench.let_go(client)
    return kept(values)


def telemetry(
    device: LockStep, client: RunClient, until: Callable[[], bool], wanted: Callable[[Frame], bool] = lambda _: True
) -> list[Frame]:
    """The telemetry frames of a client's way, until something holds."""
    found: list[Frame] = []
    while not until():
        device.plant.take_rows()
        for item in client.feed(device.exchange(client.poll(device.plant.t_s)), device.plant.t_s):
            if isinstance(item, Frame) and item.type == protocol.TELEMETRY and wanted(item):
                found.append(item)
    return found


def moved(device: LockStep, place: str) -> LockStep:
    """The same device and flash, and the probe elsewhere: in a bath, or on a load."""
    flash = device.runtime.device.board.flash  # type: ignore[attr-defined]
    kept_as = ":".join(copy.hex() for copy in flash)
    load_ohm = None if place else LOAD_OHM
    return virtual_probe(setup=BenchSetup(kept_as, ERRORS, place, load_ohm))


@pytest.fixture(scope="module")
def calibrated() -> LockStep:
    """A device whose sensors were all off, and were calibrated over the wire."""
    in_baths = virtual_probe(setup=BenchSetup("none", ERRORS, "10,85@12"))
    assert stored(bench_of(in_baths), thermocouples_calibrated(bench_of(in_baths), (10.0, 85.0))).state == "none"
    on_load = moved(in_baths, "")
    found = stored(bench_of(on_load), sense_calibrated(bench_of(on_load), on_load))
    assert found.state == "valid"
    return on_load


@pytest.mark.parametrize("true_C", [5.0, 25.0, 42.0, 60.0, 70.0, 95.0])
def test_a_calibrated_thermocouple_is_right_within_200_mK(calibrated: LockStep, true_C: float) -> None:
    device = moved(calibrated, f"{true_C:g}@3600")
    client = RunClient({**resting_values(PROBE), "today_day": TODAY}, protocol.protocol_digest(), ask_first=True)
    until_s = device.plant.t_s + 16.0
    frames = telemetry(device, client, lambda: device.plant.t_s > until_s, lambda _: client.phase is Phase.CONFIRM)
    settled = frames[len(frames) // 2 :]
    for place in range(3):
        shown_C = statistics.mean(frame.value(f"tc{place}_mC") for frame in settled) / 1000
        assert abs(shown_C - device.plant.sensor_C[place]) <= TC_WITHIN_C


@pytest.mark.parametrize("power_W", [1.0, 3.0, 8.0, 15.0, 20.0])
def test_a_calibrated_sense_is_right_within_2_percent(calibrated: LockStep, power_W: float) -> None:
    device = moved(calibrated, "")
    values = load_values(PROBE, power_W, LOAD_OHM, 3.0) | {"today_day": TODAY, "max_power_mW": round(power_W * 1000)}
    client = RunClient(values, protocol.protocol_digest())
    true_W: list[float] = []

    def steady(frame: Frame) -> bool:
        on = frame.state == protocol.RAMP and device.plant.rf_on_s > 1.5 and bool(device.plant.enable)
        if on:
            true_W.append(device.plant.power_W)
        return on

    frames = telemetry(device, client, lambda: client.over, steady)
    assert client.cause in ("rf_on_time_ceiling", "energy_ceiling")
    shown_W = statistics.mean(frame.value("power_mW") for frame in frames) / 1000
    assert shown_W == pytest.approx(power_W, rel=0.01)
    assert abs(shown_W / statistics.mean(true_W) - 1.0) <= POWER_WITHIN


def test_without_the_calibration_the_same_sensors_are_far_off() -> None:
    device = virtual_probe(setup=BenchSetup("none", ERRORS, "60@3600"))
    client = RunClient({**resting_values(PROBE), "today_day": TODAY}, protocol.protocol_digest(), ask_first=True)
    frames = telemetry(device, client, lambda: device.plant.t_s > 10.0)
    assert abs(frames[-1].value("tc0_mC") / 1000 - 60.0) > 10 * TC_WITHIN_C


def test_the_micropython_vm_keeps_what_it_is_given() -> None:
    device = virtual_probe(setup=BenchSetup("corrupt"), runtime="micropython")
    try:
        found = stored(bench_of(device), {"tc0_offset_mC": -1_234, "tc0_cal_day": TODAY, "tc0_cal_valid_days": 30})
        assert found.copies == ("in use", "whole")
        again = bench_of(device).configured({**resting_values(PROBE), "today_day": TODAY + 31})
        assert again.values["tc0_offset_mC"] == -1_234
        assert kept(again.values).sensors[0].state == "expired"
    finally:
        device.close()


def test_a_bath_that_does_not_stand_still_is_not_taken() -> None:
    device = virtual_probe("drift:control=0.1@0", setup=BenchSetup(bath="20@3600"))
    bench = bench_of(device)
    client = bench.configured(resting_values(PROBE))
    with pytest.raises(Exception, match=r"no steady reading at 20 °C within 15 s: control .* drifts by"):
        bench.bath_point(client, [0], 20.0, None, 5.0, 15.0)


def test_a_load_that_is_not_the_one_named_ends_rf() -> None:
    device = virtual_probe(setup=BenchSetup(load_ohm=20.0))
    with pytest.raises(Exception, match="impedance_low"):
        bench_of(device).load_point(2.0, 100.0, 5.0, lambda _: MeterReading(device))  # type: ignore[arg-type, return-value]
    assert not device.plant.enable


def test_a_wattmeter_that_gives_no_answer_ends_rf_at_once() -> None:
    device = virtual_probe(setup=BenchSetup(load_ohm=LOAD_OHM))

    def fails() -> float:
        raise ValueError("no meter")

    with pytest.raises(ValueError, match="no meter"):
        bench_of(device).load_point(2.0, LOAD_OHM, 30.0, lambda _: Reading(fails))
    assert device.plant.rf_on_s < 3.0
    assert not device.plant.enable


# On the command line, behind a port


def calibrate(bench: VirtualBench, folder: Path, *arguments: str) -> tuple[int, str, str]:
    return finished("calibrate", *arguments, "--port", bench.port, "-o", str(folder / "records"), cwd=folder)


@pytest.mark.skipif(sys.platform == "win32", reason="the meter is `cat`")
def test_the_sense_by_the_command_line(tmp_path: Path) -> None:
    setup = BenchSetup("none", ("voltage=0.4,0.95",), load_ohm=LOAD_OHM)
    powers = [word for power in POWERS_W for word in ("--point", str(power))]
    meter = tmp_path / "watts"
    with virtual_bench(tmp_path, setup=setup) as bench:
        read = f'{sys.executable} -c "print(open({str(meter)!r}).read())"'
        take = bench.device.plant.take

        def noting(enable: int, duty: int) -> None:
            take(enable, duty)
            if bench.device.plant.tick % 20 == 0:
                with written_whole(meter) as file:
                    file.write(b"%.4f\n" % bench.device.plant.power_W)

        bench.device.plant.take = noting  # type: ignore[method-assign]
        code, out, told = calibrate(
            bench,
            tmp_path,
            "rf",
            "--load",
            "100",
            *powers,
            "--reference",
            "meter 7",
            "--wattmeter",
            read,
            "--yes",
            "--json",
        )
    assert code == 0, told
    rf = json.loads(out)["sensors"][-1]
    assert (rf["name"], rf["state"]) == ("rf", "valid")


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pty")
def test_at_a_terminal_it_asks_for_what_it_needs(tmp_path: Path) -> None:
    """All answers are typed ahead: two baths, no third, and yes."""
    setup = BenchSetup("none", ("control=1.8,1.03",), "20,60@8")
    mine, theirs = os.openpty()
    with virtual_bench(tmp_path, setup=setup) as bench:
        words = ("calibrate", "tc", "--place", "control", "--reference", "Pt100", "--window", "3", "--port", bench.port)
        os.write(mine, b"20\n60\n\ny\n")
        process = rfprobe(*words, stdin=theirs, cwd=tmp_path)
        out, told = process.communicate(timeout=120)
        assert process.returncode == 0, told
        code, shown, _ = finished("calibrate", "show", "--port", bench.port, "--json", cwd=tmp_path)
    assert told.count("What does the reference read") == 3
    assert "against Pt100" in out
    [record] = (tmp_path / "calibrations").glob("*_tc_*.json")
    assert json.loads(record.read_text(encoding="utf-8"))["fitted"][0]["gain"] == pytest.approx(1 / 1.03, abs=0.01)
    answer = json.loads(shown)
    assert (answer["sensors"][0]["state"], answer["sensors"][0]["reference"]) == ("valid", "Pt100")
    assert (code, answer["state"]) == (8, "none")  # the others were never calibrated
    assert answer["copies"] == {"A": "in use", "B": "whole"}


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pty and SIGINT")
def test_ctrl_c_while_the_wattmeter_is_asked_for_ends_rf(tmp_path: Path) -> None:
    _, theirs = os.openpty()
    powers = [word for power in POWERS_W for word in ("--point", str(power))]
    with virtual_bench(tmp_path, setup=BenchSetup("none", load_ohm=LOAD_OHM)) as bench:
        words = ("calibrate", "rf", "--load", "100", *powers, "--reference", "m", "--yes", "--port", bench.port)
        process = rfprobe(*words, "--seconds", "60", stdin=theirs, cwd=tmp_path)
        until(lambda: bench.enabled and bench.device.plant.rf_on_s > 2.0, 60.0)
        process.send_signal(signal.SIGINT)
        until(lambda: not bench.enabled, 5.0)
        _, told = process.communicate(timeout=60)
    assert (process.returncode, told.splitlines()[-1]) == (5, "rfprobe: stopped; nothing was written to the device")


def test_a_session_of_such_a_bench_is_simulated_again_and_replayed(tmp_path: Path) -> None:
    plan = tmp_path / "quick.toml"
    plan.write_text(QUICK_PLAN, encoding="utf-8")
    setup = BenchSetup("one_corrupt", ("control=0.4,1.01", "voltage=0.2,0.97"))
    given = {"out_dir": tmp_path / "then", "setup": setup, "record_pins": True}
    with simulate(read_plan(plan), PROBE, "vertebra", "cpython", **given) as session:  # type: ignore[arg-type]
        assert session.summary["calibration"] == {
            "state": "valid",
            "sentence": "",
            "note": "copy A of the calibration is corrupt; copy B is used",
        }
        assert replay_through(session).difference is None
        assert rerun(session, tmp_path).differences.none


def test_doctor_tells_of_a_spoilt_calibration(tmp_path: Path) -> None:
    with virtual_bench(tmp_path, setup=BenchSetup("corrupt")) as bench:
        _, out, _ = finished("doctor", "--port", bench.port, cwd=tmp_path)
    assert "rfprobe calibrate" in " ".join(out.split())


@pytest.mark.parametrize(
    ("kind", "code", "words"),
    [
        ("exact", 0, "valid"),
        ("none", 8, "never calibrated"),
        ("expired", 8, "expired 2016-12-31"),
        ("corrupt", 8, "both copies of the calibration are corrupt"),
        ("one_corrupt", 0, "copy A of the calibration is corrupt; copy B is used"),
    ],
)
def test_show_names_what_is_wrong(tmp_path: Path, kind: str, code: int, words: str) -> None:
    with virtual_bench(tmp_path, setup=BenchSetup(kind)) as bench:
        ended, out, told = calibrate(bench, tmp_path, "show")
    assert ended == code
    assert words in out + told


def test_a_run_on_a_calibration_that_has_expired_says_so_everywhere(tmp_path: Path) -> None:
    plan = tmp_path / "quick.toml"
    plan.write_text(QUICK_PLAN, encoding="utf-8")
    with virtual_bench(tmp_path, setup=BenchSetup("expired")) as bench:
        code, out, told = finished("run", str(plan), "--port", bench.port, "--yes", "--json", cwd=tmp_path)
    assert code == 0, told
    summary = json.loads(out)
    assert summary["calibration"]["state"] == "expired"
    assert "Uncalibrated: the calibration has expired (control expired 2016-12-31" in " ".join(told.split())
    [page] = (tmp_path / "sessions").glob("*.html")
    assert f'role="alert">{summary["calibration"]["sentence"]}</p>' in page.read_text(encoding="utf-8")


def test_a_session_keeps_what_it_ran_with_and_its_report_says_it(tmp_path: Path) -> None:
    plan = tmp_path / "quick.toml"
    plan.write_text(QUICK_PLAN, encoding="utf-8")
    setup = BenchSetup("corrupt")
    with simulate(read_plan(plan), PROBE, "vertebra", "cpython", out_dir=tmp_path, setup=setup) as session:
        told = session.summary["calibration"]
        page, comparison, pdf = build_html(session), build_comparison([session, session]), build_pdf(session)
        assert session.df["demand_W"].max() <= session.parameters()["max_power_mW"] / 2000
        digest = session.meta["digests"]["calibration"]  # type: ignore[index, call-overload]
        assert digest == session.meta["calibration"]["digest"]  # type: ignore[index, call-overload]
    assert told["state"] == "corrupt"
    assert f'<p class="warning uncalibrated" role="alert">{told["sentence"]}</p>' in page
    assert 'class="warning uncalibrated"' in comparison
    assert pdf.startswith(b"%PDF")


TC = ("tc", "--reference", "Pt100", "--yes")
RF = ("rf", "--reference", "meter", "--yes", "--load", "100", "--wattmeter", "false")
FIVE = ("--point", "1", "--point", "2", "--point", "3", "--point", "4", "--point", "5")


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("tc", "--point", "20", "--point", "60", "--yes"), 2, "--reference: name what it is compared with"),
        ((*TC, "--point", "20"), 2, "two bath points or more"),
        ((*TC, "--point", "20", "--point", "25"), 2, "5 °C apart"),
        ((*TC, "--point", "20", "--point", "130"), 2, "0 to 100 °C"),
        ((*TC, "--point", "20", "--point", "60", "--place", "elbow"), 2, "no such thermocouple; there are control"),
        (TC, 2, "nobody is there to ask"),
        ((*RF, "--point", "1"), 2, "5 powers or more"),
        (("rf", "--reference", "m", *FIVE, "--yes", "--wattmeter", "false"), 2, "--load: say what"),
        (("rf", "--reference", "m", *FIVE, "--yes", "--load", "1900", "--wattmeter", "false"), 2, "the stage has"),
        (("rf", "--reference", "m", *FIVE, "--yes", "--load", "100"), 2, "nobody is there to ask"),
        ((*TC, "--point", "20", "--point", "60", "--port", "nowhere"), 6, "there is no port nowhere"),
        (("show", "--port", "nowhere"), 6, "there is no port nowhere"),
    ],
)
def test_wrong_input_starts_nothing(tmp_path: Path, arguments: tuple[str, ...], code: int, told: str) -> None:
    given = arguments if "--port" in arguments else (*arguments, "--port", str(tmp_path / "unopened"))
    ended, out, words = finished("calibrate", *given, cwd=tmp_path)
    assert ended == code, words
    assert told in words
    assert (out, len(words.splitlines()), "Traceback" in words) == ("", 1, False)
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_another_process_has_is_named(tmp_path: Path) -> None:
    from rfprobe.owner import Owner

    with virtual_bench(tmp_path) as bench, Owner(bench.port, "rfprobe run gel", {}):
        code, _, told = calibrate(bench, tmp_path, "show")
    assert code == 6
    assert "is owned by `rfprobe run gel`" in told


def test_a_wattmeter_that_is_not_there_is_one_line_and_nothing_is_kept(tmp_path: Path) -> None:
    setup = BenchSetup("none", load_ohm=LOAD_OHM)
    with virtual_bench(tmp_path, setup=setup) as bench:
        code, _, told = calibrate(bench, tmp_path, *RF[:-1], "no-such-meter", *FIVE)
        assert code == 6
        assert told.splitlines()[-1].startswith("--wattmeter no-such-meter: no such file")
        assert not bench.enabled
        assert bench.device.runtime.device.board.flash == [b"", b""]  # type: ignore[attr-defined]


def test_today_is_a_day_of_this_century() -> None:
    from datetime import date

    assert day_of(date(2000, 1, 1)) == 0
    assert SIMULATED_DAY == day_of(date(2026, 1, 1)) <= today_day()
