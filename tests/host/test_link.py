"""A run over a link that is mistreated while it goes on: every damage is survived, and every loss is counted."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rfprobe.client import RunClient
from rfprobe.serve import ByteServer
from rfprobe.session import Session, list_sessions
from rfprobe.session_verify import verify_path
from rfprobe.sim.lockstep import LockStep
from rfprobe.wire import Frame
from rfprobe_core import protocol
from tests.host.virtual_bench import QUICK_PLAN, behind, finished, virtual_probe
from tests.runtimes.loop import short_values

pytestmark = pytest.mark.slow  # ten seconds each, in real time


class MistreatedLink:
    """The virtual probe, with what it says spoiled on the way; frames are counted as they are sent."""

    tick_us = 10_000

    def __init__(self, device: LockStep, spoil: Callable[[random.Random, bytes], bytes], seed: int) -> None:
        self.device = device
        self.sent = 0
        self.spoiled = 0
        self._spoil = spoil
        self._random = random.Random(seed)

    def exchange(self, rx: bytes) -> bytes:
        sent = self.device.exchange(rx)
        self.sent += sent.count(b"\0")  # the virtual probe says whole frames, and zeros only at their ends
        # HELLO is left alone: it is asked for again, and that is another test.
        if not sent or len(sent) > 120 or self._random.random() > 0.05:
            return sent
        self.spoiled += 1
        return self._spoil(self._random, sent)


def dropped(source: random.Random, sent: bytes) -> bytes:
    at = source.randrange(len(sent) - 1)
    return sent[:at] + sent[at + 1 :]


def flipped(source: random.Random, sent: bytes) -> bytes:
    at = source.randrange(len(sent) - 1)
    return sent[:at] + bytes([sent[at] ^ (1 << source.randrange(8))]) + sent[at + 1 :]


def twice(_: random.Random, sent: bytes) -> bytes:
    return sent * 2


def inserted(source: random.Random, sent: bytes) -> bytes:
    at = source.randrange(len(sent) - 1)
    return sent[:at] + bytes([source.randrange(1, 256)]) + sent[at:]


@pytest.fixture(autouse=True)
def _in_a_directory_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "quick.toml").write_text(QUICK_PLAN, encoding="utf-8")


@pytest.fixture
def probe() -> Iterator[LockStep]:
    device = virtual_probe()
    yield device
    device.close()


@pytest.mark.parametrize("spoil", [dropped, flipped, twice, inserted])
@pytest.mark.parametrize("seed", range(4))
def test_a_run_over_a_damaged_link_completes_and_no_damage_costs_more_than_a_frame(
    spoil: Callable[[random.Random, bytes], bytes], seed: int
) -> None:
    """In virtual time: nothing here depends on how busy the machine is."""
    device = virtual_probe(seed=seed + 1)
    link = MistreatedLink(device, spoil, seed)
    client = RunClient(short_values(), protocol.protocol_digest())
    now_s = 0.0
    heard = 0
    while not client.over:
        heard += sum(isinstance(item, Frame) for item in client.feed(link.exchange(client.poll(now_s)), now_s))
        now_s += 0.01
        assert now_s < 60.0
    device.close()
    assert client.result == "completed", client.refusal
    assert link.spoiled >= 10
    decoder = client.decoder
    assert decoder.lost <= link.spoiled if spoil is not twice else decoder.lost == 0
    assert link.sent - heard - decoder.lost in (0, 1), "what did not come is counted; the last frame may be under way"


@pytest.mark.parametrize("spoil", [flipped, twice])
def test_a_damaged_stream_costs_frames_and_the_session_tells_of_each(
    probe: LockStep, spoil: Callable[[random.Random, bytes], bytes]
) -> None:
    link = MistreatedLink(probe, spoil, seed=5)
    with ByteServer(pty=False) as server, behind(link, server):
        code, stdout, stderr = finished(
            "run", "quick.toml", "--port", server.links()[0], "--yes", "--json", "--no-report"
        )
    assert code == 0, (stdout, stderr)
    told = json.loads(stdout)
    assert link.spoiled >= 5
    (path,) = list_sessions(Path("sessions"))
    found = verify_path(path)
    with Session(path) as session:
        assert not session.rows("SELECT count(*) FROM text")[0][0], "damage is not shown as text"
    if spoil is twice:
        assert found.passed and found.lost == 0, "what came twice is taken once"
    else:
        assert 0 < found.lost <= link.spoiled, "one damage costs one frame at the most"
        assert f"{found.lost} frames are lost" in found.problems[0]
        assert told["frames"]["lost"] == found.lost


def test_a_stall_of_two_seconds_is_a_lost_link_that_the_record_survives(probe: LockStep) -> None:
    class Stalled(MistreatedLink):
        """Neither way for two seconds, once heat is on; nothing is lost, it comes late."""

        kept = b""
        until = -1

        def exchange(self, rx: bytes) -> bytes:
            sent = self.device.exchange(b"" if self._stalls() else rx)
            if self._stalls():
                self.kept += sent
                return b""
            kept, self.kept = self.kept, b""
            return kept + sent

        def _stalls(self) -> bool:
            if self.until < 0 and self.device.plant.rf_on_s > 0.5:
                self.until = self.device.plant.tick + 200
            return self.device.plant.tick < self.until

    with ByteServer(pty=False) as server, behind(Stalled(probe, twice, 1), server):
        code, stdout, _ = finished("run", "quick.toml", "--port", server.links()[0], "--yes", "--json", "--no-report")
    assert (code, json.loads(stdout)["result"]) == (4, "link_lost")
    assert not probe.plant.enable and probe.plant.rf_on_s < 2.0, "the lease ended RF on the device"
    found = verify_path(list_sessions(Path("sessions"))[0])
    assert found.passed, found.problems
