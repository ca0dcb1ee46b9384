"""What is done with a session of one hour at 100 Hz (360 000 frames): report, export, replay, each in seconds.

The session is made up of real frames; each verb runs as a user runs it, in a process of its own.
"""

import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rfprobe.plan_file import read_plan
from rfprobe.probe_file import device_values, read_probe
from rfprobe.resources import shipped
from rfprobe.session_writer import SessionWriter
from rfprobe.wire import FIELD_NAMES, HELLO_LINE, FrameDecoder, encode_frame
from rfprobe_core import protocol

TICKS = 360_000
AIM_S = 30.0
DOSE_TICKS, HEALTH_TICKS, TRUTH_TICKS = 50, 100, 5
RAMP_END_TICK, END_TICK = 6_000, 354_000
EPOCH_NS = 1_772_600_767_000_000_000
REFERENCE_STEPS = 5_000_000

VERBS = (
    ("report", "report {session} -o {out}/report.html"),
    ("export csv", "export {session} --format csv -o {out}/csv"),
    ("export parquet", "export {session} --format parquet -o {out}/parquet"),
    ("export mcap", "export {session} --format mcap -o {out}/mcap"),
    ("replay, to a socket", "replay {session} --speed 1000"),
    ("sessions verify", "sessions verify {session}"),
)


def state_at(tick: int) -> int:
    if tick < RAMP_END_TICK:
        return protocol.RAMP
    return protocol.HOLD if tick < END_TICK else protocol.COOLDOWN


def record(folder: Path) -> Path:
    """The session, with a telemetry frame in every tick and the truth of a simulation."""
    plan, probe = read_plan(shipped("plans") / "vertebra-70C.toml"), read_probe(shipped("probes") / "bone-10mm.toml")
    meta = {
        "kind": "simulation", "plan": plan.text, "plan_name": plan.name, "profile": probe.text,
        "profile_name": probe.name, "roles": list(probe.roles), "runtime": "cpython", "seed": 1, "tick_zero": 0,
        "parameters": {**device_values(plan, probe)},
    }  # fmt: skip
    decoder = FrameDecoder()
    sequence = 0
    with SessionWriter.create(folder, plan.name, "hour", meta) as writer:
        for tick in range(TICKS):
            due = [(protocol.TELEMETRY, telemetry(tick))]
            if tick % DOSE_TICKS == 1:
                due.append((protocol.DOSE, (1_000, 100, 10, 0, 70_400, 40_000, 37_500, 0, 10 * tick)))
            if tick % HEALTH_TICKS == 2:
                due.append((protocol.HEALTH, (900, 1_000, 30, 100_000, sequence, 0, 0, 0, 900, 0)))
            for kind, values in due:
                raw = encode_frame(kind, values, state=state_at(tick), sequence=sequence & 0xFFFF, tick=tick)
                sequence += 1
                for frame in decoder.feed(raw):
                    assert not isinstance(frame, str)
                    writer.frame(frame, EPOCH_NS + tick * 10_000_000)
        truth = [
            (tick / 100, 70.0, 48.0, 40.0, 71.0, 1.0, 20_000.0, 9.0, 33.0, 0.27, 122.0)
            for tick in range(0, TICKS, TRUTH_TICKS)
        ]
        writer.truth_rows(truth)
    return writer.path


def telemetry(tick: int) -> tuple[int, ...]:
    reading = 37_000 + min(tick * 11 // 2, 33_000) + tick * 7919 % 300
    figures = {
        "flags": 15, "setpoint_mC": 70_000, "demand_mW": 9_000, "power_mW": 9_000 + tick * 31 % 200,
        "voltage_cV": 3_300, "current_dmA": 2_700, "impedance_dohm": 1_222 + tick * 17 % 90, "duty": 20_000,
        "energy_mJ": tick * 90, "tc0_mC": reading, "tc1_mC": 48_000, "tc2_mC": 41_000, "tc3_age": 255,
    }  # fmt: skip
    return tuple(figures.get(name, 0) for name in FIELD_NAMES[protocol.TELEMETRY])


def reference_loop_s() -> float:
    """A fixed amount of plain Python: what this machine gives at this moment."""
    begun_s = time.perf_counter()
    total = 0
    for index in range(REFERENCE_STEPS):
        total += index & 7
    assert total
    return time.perf_counter() - begun_s


def listen(process: "subprocess.Popen[str]") -> int:
    """Meet the replayed session as a host does: ask for HELLO, and count the frames until it hangs up."""
    assert process.stdout is not None
    link = next(line for line in process.stdout if line.startswith("socket://"))
    decoder = FrameDecoder()
    host, number = link.strip().removeprefix("socket://").split(":")
    with socket.create_connection((host, int(number))) as connection:
        connection.sendall(HELLO_LINE)
        while data := connection.recv(65_536):
            decoder.feed(data)
    return decoder.frames


def run() -> list[dict[str, object]]:
    """One row for each verb."""
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        session = record(Path(folder))
        size_MB = session.stat().st_size / 1e6
        for name, form in VERBS:
            loop_s = reference_loop_s()
            arguments = form.format(session=session, out=folder).split()
            begun_s = time.perf_counter()
            command = [sys.executable, "-m", "rfprobe.cli", *arguments]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            heard = listen(process) if name.startswith("replay") else 0
            _, stderr = process.communicate()
            took_s = time.perf_counter() - begun_s
            assert process.returncode == 0, stderr
            rows.append(
                {
                    "verb": name,
                    "frames heard": heard or "",
                    "session MB": round(size_MB),
                    "wall s": round(took_s, 1),
                    "aim s": AIM_S,
                    "reference loop s": round(loop_s, 2),
                    "wall / reference loop": round(took_s / loop_s, 1),
                }
            )
    return rows
