"""The notebooks run, and show the outputs of a run."""

import json
import os
import subprocess
import sys

import pytest

from tests.docs.blocks import ROOT


@pytest.mark.slow
def test_notebooks_run():
    pytest.importorskip("nbclient", reason="runs notebooks; comes with emojax[docs]")
    pytest.importorskip("ipykernel", reason="runs notebooks; comes with emojax[docs]")
    environment = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    done = subprocess.run(
        [sys.executable, "-m", "tests.docs.notebooks"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_stored_outputs_are_those_of_one_run():
    for file in (ROOT / "docs").glob("*.ipynb"):
        cells = [each for each in json.loads(file.read_text())["cells"] if "outputs" in each]
        assert [each["execution_count"] for each in cells] == list(range(1, len(cells) + 1))
        assert not any(part["output_type"] == "error" for each in cells for part in each["outputs"])
