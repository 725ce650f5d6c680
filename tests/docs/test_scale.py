"""The costs in docs/cluster.md are those that `benchmarks.scale` computes; examples are sound."""

import subprocess
import sys
from pathlib import Path

import pytest
import tyro
import yaml

from benchmarks import scale
from emojax import score

ROOT = Path(__file__).parents[2]


def test_the_table_is_the_computed_one(capsys):
    scale.main([])
    assert capsys.readouterr().out in (ROOT / "docs/cluster.md").read_text()


def test_a_row_by_hand():
    row = scale.cost(300_000, 1, scale.Assumptions(rate=1000.0, start=30.0, price=2.0))
    assert row.seconds == pytest.approx(330)
    assert row.device_hours == pytest.approx(330 / 3600)
    assert row.twice == 0
    assert 300_000 * (512 + 8) * 4 < row.size < 1.02 * 300_000 * (512 + 8) * 4
    assert row.dollars == pytest.approx(2 * 330 / 3600 + 1172 * 0.005 / 1000)


@pytest.mark.skipif(sys.platform == "win32", reason="no bash there")
@pytest.mark.parametrize("name", ["slurm.sh", "two_processes.sh"])
def test_scripts_are_bash(name):
    subprocess.run(["bash", "-n", ROOT / "examples" / name], check=True)


def test_slurm_starts_score(tmp_path):
    """A stand-in for srun shows what it is given."""
    (tmp_path / "srun").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "srun").chmod(0o755)
    done = subprocess.run(
        ["bash", ROOT / "examples/slurm.sh", "s3://b/scores", "--seed", "3"],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    )
    flag, program, command, *line = done.stdout.split()
    assert (flag, program, command) == ("--kill-on-bad-exit=0", "emojax", "score")
    options = tyro.cli(score.Options, args=line)
    assert (options.out, options.seed, options.chunk) == ("s3://b/scores", 3, 4096)


def test_kubernetes_starts_score():
    job = yaml.safe_load((ROOT / "examples/kubernetes.yaml").read_text())
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["emojax", "score"]
    options = tyro.cli(score.Options, args=container["args"])
    assert options.out.startswith("s3://")
    assert options.samples // options.chunk > 100 * job["spec"]["parallelism"]
