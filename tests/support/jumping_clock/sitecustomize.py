"""A wall clock that jumps between 1970 and 2100 at every look; for a process whose path has it."""

import itertools
import time

_MOMENTS = itertools.cycle([0.0, 4.1e9, 86_400.0, 1.6e9])
_LOCALTIME, _GMTIME = time.localtime, time.gmtime

time.time = lambda: next(_MOMENTS)
time.localtime = lambda seconds=None: _LOCALTIME(time.time() if seconds is None else seconds)
time.gmtime = lambda seconds=None: _GMTIME(time.time() if seconds is None else seconds)
