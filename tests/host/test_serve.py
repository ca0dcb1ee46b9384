"""A device behind a port, met by a client that knows only the wire: pyserial, cobs, layouts written out here.

Nothing of the host tools is imported by that client; the fake device is scripted from the same constants.
"""

import itertools
import os
import struct
import sys
import threading
import time
from binascii import crc_hqx
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import serial
from cobs import cobs

from rfprobe.errors import EnvironmentProblem
from rfprobe.serve import ByteServer, Pace, Served, serve

pytestmark = pytest.mark.slow  # seconds each: left to `make test`

# The wire, as a stranger would write it down from the protocol's page.
HEADER = "<BBBBHI"  # type, schema, channel, state, sequence, tick
TELEMETRY, HELLO = 1, 6
TELEMETRY_BODY = "<HBBiiiiBBBBiHHHHHHII"
IDLE, HOLD, STOPPED = 1, 4, 8
TICK_US = 10_000

needs_pty = pytest.mark.skipif(sys.platform == "win32", reason="needs pty")


def packed(kind: int, state: int, sequence: int, tick: int, body: bytes) -> bytes:
    payload = struct.pack(HEADER, kind, 1, 0, state, sequence & 0xFFFF, tick) + body
    return cobs.encode(payload + struct.pack("<H", crc_hqx(payload, 0xFFFF))) + b"\0"


class FakeDevice:
    """Says telemetry every fifth tick, HELLO when asked, and STOPPED once it has been stopped."""

    tick_us = TICK_US

    def __init__(self) -> None:
        self.state = HOLD
        self.tick = 0
        self.sequence = 0
        self.heard = b""
        self.longest = 0

    def exchange(self, rx: bytes) -> bytes:
        self.longest = max(self.longest, len(rx))
        self.tick += 1
        self.heard += rx
        out = b""
        if b"HELLO\n" in self.heard:
            self.heard = self.heard.replace(b"HELLO\n", b"")
            out += self.frame(HELLO, b"fw=0.1.0\nnonce=4711")
        if b"STOP" in self.heard:
            self.heard = b""
            self.state = STOPPED
        if self.tick % 5 == 0:
            values = [0] * 20
            values[3] = 70_000 + self.tick
            out += self.frame(TELEMETRY, struct.pack(TELEMETRY_BODY, *values))
        return out

    def frame(self, kind: int, body: bytes) -> bytes:
        self.sequence += 1
        return packed(kind, self.state, self.sequence - 1, self.tick, body)


class TinyClient:
    """What somebody writes in an afternoon to read the device."""

    def __init__(self, name: str) -> None:
        self.port = serial.serial_for_url(name, timeout=0.05)
        self.pending = b""
        self.chunks: list[bytes] = []
        self.sequences: list[int] = []

    def frames(self, within_s: float = 5.0) -> Iterator[tuple[int, int, bytes]]:
        """(type, state, body) of each frame that comes; TimeoutError when none comes for too long."""
        until = time.monotonic() + within_s
        while time.monotonic() < until:
            self.pending += self.port.read(self.port.in_waiting or 1)
            *chunks, self.pending = self.pending.split(b"\0")
            self.chunks += chunks
            while self.chunks:
                payload = cobs.decode(self.chunks.pop(0))
                assert struct.unpack("<H", payload[-2:])[0] == crc_hqx(payload[:-2], 0xFFFF)
                kind, schema, _, state, sequence, _ = struct.unpack_from(HEADER, payload)
                assert schema == 1
                self.sequences.append(sequence)
                until = time.monotonic() + within_s
                yield kind, state, payload[10:-2]
        raise TimeoutError(f"nothing came for {within_s} s")

    def first(self, wanted: int) -> tuple[int, bytes]:
        return next((state, body) for kind, state, body in self.frames() if kind == wanted)

    def no_gap(self) -> bool:
        return self.sequences == list(range(self.sequences[0], self.sequences[0] + len(self.sequences)))


@contextmanager
def served(device: FakeDevice, server: ByteServer, speed: float = 1.0) -> Generator[list[Served]]:
    """The device runs behind the server, in a thread, until the block ends."""
    ended = threading.Event()
    outcome: list[Served] = []
    thread = threading.Thread(target=lambda: outcome.append(serve(device, server, speed=speed, stop=ended.is_set)))
    thread.start()
    try:
        yield outcome
    finally:
        ended.set()
        thread.join(5)
        server.close()
    assert outcome


def doors() -> list[object]:
    return [pytest.param("pty", marks=needs_pty), "socket"]


def open_door(door: str) -> ByteServer:
    return ByteServer(pty=door == "pty", tcp_port=0 if door == "socket" else None)


