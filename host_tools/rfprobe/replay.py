"""A recorded session played again in its own rhythm: the frames as they came, at any speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rfprobe.serve import ByteServer
    from rfprobe.session import Session

PAUSE_S: Final = 0.005
LINGER_S: Final = 1.0  # what was said last has to be read before the port is gone
_AT_ONCE = 2_000


class Replayed:
    """`chunks` gives what is due, with the host's time it came at; `into` plays it behind a port."""

    def __init__(self, session: Session, speed: float) -> None:
        self.frames = 0
        self._session = session
        self._speed = speed

    def chunks(self, clock: Callable[[], float] = time.monotonic) -> Iterator[tuple[int, bytes] | None]:
        """(host_ns, bytes) of each frame when it is due; None when nothing is due yet."""
        begun_s = clock()
        first_ns: int | None = None
        for host_ns, raw in self._recorded():
            first_ns = host_ns if first_ns is None else first_ns
            due_s = begun_s + (host_ns - first_ns) / 1e9 / self._speed
            while clock() < due_s:
                yield None
            self.frames += 1
            yield host_ns, raw

    def _recorded(self) -> Iterator[tuple[int, bytes]]:
        last = 0
        while rows := self._session.rows(
            "SELECT id, host_ns, raw FROM frames WHERE id > ? ORDER BY id LIMIT ?", (last, _AT_ONCE)
        ):
            for ident, host_ns, raw in rows:
                yield host_ns, raw
                last = ident

    def into(self, server: ByteServer, stop: Callable[[], bool]) -> bool:
        """Play it behind `server` once a host has said something; whether it came to its end."""
        while not server.read():
            if stop():
                return False
            time.sleep(PAUSE_S)
        for chunk in self.chunks():
            if stop():
                return False
            if chunk is None:
                time.sleep(PAUSE_S)
            server.read()
            server.write(b"" if chunk is None else chunk[1])
        self._hand_out_the_rest(server)
        return True

    def _hand_out_the_rest(self, server: ByteServer) -> None:
        until_s = time.monotonic() + LINGER_S
        while time.monotonic() < until_s:
            server.read()
            server.write(b"")
            time.sleep(PAUSE_S)
