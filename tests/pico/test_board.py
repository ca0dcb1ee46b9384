"""The board's seams: what they do at the wires, what they cost, and that they allocate nothing."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from rfprobe.sim.pico_port import serve_tcp

from .conftest import Bench

pytestmark = pytest.mark.pico

LINK_LIMIT_us = 150


class RecordingDevice:
    """An SPI device that answers with the complement of the byte before, and records its wires."""

    def __init__(self) -> None:
        self.seen: list[list[int]] = []
        self.selected = False

    def select(self) -> None:
        self.selected = True
        self.seen.append([])

    def transfer(self, byte: int) -> int:
        assert self.selected
        self.seen[-1].append(byte)
        return 255 - byte

    def deselect(self) -> None:
        self.selected = False


def test_seams_allocate_nothing(bench: Bench) -> None:
    bench.run("scenarios.costs()", rb"costs done", 10_000_000)
    costs = {name: int(size) for name, size in re.findall(r"cost (\w+) (-?\d+)", bench.text.decode(errors="replace"))}
    assert len(costs) == 19
    assert [name for name, allocates in costs.items() if allocates] == ["allocating"]
    assert bench.expect(rb"heap (-?\d+)")[1] == b"0"


def test_each_chip_select_reaches_its_own_device_in_mode_1(bench: Bench) -> None:
    devices = [RecordingDevice() for _ in range(4)]
    for pin, device in zip((17, 20, 21, 22), devices, strict=True):
        bench.pico.attach_spi(pin, device)
    for index, device in enumerate(devices):
        sent = bytes((index, 0x55, 0xAA, 0xFF))
        match = bench.run(f"scenarios.exchange({index}, {sent!r})", rb"exchange (b[^\r]*)\r")
        assert match[1].decode() == repr(bytes(255 - byte for byte in sent))
        assert device.seen == [list(sent)]
        assert not device.selected
    mode, clock_Hz, bits = bench.pico.spi_settings()
    assert (mode, bits) == (1, 8)
    assert clock_Hz <= 5_000_000


def test_absent_chip_reads_as_zeros(bench: Bench) -> None:
    assert bench.run("scenarios.exchange(0, b'\\x80123')", rb"exchange (b[^\r]*)\r")[1] == rb"b'\x00\x00\x00\x00'"


@pytest.mark.parametrize(("interlock", "footswitch", "enable"), [(0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (1, 1, 1)])
def test_inputs(bench: Bench, interlock: int, footswitch: int, enable: int) -> None:
    for pin, level in ((7, interlock), (8, footswitch), (6, enable)):
        bench.pico.set_input(pin, level)
    bench.run("scenarios.inputs()", b"inputs %d %d %d" % (interlock, footswitch, enable))


def test_broken_wires_read_as_open(bench: Bench) -> None:
    bench.run("scenarios.inputs()", rb"inputs 0 0 0")


def test_converters(bench: Bench) -> None:
    for channel, code in enumerate((0, 2048, 4095)):
        bench.pico.set_adc(channel, code)
    values = [int(word) for word in bench.run("scenarios.converters()", rb"adc (\d+) (\d+) (\d+)").groups()]
    assert values == [code << 4 | code >> 8 for code in (0, 2048, 4095)]


@pytest.mark.parametrize("kind", ["stopped", "fed"])
def test_watchdog_that_is_stopped_or_fed_does_not_reset(bench: Bench, kind: str) -> None:
    bench.run(f"scenarios.watchdog({kind!r})", rb"still here")
    assert bench.pico.resets == []
    assert not bench.pico.watchdog.enabled


@pytest.mark.parametrize(("kind", "reset", "cause"), [("starved", "watchdog", b"1"), ("reset", "forced", b"2")])
def test_reset_cause_and_phase_survive(bench: Bench, kind: str, reset: str, cause: bytes) -> None:
    assert bench.run("scenarios.identity()", rb"identity (\S+) (\d) (-?\d+)").groups() == (
        b"rpi_pico",
        b"0",
        b"-1",
    )
    bench.type(f"scenarios.watchdog({kind!r})")
    assert bench.pico.run_until(lambda: bool(bench.pico.resets), 1_000_000)
    assert [entry.kind for entry in bench.pico.resets] == [reset]
    bench.text = b""
    bench.expect(rb"test image ready.*>>> ", 3_000_000)
    assert bench.run("scenarios.identity()", rb"identity (\S+) (\d) (-?\d+)").groups()[1:] == (cause, b"9")
    assert not bench.pico.watchdog.enabled


# 10 s once, behind a FIFO that text has misaligned; the chip is told of each USB frame meanwhile.
@pytest.mark.parametrize(
    ("text_bytes", "deaf_s"),
    [pytest.param(37, 10, marks=pytest.mark.slow), (37, 2), (0, 2), (64, 2), (100, 2)],
)
def test_host_that_does_not_read_never_blocks_a_write(bench: Bench, text_bytes: int, deaf_s: int) -> None:
    bench.type(f"scenarios.deaf_host({(deaf_s + 2) * 1000}, {text_bytes})")
    bench.pico.run_us(1_000_000)
    bench.pico.reading = False
    bench.pico.run_us(deaf_s * 1_000_000)
    bench.pico.reading = True
    worst_us, sent, dropped = (int(word) for word in bench.expect(rb"deaf (\d+) (\d+) (\d+)").groups())
    assert worst_us <= LINK_LIMIT_us
    assert dropped == pytest.approx(deaf_s * 20, rel=0.1)
    assert sent > 30
    frames = bench.text.count(b"\x02" * 59 + b"\x00")
    assert frames == sent, "each frame that link_write took arrives whole"


def test_bytes_from_the_host_arrive_one_by_one(bench: Bench) -> None:
    bench.type("scenarios.echo(70)")
    bench.pico.run_us(30_000)
    sent = bytes(range(0x20, 0x20 + 70))
    bench.pico.write(sent)
    assert bench.expect(rb"echo (b.*?) -1\r")[1].decode() == repr(sent)


def test_mpremote_takes_over_while_frames_stream(bench: Bench) -> None:
    bench.type("scenarios.stream()")
    bench.expect(rb"\x01{59}\x00")
    mpremote = Path(sys.executable).parent / "mpremote"
    with serve_tcp(bench.pico) as port:
        done = subprocess.run([mpremote, "connect", port.url, "fs", "ls"], capture_output=True, timeout=60, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(b"ls :")
        edges, level = port.call(lambda pico: (len(bench.enable), pico.pin_state(2).level))
    assert edges > 10
    assert level == 0
    last_us = bench.enable[-1].time_us
    assert bench.pico.time_us - last_us > 50_000, "RF went off at mpremote's Ctrl-C"


def test_host_may_close_and_open_the_port(bench: Bench) -> None:
    bench.pico.dtr = False
    bench.pico.run_us(200_000)
    bench.pico.dtr = True
    bench.pico.run_us(100_000)
    bench.pico.read()
    bench.run("scenarios.inputs()", rb"inputs 0 0 0")
