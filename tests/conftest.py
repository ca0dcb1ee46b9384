"""What every test may use: `require_tool`, and the rule that in CI nothing is skipped for want of something.

A test that cannot run here skips with a reason that starts with "needs " (`require_tool` writes one). Where
the environment says CI=true such a skip is a failure: a green run there means that everything ran.
"""

import os
import shutil
from collections.abc import Callable, Generator
from pathlib import Path

import pytest

NEEDS = "needs "
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The folder that holds pyproject.toml."""
    return ROOT


@pytest.fixture(scope="session")
def require_tool() -> Callable[[str, str], Path]:
    """`require_tool(name, why)` gives the path of a program on PATH, or skips the test that asked for it."""

    def find(name: str, why: str) -> Path:
        path = shutil.which(name)
        if path is None:
            pytest.skip(f"{NEEDS}{name}: {why}")
        return Path(path)

    return find


def _fail_if_wanting(
    report: pytest.TestReport | pytest.CollectReport, raised: BaseException | None, where: str
) -> None:
    """Turn a report of a skip for want of something into a failure, in CI."""
    wanting = isinstance(raised, pytest.skip.Exception) and str(raised.msg).startswith(NEEDS)
    if wanting and os.environ.get("CI") == "true":
        report.outcome = "failed"
        report.longrepr = f"{where}: {raised}, and with CI=true nothing may be missing"


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge the skips of tests: calls of `pytest.skip`, and skip marks."""
    report = yield
    _fail_if_wanting(report, call.excinfo and call.excinfo.value, item.nodeid)
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge the skips of whole modules."""
    report = yield
    call: pytest.CallInfo[object] | None = getattr(report, "call", None)
    _fail_if_wanting(report, call and call.excinfo and call.excinfo.value, collector.nodeid)
    return report
