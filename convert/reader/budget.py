"""What one checkpoint file may cost: bytes of memory and operations, counted before the deed."""

from typing import Any

from convert.reader.records import Name, Record, Unreadable

MEMORY = 2**26
"""Bytes of text, bytes and expanded records that any file may hold beyond twice its own size."""

OPERATIONS = 500_000
"""Operations that any file may ask for. One takes about a microsecond, and what it makes takes at
most some 300 bytes beside what `hold` counts."""

CLAIMED = 2**28
"""Bytes that the tensors of any file may have together beyond 16 times its size. Tensors share
storages, and are views of the file, but whoever reads them reads each."""

_TUPLE_KEY = 500  # operations: tuples of equal hash can be chosen, and are compared with each other
_LONGEST_KEY = 64


class Budget:
    """The work that is left to one file, shared by everything that reads it.

    A sound checkpoint has some hundred opcodes and a few kilobytes of text for each megabyte of
    tensors. A file that asks for far more is refused: reading takes at most 256 MB beyond three
    times the file, and at most a second beyond what a sound file of that size takes.

    Args:
        file_bytes: size of the whole file; larger files may ask for more.
    """

    def __init__(self, file_bytes: int):
        self._memory = MEMORY + 2 * file_bytes
        self._operations = OPERATIONS + file_bytes // 1024
        self._claimed = CLAIMED + 16 * file_bytes

    def spend(self, operations: int) -> None:
        """Count operations.

        Raises:
            Unreadable: no more of them are left.
        """
        self._operations -= operations
        if self._operations < 0:
            raise Unreadable("it asks for far more work than a checkpoint of its size needs")

    def hold(self, size: int) -> None:
        """Count bytes of memory.

        Raises:
            Unreadable: no more of it is left.
        """
        self._memory -= size
        if self._memory < 0:
            raise Unreadable("it asks for far more memory than a checkpoint of its size needs")

    def claim(self, size: int) -> None:
        """Count the bytes of a tensor, which takes no memory until it is used.

        Raises:
            Unreadable: the tensors of the file have far more bytes than the file.
        """
        self._claimed -= size
        if self._claimed < 0:
            raise Unreadable("its tensors repeat its storages until they are huge")

    def key(self, key: Any) -> Any:
        """Return the key of a dict or item of a set, if hashing and comparing it is quick.

        Raises:
            Unreadable: it is a container, a huge integer or a nested tuple; or too many are tuples.
        """
        parts = (key,)
        if isinstance(key, tuple):
            self.spend(_TUPLE_KEY)
            parts = key
        if len(parts) > _LONGEST_KEY:
            raise Unreadable("a dictionary key is a very long tuple")
        for part in parts:
            if isinstance(part, int) and not -(2**63) <= part < 2**64:
                raise Unreadable("a dictionary key is a huge integer")
            if not isinstance(part, str | int | float | bytes | Name | Record | None):
                raise Unreadable(f"a dictionary key contains a {type(part).__name__}")
        return key
