"""The notebooks: the text beside each says the same, and a run on the stand-in account gives what was committed."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any

import jupytext
import nbformat
import pytest
from nbclient import NotebookClient

from local_account.server import control
from scones.stage.settings import PROJECT_ROOT
from tests.realdata import cifar_archive, photographs

NOTEBOOKS = sorted((PROJECT_ROOT / "notebooks").glob("*.ipynb"))
CELL_TIMEOUT_S = 900
PHOTOGRAPHS = "photographs"
"""The tag of cells whose outputs are not kept."""


def code(notebook: Any) -> list[Any]:
    """The cells that run."""
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(cell: Any) -> list[list[str]]:
    """What kinds of output a cell has: a text, a table, a picture; none where it shows photographs of others."""
    if PHOTOGRAPHS in cell.metadata.get("tags", []):
        return []
    return [sorted(output.get("data", {output.output_type: 0})) for output in cell.outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_kept_as_text_as_well_and_with_its_outputs(path: Path) -> None:
    notebook, text = nbformat.read(path, as_version=4), jupytext.read(path.with_suffix(".py"))
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in text.cells]
    assert [cell.execution_count for cell in code(notebook)] == list(range(1, len(code(notebook)) + 1))
    assert not [output for cell in code(notebook) for output in cell.outputs if output.output_type == "error"]
    assert not [cell.source for cell in code(notebook) if PHOTOGRAPHS in cell.metadata.get("tags", []) and cell.outputs]
    assert sum("image/png" in kind for cell in code(notebook) for kind in kinds(cell)) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_on_the_stand_in_account(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if path.stem == "own_photos":
        monkeypatch.setenv("SCONES_PHOTOS", str(photographs()))
    else:
        monkeypatch.setenv("SCONES_DATA", str(cifar_archive()))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free.getsockname()[1]}")
    monkeypatch.setenv("SCONES_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PROJECT_ROOT), os.environ.get("PYTHONPATH", "")]))
    committed = nbformat.read(path, as_version=4)
    run = nbformat.from_dict(committed)
    client = NotebookClient(run, timeout=CELL_TIMEOUT_S, resources={"metadata": {"path": str(tmp_path)}})
    try:
        client.execute()
    finally:
        control.stop(tmp_path / "home" / "account")
    assert [kinds(cell) for cell in code(run)] == [kinds(cell) for cell in code(committed)]
