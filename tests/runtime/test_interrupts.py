"""Signals that wait while a library works that must not be interrupted."""

import contextlib
import signal
import threading
import time

import jax
import pytest

from emojax.runtime import interrupts
from emojax.runtime.progress import progress

NUMBERS = pytest.mark.parametrize(
    ("number", "kind"),
    [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, interrupts.Terminated)],
)


def test_a_signal_waits_for_the_end_of_the_block():
    done = []

    def work():
        with interrupts.held():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            done.append("all of it")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all of it"]
    with pytest.raises(KeyboardInterrupt):  # the handler of before is back
        signal.raise_signal(signal.SIGINT)


def test_sigterm_waits_too_and_stays_what_it_is():
    with pytest.raises(interrupts.Terminated), interrupts.terminated(), interrupts.held():
        signal.raise_signal(signal.SIGTERM)


def test_an_error_of_the_block_passes():
    with pytest.raises(ValueError, match="of its own"), interrupts.held():
        raise ValueError("of its own")


def test_other_threads_leave_signals_alone():
    found, before = [], signal.getsignal(signal.SIGINT)

    def look():
        with interrupts.held():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()
    assert found == [before]


def test_a_signal_waits_while_a_module_of_c_starts():
    """Python runs inside of such a module's start; a frame of its loader stands for that here."""
    done = []

    def start():
        signal.raise_signal(signal.SIGINT)
        done.append("started")

    loader = compile(
        "def exec_module(start): start()", "<frozen importlib._bootstrap_external>", "exec"
    )
    namespace = {}
    exec(loader, namespace)
    function = namespace["exec_module"]
    function.__code__ = function.__code__.replace(co_qualname="ExtensionFileLoader.exec_module")

    def work():
        with interrupts.terminated():
            function(start)
            time.sleep(5)

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["started"]


@NUMBERS
def test_a_signal_that_a_library_drops_is_raised_again_by_the_progress(number, kind):
    def work():
        with interrupts.terminated(), progress("drawing", 3, "faces") as shown:
            shown.advance()
            with contextlib.suppress(BaseException):  # as C code does that calls Python
                signal.raise_signal(number)
            shown.advance()

    with pytest.raises(KeyboardInterrupt) as caught:
        work()
    assert caught.type is kind
    with progress("drawing") as shown:  # what was raised is forgotten with the command
        shown.advance()


@NUMBERS
def test_a_signal_that_a_library_reports_as_its_own_error_leaves_as_itself(number, kind):
    """jax does so when the signal comes while Python compares the metadata of two pytrees."""

    @jax.tree_util.register_static
    class Metadata:
        def __eq__(self, other):
            signal.raise_signal(number)
            return True

        def __hash__(self):
            return 0

    one, other = (jax.tree.structure(Metadata()) for _ in range(2))
    with pytest.raises(KeyboardInterrupt) as caught, interrupts.terminated():
        assert one == other
    assert caught.type is kind
    assert isinstance(caught.value.__cause__, ValueError)  # jax's
    with pytest.raises(ZeroDivisionError), interrupts.terminated():  # an error without a signal
        _ = 1 / 0
