"""Make docs/monitor.svg, the README's picture of the monitor: `python scripts/monitor_screenshot.py`."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import rfprobe
from rfprobe.monitor import Monitor
from rfprobe.session import Session
from rfprobe.sources import Chunk, ReplaySource

AT_S = 75.0
TARGET = Path(__file__).resolve().parents[1] / "docs" / "monitor.svg"


class UpToNow(ReplaySource):
    """The session until some moment, at once, as if it had come just now."""

    def chunks(self) -> Iterator[Chunk | None]:
        (first_ns,) = self._session.rows("SELECT min(host_ns) FROM frames")[0]
        query = "SELECT host_ns, raw FROM frames WHERE host_ns < ? ORDER BY id"
        shift_ns = time.time_ns() - first_ns - round(AT_S * 1e9)
        for host_ns, raw in self._session.rows(query, (first_ns + round(AT_S * 1e9),)):
            yield host_ns + shift_ns, raw
        while True:
            time.sleep(0.01)
            yield None


async def draw(session: Session) -> None:
    source = UpToNow(session, 1.0)
    source.title = "`rfprobe run vertebra-70C` at @left"
    app = Monitor(source)
    async with app.run_test(size=(100, 30)) as pilot:
        while app.watched.now_s < AT_S - 0.2:
            await pilot.pause(0.1)
        app.watched.age_s = lambda _now_ns: 0.0
        app.redraw()
        await pilot.pause()
        TARGET.write_text(app.export_screenshot(title="rfprobe monitor"), encoding="utf-8")


with tempfile.TemporaryDirectory() as folder, rfprobe.simulate("vertebra-70C", out_dir=folder, seed=7) as session:
    asyncio.run(draw(session))
print(TARGET)
