"""What one frame of the monitor costs after an hour of data at 100 Hz: `python -m tests.bench.bench_monitor`."""

import asyncio
import statistics
import time

import numpy as np

from rfprobe.monitor import Monitor, WINDOWS_s
from tests.host.test_monitor import a_run

COUNT = 360_000
MOST_MS = 100.0


async def frame_ms(window: int) -> list[float]:
    """Processor time of each of ten frames, drawn and rendered, at 80 by 24."""
    source = a_run(500)
    app = Monitor(source)
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause(0.5)
        app.watched.t_s.extend(np.arange(1, COUNT + 1) / 100 + app.watched.now_s)
        for name in app.watched.names:
            app.watched.series[name].extend(np.sin(np.arange(COUNT) / 5000) * 10 + 60)
        app.watched.heard_ns += COUNT * 10_000_000
        app.action_zoom(window)
        taken: list[float] = []
        for _ in range(10):
            begun = time.process_time()
            app.redraw()
            app.query_one("#plot").render()
            taken.append(1000 * (time.process_time() - begun))
    source.close()
    return taken


def run() -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for step, name in ((0, "2 minutes of it"), (len(WINDOWS_s), "the whole hour")):
        taken = asyncio.run(frame_ms(step))
        rows.append(
            {
                "shown": name,
                "CPU ms a frame, median of 10": f"{statistics.median(taken):.0f}",
                "worst": f"{max(taken):.0f}",
                "goal": f"{MOST_MS:.0f}",
            }
        )
    return rows


if __name__ == "__main__":
    print(run())
