"""The notebooks run from the first cell to the last, are kept without outputs, and point to pages that exist."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from jupyter_client import KernelManager
from nbclient import NotebookClient

ROOT = Path(__file__).parents[2]
NOTEBOOKS = sorted((ROOT / 'docs' / 'notebooks').glob('*.ipynb'))
every_notebook = pytest.mark.parametrize('path', NOTEBOOKS, ids=lambda path: path.stem)


@pytest.fixture(scope='module')
def kernel() -> Iterator[KernelManager]:
    """One process for all: importing the host stack takes longer than most cells. Names do not outlive a notebook."""
    manager = KernelManager()
    manager.start_kernel(env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'})
    yield manager
    manager.shutdown_kernel(now=True)


@pytest.mark.slow
@every_notebook
def test_runs_and_shows_something(path: Path, kernel: KernelManager, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    # The folder of the notebook before is gone.
    notebook.cells.insert(0, nbformat.v4.new_code_cell(f'%cd -q {tmp_path}\n%reset -f'))
    NotebookClient(notebook, timeout=300, km=kernel).execute()
    shown = [output for cell in notebook.cells for output in cell.get('outputs', [])]
    assert not [output for output in shown if output.output_type == 'error']
    assert any('data' in output or output.get('name') == 'stdout' for output in shown)


@every_notebook
def test_is_kept_without_outputs(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get('outputs') and cell.get('execution_count') is None and 'id' in cell


@every_notebook
def test_links_lead_somewhere(path: Path) -> None:
    text = '\n'.join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == 'markdown')
    links = re.findall(r'\]\(([^)#]+)', text)
    assert links and all((path.parent / link).is_file() for link in links)


def test_the_site_lists_each() -> None:
    assert len(NOTEBOOKS) >= 4
    index = (ROOT / 'docs' / 'index.md').read_text(encoding='utf-8').split()
    assert {f'notebooks/{path.stem}' for path in NOTEBOOKS} <= set(index)
