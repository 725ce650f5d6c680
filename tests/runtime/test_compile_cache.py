"""The second start of a command finds the programs that the first one compiled."""

import os
import subprocess
import sys

import pytest

COMPILES = """
import sys
from emojax.runtime.cli import run_command

def work():
    import jax, jax.numpy as jnp
    jax.jit(lambda x: jnp.sin(x) @ x.T)(jnp.ones((8, 8))).block_until_ready()

sys.exit(run_command(work))
"""


def run(tmp_path, **variables):
    inherited = {
        name: value for name, value in os.environ.items() if name != "EMOJAX_COMPILE_CACHE"
    }
    env = {**inherited, "XDG_CACHE_HOME": str(tmp_path), **variables}
    done = subprocess.run(
        [sys.executable, "-c", COMPILES], env=env, check=True, capture_output=True
    )
    assert done.stderr == b""
    return {file.name for file in (tmp_path / "emojax" / "programs").glob("*-cache")}


def test_programs_are_kept_and_found_again(tmp_path):
    kept = run(tmp_path)
    assert kept
    assert run(tmp_path) == kept


def test_a_part_of_a_program_is_replaced(tmp_path):
    """What a kill leaves is neither used nor warned of at every later start."""
    kept = run(tmp_path)
    whole = {}
    for file in (tmp_path / "emojax" / "programs").glob("*-cache"):
        whole[file] = file.stat().st_size
        os.truncate(file, whole[file] // 2)
    assert run(tmp_path) == kept
    assert all(file.stat().st_size > size // 2 for file, size in whole.items())


@pytest.mark.parametrize(
    "variables", [{"EMOJAX_COMPILE_CACHE": "off"}, {"JAX_COMPILATION_CACHE_DIR": "/nonexistent"}]
)
def test_the_user_decides(tmp_path, variables):
    assert run(tmp_path, **variables) == set()
