"""The black box from the trip to the report: fetched whole over a bad link, kept in the session, true to the event."""

import math
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rfprobe.blackbox import tripped_series
from rfprobe.client import FetchBox, Phase, RunClient
from rfprobe.export import export, tables_of
from rfprobe.report import build_html, differences
from rfprobe.report_data import BOX_TRIPPED, extract
from rfprobe.session import Session
from rfprobe.session_writer import SessionWriter
from rfprobe.sim.faults import parse_fault
from rfprobe.sim.lockstep import LockStep
from rfprobe.sim.plant import Plant
from rfprobe.sim.runtimes import make_runtime
from rfprobe.sim.tissue import load_tissue
from rfprobe.wire import Frame
from rfprobe_core import protocol, safety
from tests.runtimes.loop import NONCE_SEED, UID, Run, probe, run, short_values
from tests.runtimes.test_interlocks import TABLE, Broken

Mangle = Callable[[bytes, int], bytes]
"""What becomes of the bytes of a tick, with how many frames of the black box have gone by."""
# Rows whose values the records have no room for: the event tells the one that tripped.
NOT_IN_IT = ("cold_junction", "guard_dose", "memory", "heap_free")


def fetch(
    mangle: Mangle = lambda data, _: data,
    fault: str = "interlock@4",
    when: FetchBox = FetchBox.AFTER_FAULT,
    stop_in_fetch: bool = False,
    stop_at_s: float | None = None,
) -> Run:
    """A run on the firmware, with what `mangle` makes of what the device sends from the fault on."""
    plant = Plant(load_tissue("vertebra"), probe(), 1, [parse_fault(fault, probe().roles)] if fault else [])
    device = LockStep(plant, make_runtime("cpython", NONCE_SEED, UID))
    client = RunClient(short_values(), protocol.protocol_digest(), black_box=when)
    done, gone = Run(plant, client), 0
    while not client.over:
        assert plant.tick < 4_000
        if stop_at_s is not None and plant.t_s >= stop_at_s:
            client.request_stop()
            stop_at_s = None
        sent = device.exchange(client.poll(plant.t_s))
        if client.phase is Phase.BLACK_BOX:
            gone += bool(sent[1:2] == b"\x07")
            sent = mangle(sent, gone)
            if stop_in_fetch and gone == 5:
                client.request_stop()
        done.frames += [item for item in client.feed(sent, plant.t_s) if isinstance(item, Frame)]
    return done


def session_of(done: Run, path: Path) -> Session:
    """The run's frames as a session."""
    meta = {"parameters": short_values(), "result": done.client.result, "tick_zero": 0}
    with SessionWriter(path, meta) as writer:  # type: ignore[arg-type]
        for frame in done.frames:
            writer.frame(frame, frame.tick * 10_000_000)
    return Session(path)


def asked(done: Run) -> list[str]:
    return [
        text.split("*")[0].split(maxsplit=1)[1]
        for _, way, text in done.client.commands
        if way == "tx" and "BLACKBOX" in text
    ]


# Over the link


def test_it_comes_whole_after_a_fault() -> None:
    done = fetch()
    assert done.client.box is not None and done.client.box.done
    assert asked(done) == ["BLACKBOX 0 1000"]
    assert (done.client.result, done.client.cause) == ("fault", "interlock_open")


@pytest.mark.parametrize("when", FetchBox)
@pytest.mark.parametrize("fault", ["", "interlock@4"])
def test_it_is_asked_for_when_that_is_wanted_and_only_then(when: FetchBox, fault: str) -> None:
    done = fetch(fault=fault, when=when)
    wanted = when is FetchBox.ALWAYS or (when is FetchBox.AFTER_FAULT and fault != "")
    assert (done.client.box is not None) == wanted == bool(asked(done))
    assert any(frame.type == protocol.BLACKBOX for frame in done.frames) == wanted


