"""Loaders that each break one rule; the tests see that the guard notices."""

import os
import pickle
import time

from emojax.runtime.errors import UserError
from tests.fuzz.family import Family
from tests.fuzz.guard import MEMORY
from tests.support.oracles import DATA


def _twin(name, read):
    seeds = [{"file": b"sound"}]
    return Family(name, lambda: seeds, lambda folder: read(folder / "file"), warm_up=False)


def _endless(path):
    while True:
        pass


def _long(path):
    error = UserError("short")
    error.args = ("two\nlines",)
    raise error


EVIL = (DATA / "files/evil_bare_p2.pkl").read_bytes()

UNSAFE = _twin("unsafe", lambda path: pickle.loads(EVIL))
RUNNING = _twin("running", lambda path: os.system("true"))
WRITING = _twin("writing", lambda path: path.with_suffix(".new").open("w"))
HUNGRY = _twin("hungry", lambda path: len(bytearray(b"x") * (2 * MEMORY)))
ENDLESS = _twin("endless", _endless)
WAITING = _twin("waiting", lambda path: time.sleep(10**6))
CLUMSY = _twin("clumsy", lambda path: 1 // 0)
WORDY = _twin("wordy", _long)
DYING = _twin("dying", lambda path: os.abort())
