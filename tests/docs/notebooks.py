"""Run the notebooks of the documentation.

python -m tests.docs.notebooks            run, keep nothing
python -m tests.docs.notebooks --write    run, and store the outputs in the notebook
"""

import os
import sys
import tempfile

import nbformat
from nbclient import NotebookClient

from tests.docs.blocks import ROOT


def main(write: bool) -> None:
    """Run every notebook in an empty folder; raises where a cell does."""
    os.environ["PYTHONPATH"] = str(ROOT)
    for file in sorted((ROOT / "docs").glob("*.ipynb")):
        notebook = nbformat.read(file, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            resources = {"metadata": {"path": folder}}
            NotebookClient(notebook, timeout=600, resources=resources).execute()
        if write:
            _forget_times(notebook)
            nbformat.write(notebook, file)
        print(f"{file.relative_to(ROOT)}: {len(notebook.cells)} cells ran")


def _forget_times(notebook: nbformat.NotebookNode) -> None:
    """Drop what differs from run to run."""
    notebook.metadata.pop("language_info", None)
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)


if __name__ == "__main__":
    main("--write" in sys.argv[1:])
