"""How a command ends when the one who reads its output has seen enough."""

import subprocess
import sys

TALKS = """
import sys
from emojax.runtime.cli import run_command
sys.exit(run_command(lambda: [print("a line") for _ in range(100_000)]))
"""


def test_a_closed_pipe_ends_a_command_quietly():
    with subprocess.Popen(
        [sys.executable, "-c", TALKS], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as talking:
        assert talking.stdout.readline() == b"a line\n"
        talking.stdout.close()
        assert talking.stderr.read() == b""
    assert talking.returncode == 141