def test_it_comes_whole_of_a_run_that_the_operator_stopped() -> None:
    """The stop that ended the run is not one that ends the fetching."""
    done = fetch(fault="", when=FetchBox.ALWAYS, stop_at_s=4.0)
    assert (done.client.result, done.client.cause) == ("stopped", "operator_stop")
    assert done.client.box is not None and done.client.box.done


@pytest.mark.parametrize("lost", [1, 20, 23])
def test_a_frame_that_is_damaged_is_asked_for_again(lost: int) -> None:
    def damage(sent: bytes, gone: int) -> bytes:
        return sent[:100] + bytes([sent[100] ^ 1]) + sent[101:] if gone == lost and sent[1:2] == b"\x07" else sent

    done = fetch(damage)
    first = 7 * (lost - 1)
    assert done.client.box is not None and done.client.box.done
    assert done.client.decoder.bad_crc == 1
    assert len(asked(done)) == 2
    assert asked(done)[1].startswith(f"BLACKBOX {first} ")


def test_every_frame_may_be_lost_once() -> None:
    seen: set[bytes] = set()

    def lose(sent: bytes, _: int) -> bytes:
        key = sent[18:60]
        if sent[1:2] != b"\x07" or key in seen:
            return sent
        seen.add(key)
        return b""

    done = fetch(lose)
    assert done.client.box is not None and done.client.box.done


def test_a_silent_link_ends_the_asking_and_the_verdict_stands() -> None:
    done = fetch(lambda _, __: b"")
    assert (done.client.result, done.client.cause, done.client.phase) == ("fault", "interlock_open", Phase.ENDED)
    assert done.client.box is not None and not done.client.box.done


def test_a_device_that_never_sends_its_records_is_not_waited_for_longer_than_this() -> None:
    done = fetch(lambda sent, _: b"" if sent[1:2] == b"\x07" else sent)
    assert len(asked(done)) == 5
    assert done.plant.t_s - done.events(protocol.EVENT_END)[0].tick / 100 < 3.0
    assert done.client.result == "fault"


def test_an_operator_who_stops_does_not_wait_for_it() -> None:
    done = fetch(stop_in_fetch=True)
    assert (done.client.result, done.client.cause) == ("fault", "interlock_open")
    assert done.client.box is not None and 0 < done.client.box.received < done.client.box.count
    assert any(text == "STOP" for _, way, text in done.client.commands if way == "tx")


def test_a_host_that_is_not_heard_gives_up() -> None:
    done = run(make_runtime("cpython", NONCE_SEED, UID), ["host_silence@4"], black_box=FetchBox.AFTER_FAULT)
    assert done.client.result == "link_lost"
    assert done.client.box is not None and done.client.box.count == -1


# In the session


