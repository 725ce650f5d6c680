"""Four host devices, float32 that is float32, and warnings that are errors (pyproject.toml)."""

import os

os.environ.setdefault("XLA_FLAGS", "--xla_force_host_platform_device_count=4")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["EMOJAX_COMPILE_CACHE"] = "off"  # every program is compiled by the test that runs it
os.environ["EMOJAX_HOME"] = "/nonexistent/emojax"  # no test reads or writes the user's bundles

import ctypes
import gc
import signal
import sys

import jax
import pytest

# A shell starts what it runs in the background without SIGINT, and children inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

jax.config.update("jax_default_matmul_precision", "highest")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Work in an empty folder, with a home for bundles beside it."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("EMOJAX_HOME", str(tmp_path / "home"))
    return tmp_path / "here"


@pytest.fixture(scope="module")
def object_server():
    """Run an object store of the file's own, see `tests.support.object_server`."""
    from tests.support.object_server import serving  # late: takes a while, and few files want it

    with serving() as found:
        yield found


LARGE = 1.5e9
"""Bytes of a test process above which it forgets its compiled programs after a file."""
LARGEST = 1.8e9
"""Bytes above which it gives memory back after a test: two processes have to fit into 6 GB."""


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """Forget compiled programs after a file of large networks."""
    yield
    gc.collect()
    if _resident_bytes() > LARGE:
        jax.clear_caches()
        _give_back()


@pytest.fixture(scope="session")
def _mark():
    """Bytes above which memory is given back; what cannot be given back raises it."""
    return [LARGEST]


@pytest.fixture(autouse=True)
def _keep_small(_mark):
    """Give memory back after a test of large networks, and programs where that is not enough."""
    yield
    if _resident_bytes() > _mark[0]:
        _give_back()
        if _resident_bytes() > _mark[0]:
            jax.clear_caches()
            _give_back()
        _mark[0] = max(LARGEST, 1.1 * _resident_bytes())  # else every test would try again


def _give_back():
    """Return freed memory to the system; glibc keeps it otherwise."""
    gc.collect()
    if sys.platform == "linux":
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _resident_bytes():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:  # not Linux
        return 0


def pytest_runtest_setup(item):
    """Let XLA hurry: small networks compile longer than they run, those of slow tests do not."""
    jax.config.update("jax_disable_most_optimizations", not item.get_closest_marker("slow"))


def pytest_collection_modifyitems(items):
    """Begin with the files of slow tests: at the end they would leave processes idle."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


PUBLISHED_SIZE = (
    "tests/latents/test_inversion_recorded.py",
    "tests/models/test_psp.py",
    "tests/models/test_stylegan2.py",
)
"""Files that hold networks of the published size: one process runs them, one after the other."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Keep the tests of a file in one process, which share fixtures and compiled programs."""
    if config.getoption("dist") != "load":  # the user wants it otherwise
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "published size" if file.endswith(PUBLISHED_SIZE) else file

    config.option.loadscopereorder = False
    return Scheduling(config, log)
