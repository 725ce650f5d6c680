"""The faces that each visitor works on, within a bound on their memory."""

import threading
from collections import OrderedDict
from typing import Protocol, TypeVar

from emojax.runtime.errors import UserError


class Kept(Protocol):
    """What can be kept."""

    @property
    def nbytes(self) -> int:
        """Bytes of memory."""
        ...


T = TypeVar("T", bound=Kept)


class Visits:
    """Keeps one thing for each visitor and place, and forgets the least recently used first.

    A place, such as "source", holds one thing a visitor: a new one replaces it.
    """

    def __init__(self, memory: int) -> None:
        """Begin with nothing.

        Args:
            memory: bytes of all that is kept, at most; a single larger thing is kept alone.
        """
        self._memory = memory
        self._kept: OrderedDict[tuple[str, str], Kept] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return sum(each.nbytes for each in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)

    def put(self, visitor: str, place: str, thing: Kept) -> None:
        """Keep a thing in a visitor's place, and forget others where memory asks for it."""
        with self._lock:
            self._kept.pop((visitor, place), None)
            self._kept[visitor, place] = thing
            total = self.nbytes
            while total > self._memory and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                total -= dropped.nbytes

    def get(self, visitor: str, place: str, kind: type[T]) -> T:
        """Return what a visitor's place holds.

        Raises:
            UserError: it holds nothing: nothing was put there, or it was forgotten.
        """
        with self._lock:
            found = self._kept.get((visitor, place))
            if not isinstance(found, kind):
                raise UserError(
                    "there is no face here any more, others needed the room: choose the "
                    "photograph again"
                )
            self._kept.move_to_end((visitor, place))
            return found

    def has(self, visitor: str, place: str) -> bool:
        """Whether a visitor's place holds something."""
        return (visitor, place) in self._kept

    def drop(self, visitor: str, place: str | None = None) -> None:
        """Forget what one place of a visitor holds, or all of a visitor's."""
        with self._lock:
            for key in [key for key in self._kept if key[0] == visitor and place in (None, key[1])]:
                del self._kept[key]