@pytest.mark.parametrize("door", doors())
def test_a_client_that_knows_only_the_wire_reads_and_stops_it(door: str) -> None:
    device, server = FakeDevice(), open_door(door)
    with served(device, server):
        client = TinyClient(server.links()[0])
        client.port.write(b"HELLO\n")
        assert client.first(HELLO) == (HOLD, b"fw=0.1.0\nnonce=4711")
        state, body = client.first(TELEMETRY)
        assert state == HOLD
        assert struct.unpack(TELEMETRY_BODY, body)[3] > 70_000
        client.port.write(b"STOP\n")
        assert any(state == STOPPED for _, state, _ in client.frames())
        assert client.no_gap()
        client.port.close()
    assert device.state == STOPPED


@needs_pty
def test_both_doors_are_one_wire() -> None:
    device, server = FakeDevice(), ByteServer()
    with served(device, server):
        by_pty, by_socket = (TinyClient(link) for link in server.links())
        by_socket.port.write(b"HELLO\n")
        assert by_pty.first(HELLO) == by_socket.first(HELLO)
        by_pty.port.write(b"STOP\n")
        assert any(state == STOPPED for _, state, _ in by_socket.frames())


@pytest.mark.parametrize("door", doors())
def test_closed_and_opened_again(door: str) -> None:
    """What was said while nobody listened is not told to the next as if it were news."""
    device, server = FakeDevice(), open_door(door)
    with served(device, server, speed=20):
        for _ in range(3):
            client = TinyClient(server.links()[0])
            client.first(TELEMETRY)
            before = device.tick
            client.first(TELEMETRY)
            assert client.no_gap(), client.sequences
            client.port.close()
            while device.tick < before + 500:  # 100 frames, far more than the kernel keeps
                time.sleep(0.002)
            tick_at_opening = device.tick
            client = TinyClient(server.links()[0])
            _, body = client.first(TELEMETRY)
            assert struct.unpack(TELEMETRY_BODY, body)[3] - 70_000 >= tick_at_opening - 25
            client.first(TELEMETRY)
            assert client.no_gap(), client.sequences
            client.port.close()


@pytest.mark.parametrize("door", doors())
def test_unplugged_and_plugged_in_again(door: str, tmp_path: Path) -> None:
    link = tmp_path / "probe" if door == "pty" else None
    server = ByteServer(pty=door == "pty", tcp_port=0 if door == "socket" else None, symlink=link)
    name = server.links()[0]
    assert name == (str(link) if link else name)
    with served(FakeDevice(), server, speed=20):
        client = TinyClient(name)
        client.first(TELEMETRY)
        server.unplug()
        with pytest.raises(OSError):
            for _ in client.frames():
                pass
        client.port.close()
        assert server.links() == []
        with pytest.raises(OSError):
            TinyClient(name)
        server.replug()
        assert server.links() == [name]
        client = TinyClient(name)
        client.first(TELEMETRY)
        client.port.close()
    assert link is None or not link.is_symlink()


def test_a_second_host_is_turned_away_until_the_first_has_gone() -> None:
    server = open_door("socket")
    with served(FakeDevice(), server, speed=20):
        first = TinyClient(server.links()[0])
        first.first(TELEMETRY)
        with pytest.raises(OSError):
            TinyClient(server.links()[0]).first(TELEMETRY)
        first.first(TELEMETRY)
        assert first.no_gap()
        first.port.close()
        third = TinyClient(server.links()[0])
        third.first(TELEMETRY)
        third.port.close()


@needs_pty
def test_a_second_host_on_the_pty_is_kept_out_by_the_lock() -> None:
    with open_door("pty") as server:
        first = serial.Serial(server.links()[0], exclusive=True)
        with pytest.raises(OSError):
            serial.Serial(server.links()[0], exclusive=True)
        first.close()
        serial.Serial(server.links()[0], exclusive=True).close()


@pytest.mark.parametrize("door", doors())
def test_a_host_that_does_not_read_costs_whole_frames_and_holds_nothing_up(door: str) -> None:
    server = ByteServer(pty=door == "pty", tcp_port=0 if door == "socket" else None, backlog_bytes=1_000)
    with server:
        client = TinyClient(server.links()[0])
        server.read()  # lets the socket's host in
        server.read()
        begun = time.monotonic()
        count = 20_000
        for number in range(count):
            server.write(packed(HELLO, IDLE, number, number, b"x" * 200))
        assert time.monotonic() - begun < 20
        assert server.dropped > 0
        # Nothing is cut: what arrives is whole frames, the oldest ones and the newest.
        reader = threading.Thread(target=lambda: next(_ for _ in client.frames() if client.sequences[-1] == count - 1))
        reader.start()
        while reader.is_alive():
            server.write(b"")
            time.sleep(0.001)
        assert len(client.sequences) == count - server.dropped
        assert client.sequences[-1] == count - 1


@needs_pty
def test_the_host_s_flood_is_taken_64_bytes_a_tick_and_through_one_door_it_does_not_shut_the_other() -> None:
    device, server = FakeDevice(), ByteServer()
    with server:
        flooding, stopping = (serial.serial_for_url(link, timeout=0, write_timeout=0.2) for link in server.links())
        server.read()
        flooding.write(b"x" * 3_000)
        stopping.write(b"STOP\n")
        for _ in range(10):
            device.exchange(server.read(64))
            time.sleep(0.001)
        assert device.longest == 64
        assert device.state == STOPPED


