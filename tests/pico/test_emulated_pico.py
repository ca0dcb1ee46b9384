"""What the emulation mends and what its wires report, held against what the chip itself sees."""

import pytest

from rfprobe.sim.emulated_pico import EmulatedPico
from rfprobe.sim.pico_port import PicoPort, PtyWire, TcpWire, Wire

from .conftest import Bench

pytestmark = pytest.mark.pico


def test_sleep_is_emulated_faster_than_real_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted in the emulation's steps, not in wall time: asleep, the chip runs next to no instructions."""
    looks = 0
    stock = bench.pico._mcu.timer.read_uint32

    def count(offset: int) -> int:
        nonlocal looks
        looks += 1
        return stock(offset)

    monkeypatch.setattr(bench.pico._mcu.timer, "read_uint32", count)
    bench.run("import time; time.sleep_us(500_900)", rb"\r\n>>> $")
    assert looks < 2000  # spinning through the last 900 µs alone takes 5000


def test_skipping_busy_waits_changes_no_time(bench: Bench, test_image, monkeypatch: pytest.MonkeyPatch) -> None:
    assert bench.pico._delays.return_addresses, "the loop is recognised in this image"
    skipping = bench.run("scenarios.sleeps()", rb"slept.*9900 \d+\r")[0]
    monkeypatch.setattr("rfprobe.sim.emulated_pico._DelaySkipper.find_loop", lambda self: None)
    spinning = Bench(test_image).run("scenarios.sleeps()", rb"slept.*9900 \d+\r")[0]

    def times_us(text: bytes) -> list[int]:
        return [int(words.split()[1]) for words in text.split(b"slept")[1:]]

    assert len(times_us(skipping)) == 4
    assert times_us(skipping) == pytest.approx(times_us(spinning), abs=2)


def test_chip_reads_the_level_it_drives(bench: Bench) -> None:
    bench.run("scenarios.read_own_output()", rb"own 1 0")


def test_a_wire_carries_the_level_of_one_pin_to_another(bench: Bench) -> None:
    cut = bench.pico.wire(12, 13)
    bench.run(
        "import machine; out = machine.Pin(13, machine.Pin.OUT, value=1); seen = machine.Pin(12, machine.Pin.IN)",
        rb">>> $",
    )
    bench.run("a = seen(); out(0); b = seen(); out(1); print('saw', a, b, seen())", rb"saw 1 0 1\r")
    cut()
    bench.run("out(0); print('saw', seen())", rb"saw 1\r")


def test_a_reset_is_seen_at_the_other_end_of_a_wire(bench: Bench) -> None:
    bench.pico.wire(12, 13)
    bench.run("import machine; machine.Pin(13, machine.Pin.OUT, value=1); machine.reset()", rb"test image ready.*>>> $")
    assert bench.run("import machine; print('saw', machine.Pin(12, machine.Pin.IN)())", rb"saw (\d)\r")[1] == b"0"


def test_same_run_twice_to_the_cycle(bench: Bench, boot) -> None:
    other = boot()
    for each in (bench, other):
        each.run("scenarios.off_and_on()", rb"results.*>>> ")
    assert bench.enable == other.enable
    assert bench.pico.cycles == other.pico.cycles


def test_run_until_us_stops_at_the_cycle(bench: Bench) -> None:
    target_us = bench.pico.time_us + 1234.5
    bench.pico.run_until_us(target_us)
    assert bench.pico.time_us == pytest.approx(target_us, abs=0.2)


def test_callbacks_come_at_their_emulated_time(bench: Bench) -> None:
    started_us, seen = bench.pico.time_us, []
    cancel = bench.pico.call_every_us(1000, lambda: seen.append(bench.pico.time_us - started_us))
    bench.pico.call_after_us(3500, cancel)
    bench.pico.run_us(10_000)
    assert seen == pytest.approx([1000, 2000, 3000], abs=0.1)


def test_run_pin_resets_to_power_on(bench: Bench) -> None:
    bench.run("scenarios.b.set_phase(5); scenarios.energise(1)", rb"True\r\n")
    bench.pico.press_reset()
    bench.text = b""
    assert bench.pico.pin_state(2).function == "none"
    assert bench.enable[-1].level == 0
    bench.expect(rb"test image ready.*>>> ", 3_000_000)
    bench.run("scenarios.identity()", rb"identity rpi_pico 0 -1 16")
    assert [reset.kind for reset in bench.pico.resets] == ["run_pin"]


def test_spi_select_is_released_by_a_reset(bench: Bench) -> None:
    class Device:
        selected = False

        def select(self) -> None:
            self.selected = True

        def transfer(self, byte: int) -> int:
            return byte

        def deselect(self) -> None:
            self.selected = False

    device = Device()
    bench.pico.attach_spi(17, device)
    bench.run("scenarios.b._cs[0](0)", rb">>> $")
    assert device.selected
    bench.pico.press_reset()
    assert not device.selected


def test_host_that_does_not_read_holds_the_endpoint(bench: Bench) -> None:
    bench.pico.reading = False
    bench.type("print('x' * 300)")
    bench.pico.run_us(50_000)
    assert bench.pico.read() == b""
    bench.pico.reading = True
    bench.expect(rb"x{300}\r\n>>> ", 3_000_000)


@pytest.mark.parametrize("wire_type", [TcpWire, PtyWire])
def test_port_carries_bytes_both_ways(test_image, wire_type: type[Wire]) -> None:
    import serial

    pico = EmulatedPico()
    pico.boot(test_image)
    pico.dtr = False
    pico.run_us(200_000)
    with (
        PicoPort(pico, wire_type()) as port,
        serial.serial_for_url(port.url, timeout=20) as program,
    ):
        program.write(b"\x03\r\n")
        program.read_until(b">>> ")
        program.write(b"print(6 * 7)\r\n")
        assert program.read_until(b"42\r\n").endswith(b"42\r\n")
        assert port.call(lambda chip: chip.dtr)


def test_port_tells_what_went_wrong_on_the_chip_side(test_image) -> None:
    pico = EmulatedPico()
    pico.boot(test_image)

    def explode() -> None:
        raise RuntimeError("a model failed")

    pico.call_after_us(5_000, explode)
    port = PicoPort(pico, TcpWire())
    port._thread.join(timeout=20)
    with pytest.raises(RuntimeError, match="a model failed"):
        port.close()
