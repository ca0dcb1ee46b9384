"""The command parser under noise, in MicroPython's VM with its heap locked. A million lines: `make test-long`.

Nothing may leave it, nothing may be allocated, and no line without its right CRC may change anything but stop.
"""

import os
import subprocess
from pathlib import Path

import pytest

import rfprobe_core
from rfprobe.errors import EnvironmentProblem
from rfprobe.sim.runtimes import micropython_path

FIRMWARE = Path(str(rfprobe_core.__file__)).parent.parent
SIM = Path(str(rfprobe_core.__file__)).parents[2] / "host_tools" / "rfprobe" / "sim"
ALL = int(os.environ.get("LINES", "1000000"))

PROGRAM = """
import micropython, sys
from array import array
from onboard.board import VirtualBoard
from rfprobe_core.kernels import crc16
from rfprobe_drivers.rig import build_controller

COUNT = {count}
{hole}
board = VirtualBoard(7, "u")
controller = build_controller(board)
for _ in range(30):
    controller.tick(1, 0)
commands = controller.commands
seeds = [b"12 SET hold_ms=5000", b"7 ARM 1234 77", b"8 START 77", b"9 CONFIGURE", b"3 LEASE 7*0000", b"5 ACKNOWLEDGE",
         b"HELLO", b"STATUS", b"GET hold_ms", b"1 SET max_power_mW=50000*0000", b"*", b"99999999999999999999 SET",
         b"1 SET hold_ms=-5*FFFF", b"4 SET hold_ms 1 2 3 4 5"]
lines = [bytearray(each) for each in seeds]
state = array("i", [12345])
values_before = array("i", controller.values)

def chance(most):
    now = state[0]
    # does not repeat for 2^30 calls, and the VM's small ints hold the product
    now = (now * 1103515245 + 12345) & 0x3FFFFFFF
    state[0] = now
    return (now >> 12) % most

def feed(line):
    for place in range(len(line)):
        byte = line[place]
        if chance(12) == 0:
            byte = chance(256)
        if byte & 0xDF == 0x53 and chance(3):  # S: what says STOP stops, and is counted apart
            byte = 0x54
        commands.take(controller, byte)
    commands.take(controller, 10)

def noise():
    for _ in range(chance(60)):
        byte = chance(256)
        commands.take(controller, 0x54 if byte & 0xDF == 0x53 else byte)
    commands.take(controller, 10)

def all_of_it():
    for at in range(COUNT):
        if at & 1:
            noise()
        else:
            feed(lines[chance(len(lines))])
        if controller.sequence.state != 1 or commands.owned:
            return at
        commands.slow_verb = -1
        if at % 64 == 0:
            controller.tick(1, 0)
    return -1

micropython.heap_lock()
try:
    at = all_of_it()
finally:
    micropython.heap_unlock()
changed = [key for key in range(len(values_before)) if values_before[key] != controller.values[key]]
print(at, len(changed), commands.lines_refused > 0)
"""


def fed(count: int, hole: str = "") -> str:
    """What the program says: the line that changed the state or −1, values changed, whether lines were refused."""
    try:
        vm = str(micropython_path())
    except EnvironmentProblem as missing:
        pytest.skip(f"needs MicroPython: {missing}")
    done = subprocess.run(
        [vm, "-X", "heapsize=4m", "-c", PROGRAM.format(count=count, hole=hole)],
        env={"MICROPYPATH": f"{FIRMWARE}:{SIM}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_no_line_of_noise_does_anything() -> None:
    assert fed(10_000) == "-1 0 True"


# A parser that takes every CRC for right: the lease that is offered is taken.
NO_CRC = """
from rfprobe_core.lines import LineParser
finish = LineParser._finish
def blind(parser):
    finish(parser)
    parser.crc_right = True
LineParser._finish = blind
"""


def test_a_parser_that_does_not_look_at_the_crc_is_found() -> None:
    changed_at, _, _ = fed(10_000, NO_CRC).split()
    assert int(changed_at) >= 0


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_no_line_of_a_million_does_anything() -> None:
    assert fed(ALL) == "-1 0 True"
