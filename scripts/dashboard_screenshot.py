"""Make docs/dashboard.png, the README's picture of the dashboard: `python scripts/dashboard_screenshot.py`.

With a width and `light` or `dark` behind it, that view alone, into the working directory.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import sync_playwright

import rfprobe

ROOT = Path(__file__).resolve().parents[1]
AT = "1:15"
HEIGHTS = {390: 844, 1280: 800}


def views() -> Iterator[tuple[int, str, Path]]:
    """(width, scheme, where to)."""
    if len(sys.argv) == 3:
        yield int(sys.argv[1]), sys.argv[2], Path(f"dashboard-{sys.argv[1]}-{sys.argv[2]}.png").resolve()
    else:
        yield 1280, "light", ROOT / "docs" / "dashboard.png"


def main() -> None:
    sys.path.insert(0, str(ROOT))
    from tests.host.dashboard_browser import BROWSERS, dashboard

    browser = next(path for name in BROWSERS if (path := shutil.which(name)))
    wanted = list(views())
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        with rfprobe.simulate("vertebra-70C", out_dir=folder, seed=7) as session:
            recorded = str(session.path)
        with dashboard("--replay", recorded, "--speed", "10") as served, sync_playwright() as driver:
            chromium = driver.chromium.launch(executable_path=browser, args=["--no-sandbox"])
            for width, scheme, path in wanted:
                size = {"width": width, "height": HEIGHTS.get(width, 800)}
                page = chromium.new_context(viewport=size, color_scheme=scheme).new_page()
                page.goto(served.address)
                page.wait_for_selector(".tile")
                page.wait_for_function(f"document.querySelector('.figure:last-child .value').textContent >= '{AT}'")
                page.screenshot(path=path)
                print(path)
            chromium.close()


main()
