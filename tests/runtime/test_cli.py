"""How a command ends when the one who reads its output has seen enough."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from emojax.runtime import cli
from emojax.runtime.errors import UserError

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


def work_for(process, seconds):
    """Wait until a process has worked for so long: by its own time, since machines may be busy."""
    until = time.monotonic() + 60
    stat = Path(f"/proc/{process.pid}/stat")
    if not stat.exists():  # not Linux
        time.sleep(seconds)
        return
    while process.poll() is None and time.monotonic() < until:
        user, system = stat.read_text().rpartition(")")[2].split()[11:13]
        if (int(user) + int(system)) / os.sysconf("SC_CLK_TCK") >= seconds:
            return
        time.sleep(0.002)


@pytest.mark.parametrize("seconds", [0.15, 0.4, 1.0, 3.0])
@pytest.mark.parametrize("command", [["-m", "emojax", "transfer"], ["-m", "emojax.transfer"]])
def test_ctrl_c_is_one_word_whenever_it_comes(command, seconds, tmp_path):
    """During Python's start, during imports, while jax starts, and while programs compile."""
    with subprocess.Popen(
        [sys.executable, *command],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        work_for(running, seconds)
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=120)[1]
    if "Traceback" in said:  # Python itself was still starting, before any of our code
        assert seconds < 1
        assert "/emojax/" not in said
        return
    assert running.returncode in (130, -signal.SIGINT)
    assert said.splitlines()[-1] == "stopped"


SWALLOWS = """
import gc, signal, sys, time
from emojax.runtime.cli import run_command

def callback(phase, info):
    if armed:
        armed.clear()
        signal.raise_signal(signal.SIGINT)

armed = []
gc.callbacks.append(callback)

def work():
    armed.append(1)
    gc.collect()
    time.sleep(30)

sys.exit(run_command(work))
"""


def test_ctrl_c_in_a_callback_is_not_lost():
    done = subprocess.run(
        [sys.executable, "-c", SWALLOWS], capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stderr) == (130, "stopped\n")


ENDS = """
import atexit, sys
from emojax.runtime.cli import leave, run_command
from emojax.runtime.errors import UserError

def work():
    print("a line")
    raise {error}

atexit.register(print, "exit handlers")
leave(run_command(work))
"""


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        ("KeyboardInterrupt", 130, "a line\n"),
        ("UserError('wrong')", 2, "a line\nexit handlers\n"),
    ],
)
def test_what_was_stopped_ends_without_exit_handlers(error, code, said):
    """jax's handler takes the devices from a compilation that still runs, which crashes."""
    done = subprocess.run(
        [sys.executable, "-c", ENDS.format(error=error)], capture_output=True, text=True, timeout=20
    )
    assert (done.returncode, done.stdout) == (code, said)


@dataclasses.dataclass(frozen=True)
class _Paths:
    out: Path = Path("here")


def _written(options: _Paths) -> None:
    raise AssertionError("it was called")


def test_an_address_where_a_path_is_wanted_is_refused():
    with pytest.raises(UserError, match=r"--out is s3:/b/x, an address .*: wanted a path on this"):
        cli.call(_written, ["--out", "s3://b/x"])