@pytest.fixture(scope="module")
def displaced(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return session_of(fetch(fault="displaced:control=4@0"), tmp_path_factory.mktemp("box") / "displaced.rfp")


def test_it_is_kept_checked_and_exported(displaced: Session, tmp_path: Path) -> None:
    found = displaced.verify()
    assert (found.problems, found.notes) == ([], [])
    box = displaced.blackbox
    assert np.allclose(np.diff(box["t_s"]), 0.01)
    assert len(tables_of(displaced)["blackbox"]) == len(box) > 200
    for kind in ("csv", "parquet", "mcap"):
        written = export(displaced, kind, tmp_path)
        assert kind == "mcap" or {each.table: each.rows for each in written}["blackbox"] == len(box)


def test_its_time_is_the_telemetrys(displaced: Session) -> None:
    box, df = displaced.blackbox, displaced.df
    both = df[df["t_s"].round(2).isin(box["t_s"].round(2))]
    at = box.set_index(box["t_s"].round(2)).loc[both["t_s"].round(2)]
    assert len(both) > 40
    assert np.allclose(at["voltage_V"], both["voltage_V"])
    assert np.allclose(at["demand_W"], both["demand_W"])
    assert list(at["state"]) == list(both["state"])


@pytest.mark.parametrize(
    "change",
    ["UPDATE blackbox SET voltage_cV = voltage_cV + 1 WHERE record = 5", "DELETE FROM blackbox WHERE record = 5"],
)
def test_a_record_that_was_changed_is_found(displaced: Session, change: str, tmp_path: Path) -> None:
    path = tmp_path / "changed.rfp"
    shutil.copy(displaced.path, path)
    database = sqlite3.connect(path)
    database.execute(change)
    database.commit()
    database.close()
    with Session(path) as session:
        assert any("blackbox" in problem for problem in session.verify().problems)


def test_a_box_that_is_not_whole_is_noted(tmp_path: Path) -> None:
    done = fetch(stop_in_fetch=True)
    path = tmp_path / "part.rfp"
    with SessionWriter(path, {"parameters": dict(short_values())}) as writer:
        for frame in done.frames:
            writer.frame(frame, frame.tick * 10_000_000)
        box = done.client.box
        assert box is not None
        writer.set_meta("black_box", {"records": box.count, "received": box.received})
    with Session(path) as session:
        assert any("not whole" in note for note in session.verify().notes)
        assert box.received <= len(session.blackbox) < box.count  # what came after the stop is kept too


def test_without_a_box_there_are_its_columns_and_no_rows(tmp_path: Path) -> None:
    with session_of(fetch(when=FetchBox.NEVER), tmp_path / "none.rfp") as session:
        assert len(session.blackbox) == 0
        assert "power_W" in session.blackbox
        assert "blackbox" not in tables_of(session)
        assert session.verify().passed


# What it says of the trip


LARGEST_IMPEDANCE_ohm = 6553.5  # that a record has room for, by RECORD_FIELDS

# One for each row, whichever thermocouple it is of; the host's own silence leaves nobody to ask for the box.
BY_ROW = {each.row.split("|")[0].lstrip("tc0123_"): each for each in TABLE if each.fault != "host_silence"}


@pytest.mark.parametrize("broken", BY_ROW.values(), ids=lambda broken: broken.row)
def test_the_last_samples_of_the_row_that_tripped_are_in_it(broken: Broken, tmp_path: Path) -> None:
    """Its last value is the event's, and it was beyond the limit in N samples and not in the one before."""
    done = run(
        make_runtime("cpython", NONCE_SEED, UID),
        [f"{broken.fault}@6.2"],
        black_box=FetchBox.AFTER_FAULT,
        **{"hold_ms": 10_000, **broken.changes},
    )
    with session_of(done, tmp_path / "x.rfp") as session:
        fault = session.events[session.events["kind"] == "fault"].iloc[0]
        row = str(fault["row"])
        values = tripped_series(session, row)
        if row.endswith(NOT_IN_IT):
            assert values is None
            return
        assert values is not None
        assert values.index[-1] == pytest.approx(fault["t_s"])
        if row == "ticks_missed":
            return  # the box has each gap, the row their sum
        grain, most = (0.1, LARGEST_IMPEDANCE_ohm) if row.startswith("impedance") else (0.002, math.inf)
        assert values.iloc[-1] == pytest.approx(min(fault["value"], most), rel=0.001, abs=grain)
        samples = safety.ROWS[safety.ROW[row]][4]
        assert values.index[-samples] == pytest.approx(fault["first_t_s"])


def test_the_report_shows_it_with_the_samples_that_tripped(displaced: Session) -> None:
    html = build_html(displaced)
    assert differences(html, displaced) == []
    series = extract(html)["series"]
    beyond = [value for value in series[BOX_TRIPPED]["beyond"] if value is not None]
    assert len(beyond) == 5 and min(beyond) > 2.0
    assert {"box", "box_control", "box_boundary", "box_guard"} <= set(series)
    for key in ("tripped", "temperatures", "power", "impedance"):
        assert f'id="plot-box-{key}"' in html
    assert "energy_without_temperature" in html
