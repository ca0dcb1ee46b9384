"""A dashboard in a process of its own, and Debian's Chromium to look at it with."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
MAC_BROWSER = Path("/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
STATE = ".head .state"
HEATING = ("heating to the target", "holding the target")


@dataclass
class Served:
    """Where a dashboard is: for everybody, and for the operator."""

    process: "subprocess.Popen[str]"
    address: str
    operator: str

    @property
    def port(self) -> int:
        return int(self.address.rstrip("/").rpartition(":")[2])

    @property
    def token(self) -> str:
        return self.operator.partition("=")[2]


@contextmanager
def dashboard(*arguments: str, module: str = "rfprobe.cli") -> Generator[Served]:
    """`rfprobe dashboard` until the block ends."""
    with tempfile.TemporaryFile("w+") as errors:  # a pipe that nobody reads would hold it up
        process = subprocess.Popen(
            [sys.executable, "-m", module, "dashboard", "--web-port", "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            text=True,
        )
        try:
            assert process.stdout is not None
            said = [process.stdout.readline().split() for _ in range(2)]
            if not all(len(words) == 2 for words in said):
                process.wait(20)
                errors.seek(0)
                raise AssertionError(errors.read())
            yield Served(process, said[0][1], said[1][1])
        finally:
            process.terminate()
            try:
                process.communicate(timeout=20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()


@contextmanager
def chromium(require_tool: Callable[[str, str], Path]) -> Generator["Browser"]:
    """The browser, or a skip where there is none."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright: it drives the browser")
    found = [path for name in BROWSERS if (path := shutil.which(name))]
    if MAC_BROWSER.exists():
        found.append(str(MAC_BROWSER))
    program = found[0] if found else require_tool(BROWSERS[0], "the dashboard is looked at with it (make packages)")
    with sync_api.sync_playwright() as driver:
        # as root, as which a container runs, Chromium starts without its sandbox alone
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


def opened(browser: "Browser", address: str, **how: object) -> "Page":
    """A page of its own, with nothing shared, when it shows the first moment."""
    context = browser.new_context(**how)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(address)
    page.wait_for_selector(".tile")
    return page


def shows(page: "Page", *states: str, within_s: float = 20.0) -> str:
    """Wait until the page says one of these states; AssertionError with what it says if it does not."""
    end_s = time.monotonic() + within_s
    while True:
        told = page.text_content(STATE) or ""
        if told in states:
            return told
        assert time.monotonic() < end_s, f"{told!r} is none of {states}"
        page.wait_for_timeout(20)