@needs_pty
def test_every_byte_goes_through_the_pty_unchanged_both_ways() -> None:
    every = bytes(range(256)) * 4
    with open_door("pty") as server:
        host = serial.Serial(server.links()[0], timeout=2)
        server.read()
        server.write(every)
        assert host.read(len(every)) == every
        host.write(every)
        received = b""
        for _ in range(200):
            received += server.read(64)
            time.sleep(0.001)
        assert received == every
        host.close()


@needs_pty
def test_the_symlink_takes_no_file_s_place(tmp_path: Path) -> None:
    place = tmp_path / "probe"
    place.write_text("mine")
    with pytest.raises(EnvironmentProblem, match="not a link"):
        ByteServer(symlink=place)
    assert place.read_text() == "mine"
    place.unlink()
    place.symlink_to("nowhere")
    with ByteServer(symlink=place) as server:
        assert os.path.realpath(place).startswith("/dev/")
        assert server.links()[0] == str(place)
    assert os.listdir(tmp_path) == []


def test_a_port_that_is_taken_is_one_line() -> None:
    with open_door("socket") as server:
        number = int(server.links()[0].rpartition(":")[2])
        with pytest.raises(EnvironmentProblem, match=str(number)) as told:
            ByteServer(pty=False, tcp_port=number)
        assert "\n" not in str(told.value)


def test_a_server_without_a_door_is_refused() -> None:
    with pytest.raises(EnvironmentProblem, match="no pty"):
        ByteServer(pty=False, tcp_port=None)


# The pace, on a clock of its own


class Clock:
    """Sleeps exactly; `delays` says how long the work of a tick takes."""

    def __init__(self, delays: Callable[[int], float] = lambda tick: 0.0) -> None:
        self.now_s = 1000.0
        self.delays = delays
        self.ticks: list[float] = []

    def run(self, ticks: int, speed: float = 1.0) -> Served:
        def on_tick(tick: int, received: bytes, sent: bytes) -> None:
            self.ticks.append(self.now_s - 1000.0)
            self.now_s += self.delays(tick)

        with ByteServer(pty=False) as server:
            return serve(
                FakeDevice(),
                server,
                speed=speed,
                stop=lambda: len(self.ticks) >= ticks,
                on_tick=on_tick,
                clock=lambda: self.now_s,
                sleep=self.sleep,
            )

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds


@pytest.mark.parametrize("speed", [0.5, 1.0, 20.0])
def test_ticks_keep_to_an_absolute_grid(speed: float) -> None:
    clock = Clock(delays=lambda tick: 0.004 / speed)
    outcome = clock.run(500, speed)
    assert clock.ticks == pytest.approx([(tick + 1) * 0.01 / speed for tick in range(500)], abs=1e-6)
    assert (outcome.ticks, outcome.given_up_s) == (500, 0.0)


def test_a_short_delay_is_made_up_for_and_a_long_one_is_not() -> None:
    clock = Clock(delays=lambda tick: {100: 0.015, 200: 3.0}.get(tick, 0.0))
    outcome = clock.run(300)
    gaps = [after - before for before, after in itertools.pairwise(clock.ticks)]
    assert gaps[99] == pytest.approx(0.015)
    assert gaps[100] == pytest.approx(0.005)
    assert gaps[199] == pytest.approx(3.0)
    assert min(gaps) == pytest.approx(0.005)
    assert gaps[200:] == pytest.approx([0.01] * len(gaps[200:]))
    assert outcome.given_up_s == pytest.approx(2.99)


def test_a_device_too_slow_for_its_pace_gives_up_time_but_never_bursts() -> None:
    clock = Clock(delays=lambda tick: 0.025)
    outcome = clock.run(100)
    gaps = [after - before for before, after in itertools.pairwise(clock.ticks)]
    assert min(gaps) >= 0.025 - 1e-9
    assert outcome.given_up_s == pytest.approx(99 * 0.015, rel=0.02)


def test_at_high_speed_small_delays_cost_nothing() -> None:
    pace = Pace(0.0001, 0.0)
    assert pace.wait_s(0.0015) == 0.0
    for _ in range(14):
        pace.ticked()
    assert (pace.wait_s(0.0015), pace.given_up_s) == (pytest.approx(0.0, abs=1e-9), 0.0)
    pace.ticked()
    assert pace.wait_s(0.0015) == pytest.approx(0.0001)


@pytest.mark.parametrize("speed", [0.0, -1.0, 2000.0])
def test_impossible_speeds_are_refused(speed: float) -> None:
    with ByteServer(pty=False) as server, pytest.raises(ValueError, match="speed"):
        serve(FakeDevice(), server, speed=speed, stop=lambda: True)
