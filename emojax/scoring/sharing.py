"""Who scores which chunk: processes that know nothing of each other share one table.

Each process takes the chunks that it found missing in a random order of its own. Before it takes
one it looks whether the chunk is there by now; once that is so, another process is at work, and it
looks at the list of the whole table again. A chunk is the same whoever scores it and replaces
itself, so nothing is claimed: there is no claim that a killed process could leave behind, no
deadline, and no clock that has to agree. The price is that two processes sometimes score the same
chunk at the same time. Of P processes and C chunks, that happens about P (1 + ln C/P) times: 48 of
1,172 chunks (4 %) with eight processes; simulated, 47 times, and 177 times (not 147) with 32.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax

from emojax.store.score_table import ScoreTable


def share(chunks: Iterable[int]) -> list[int]:
    """Return the chunks of this process: those whose number modulo the number of processes is its.

    The chunk's number decides, not its position in the list: processes that read the table at
    different times find different chunks missing, and must still leave none out.
    """
    return [chunk for chunk in chunks if chunk % jax.process_count() == jax.process_index()]


def untaken(
    table: ScoreTable,
    missing: Iterable[int],
    *,
    rng: random.Random | None = None,
    advance: Callable[[int], Any] = lambda _: None,
) -> Iterator[int]:
    """Yield missing chunks in a random order, without those that others have written meanwhile.

    Args:
        table: which other processes may be filling.
        missing: chunks, as `ScoreTable.missing` returned them.
        rng: of the order; default: another for every process.
        advance: told the number of rows that others have written.
    """
    left = list(missing)
    (rng or random.SystemRandom()).shuffle(left)
    damaged = table.listed().intersection(left)  # of the right size, but not sound
    while left:
        chunk = left.pop()
        if not table.has(chunk):
            yield chunk
            continue
        new = table.listed() - damaged
        done = [chunk, *(each for each in left if each in new)]
        left = [each for each in left if each not in new]
        advance(table.settings.count(done))
