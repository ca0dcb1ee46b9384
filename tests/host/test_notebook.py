"""The notebook runs from top to bottom, and shows what it says it shows."""

from pathlib import Path

import pytest

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "first_run.ipynb"


@pytest.mark.slow
def test_the_notebook_runs(tmp_path: Path) -> None:
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient: the notebook extra")
    nbformat = pytest.importorskip("nbformat", reason="needs nbformat: the notebook extra")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [
        output.get("data", {}).get("text/plain", "")
        for cell in notebook.cells
        if cell.cell_type == "code"
        for output in cell.outputs
    ]
    assert any("'result': 'completed'" in text for text in shown)
    assert any("('fault'," in text and "interlock_open" in text for text in shown)
    assert any(text == "(True, True)" for text in shown)
    assert any("image/png" in output.get("data", {}) for cell in notebook.cells for output in cell.get("outputs", []))
    assert list(tmp_path.iterdir()) == [], "a notebook leaves nothing where it is run"


def test_the_notebook_is_kept_without_output() -> None:
    import json

    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert all(not cell.get("outputs") and cell.get("execution_count") is None for cell in cells)
