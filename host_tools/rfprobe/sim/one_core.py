"""One core for the host and the VM: they take turns, and a core that sleeps between its turns wakes up late.

On two cores an exchange between them takes ten times as long as on one, because each wakes the other's core from
its sleep. So the pair shares a core that no other pair has claimed. Linux only; elsewhere, and where every core is
claimed, the scheduler decides as it always does.
"""

import os
import socket
import sys
import threading


class OneCore:
    """Holds the calling thread, and the processes it starts, on one core until `release`; `held` is which."""

    def __init__(self) -> None:
        self.held: int | None = None
        self._claim: socket.socket | None = None
        if sys.platform == "linux":
            self._thread = threading.get_native_id()
            self._cores = os.sched_getaffinity(self._thread)
            if len(self._cores) > 1:
                self._take()

    def _take(self) -> None:
        """The first core that no other pair holds. The claim goes with the process, however that ends."""
        if sys.platform == "linux":
            for core in sorted(self._cores):
                claim = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
                try:
                    claim.bind(f"\0rfprobe core {core}")  # an abstract name: no file is left behind
                except OSError:
                    claim.close()
                    continue
                self._claim = claim
                self.held = core
                os.sched_setaffinity(self._thread, {core})
                return

    def release(self) -> None:
        """Back to all the cores there were."""
        if sys.platform == "linux" and self._claim is not None:
            os.sched_setaffinity(self._thread, self._cores)
            self._claim.close()
            self._claim = None
            self.held = None
