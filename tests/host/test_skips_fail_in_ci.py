"""With CI=true a test that is skipped because something is missing fails; any other skip stays a skip."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # seconds each: left to `make test`

TESTS_THAT_SKIP = {
    "test_tool.py": """
        def test_missing(require_tool):
            require_tool("no-such-tool-anywhere", "there is nothing like it")

        def test_present(require_tool):
            assert require_tool("sh", "to be found").exists()
    """,
    "test_mark.py": """
        import pytest

        @pytest.mark.skipif(True, reason="needs a mark")
        def test_wanting(): ...

        @pytest.mark.skipif(True, reason="another reason")
        def test_other(): ...
    """,
    "test_module.py": """
        import pytest

        pytest.skip("needs a module", allow_module_level=True)
    """,
}


def outcome_of_run(folder: Path, *, ci: bool, workers: int) -> str:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_") and key != "CI"}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    if ci:
        environment["CI"] = "true"
    parallel = ["-p", "xdist.plugin", "-n", str(workers)] if workers else []
    command = [sys.executable, "-m", "pytest", "-c", "pytest.ini", "-p", "no:cacheprovider", *parallel]
    ran = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=100)
    return ran.stdout.splitlines()[-1]


@pytest.fixture
def folder(tmp_path: Path, repo_root: Path) -> Path:
    shutil.copy(repo_root / "tests" / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\naddopts = --import-mode=importlib\npythonpath = {repo_root}\n")
    for name, text in TESTS_THAT_SKIP.items():
        (tmp_path / name).write_text("\n".join(line.removeprefix("        ") for line in text.splitlines()) + "\n")
    return tmp_path


def test_at_home_they_are_skips(folder: Path) -> None:
    assert "1 passed, 4 skipped" in outcome_of_run(folder, ci=False, workers=0)


def test_in_ci_a_skipped_module_is_an_error(folder: Path) -> None:
    # The module fails while it is collected, which stops the run before any test.
    assert "1 error in" in outcome_of_run(folder, ci=True, workers=0)


@pytest.mark.parametrize("workers", [0, 2])
def test_in_ci_they_are_failures_of_each_test(folder: Path, workers: int) -> None:
    (folder / "test_module.py").unlink()
    # A mark skips before the test's body, which pytest counts as an error of its set-up.
    assert "1 failed, 1 passed, 1 skipped, 1 error" in outcome_of_run(folder, ci=True, workers=workers)
