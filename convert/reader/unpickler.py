"""Unpickler that builds containers and records, and calls nothing but the reader's own functions.

A pickle is a program for a stack machine. `pickletools` of the standard library decodes its
opcodes; this module runs them without importing, looking up or calling what the file names. A name
becomes a `Name`, an instance of a named class a `Record` of its state, and a call happens only when
the name is in the table of functions that the caller gives.

Work is bounded by a `Budget`, keys of dictionaries are small and flat, and nothing recurses, so a
hostile file of N bytes costs time and memory in proportion to N.
"""

import pickletools
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from convert.reader.records import Forbidden, Name, Record, Unreadable, Unsupported

_HIGHEST_PROTOCOL = 5
_RENAMED_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # Python 2 -> Python 3
_LONGEST_KEY = 64


class Budget:
    """How much work a file may ask for, in opcodes.

    Without it a few bytes could ask again and again for a call on the same large argument.

    Args:
        file_bytes: size of the whole file; larger files may ask for more.
    """

    def __init__(self, file_bytes: int):
        self._left = 4_000_000 + file_bytes // 64

    def spend(self, work: int) -> None:
        """Take `work` off what is left.

        Raises:
            Unreadable: nothing is left.
        """
        self._left -= work
        if self._left < 0:
            raise Unreadable("it asks for far more work than a checkpoint needs")


def checked_key(key: Any) -> Any:
    """Return `key` if it is a fit key: small and flat, so that hashing it cannot take long.

    Raises:
        Unreadable: the key is a container, a huge integer or a nested tuple.
    """
    parts = key if isinstance(key, tuple) else (key,)
    if len(parts) > _LONGEST_KEY:
        raise Unreadable("a dictionary key is a very long tuple")
    for part in parts:
        if isinstance(part, int) and not -(2**63) <= part < 2**64:
            raise Unreadable("a dictionary key is a huge integer")
        if not isinstance(part, str | int | float | bytes | Name | Record | None):
            raise Unreadable(f"a dictionary key contains a {type(part).__name__}")
    return key


def _cost(argument: Any) -> int:
    """Work of a call that copies `argument` once; bytes are cheap, elements are not."""
    if isinstance(argument, str | bytes | bytearray):
        return len(argument) // 64
    if isinstance(argument, list | tuple | dict | set | frozenset):
        return len(argument)
    return 0


class Unpickler:
    """Run one pickle.

    Args:
        stream: binary stream (`read`, `readline`, `tell`), left just behind the pickle.
        calls: functions a file may call, by the `Name.kind` it calls them by.
        builds: for the kinds whose state turns them into something else (NumPy arrays and
            dtypes): function (arguments of the constructor, state) -> value.
        persistent_load: function from a persistent id, as the file gives it, to the object.
        budget: the work that is left, shared by all pickles of a file.
    """

    def __init__(
        self,
        stream: BinaryIO,
        *,
        calls: Mapping[str, Callable[..., Any]],
        builds: Mapping[str, Callable[[Any, Any], Any]],
        persistent_load: Callable[[Any], Any],
        budget: Budget,
    ):
        self._stream = stream
        self._calls = calls
        self._builds = builds
        self._persistent_load = persistent_load
        self._budget = budget
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._memo_keys: dict[int, list[int]] = {}  # id of a record to be built -> its memo keys

    def load(self) -> Any:
        """Run the pickle up to its STOP and return the object.

        Raises:
            Forbidden: the pickle would call, or change, something it must not.
            Unreadable: it is malformed, or asks for too much.
            ValueError: `pickletools` cannot decode an opcode.
        """
        for opcode, argument, _ in pickletools.genops(self._stream):
            self._budget.spend(1)
            if opcode.name == "STOP":
                return self._pop()
            if opcode.name in _LITERALS:
                self._stack.append(argument)
            elif opcode.name in _CONSTANTS:
                self._stack.append(_CONSTANTS[opcode.name]())
            elif opcode.name in _HANDLERS:
                _HANDLERS[opcode.name](self, argument)
            else:
                refusal = Forbidden if opcode.name.startswith("EXT") else Unsupported
                raise refusal(f"it uses the pickle opcode {opcode.name}")
        raise Unreadable("a pickle ends too early")

    # ---- the stack

    def _top(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise Unreadable("a pickle takes more from its stack than it put there")
        return self._stack[-1]

    def _pop(self) -> Any:
        top = self._top()
        del self._stack[-1]
        return top

    def _pop_many(self, count: int) -> tuple:
        return tuple(reversed([self._pop() for _ in range(count)]))

    def _pop_to_mark(self) -> list:
        if not self._marks:
            raise Unreadable("a pickle looks for a mark it never made")
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _mark(self, _: Any) -> None:
        self._marks.append(len(self._stack))

    def _discard(self, _: Any) -> None:
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def _discard_to_mark(self, _: Any) -> None:
        self._pop_to_mark()

    def _ignore(self, _: Any) -> None:
        """FRAME: how many bytes to read at a time."""

    def _protocol(self, version: int) -> None:
        if version > _HIGHEST_PROTOCOL:
            raise Unreadable(f"it claims pickle protocol {version}")

    # ---- the memo

    def _remember(self, key: int) -> None:
        value = self._top()
        self._memo[key] = value
        if isinstance(value, Record) and value.kind in self._builds:
            self._memo_keys.setdefault(id(value), []).append(key)

    def _recall(self, key: int) -> None:
        if key not in self._memo:
            raise Unreadable(f"a pickle recalls memo entry {key}, which it never stored")
        self._stack.append(self._memo[key])

    # ---- containers

    def _append(self, items: list) -> None:
        target = self._top()
        if isinstance(target, Record):
            target.items = target.items if target.items is not None else []
            target = target.items
        if not isinstance(target, list):
            raise Unreadable(f"a pickle appends to a {type(target).__name__}")
        target.extend(items)

    def _set_items(self, items: list) -> None:
        target = self._top()
        if isinstance(target, Record):
            target.items = target.items if target.items is not None else {}
            target = target.items
        if not isinstance(target, dict) or len(items) % 2:
            raise Unreadable(f"a pickle sets items of a {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[checked_key(key)] = value

    def _add_items(self, items: list) -> None:
        target = self._top()
        if not isinstance(target, set):
            raise Unreadable(f"a pickle adds set items to a {type(target).__name__}")
        target.update(checked_key(item) for item in items)

    def _dict(self, _: Any) -> None:
        items = self._pop_to_mark()
        self._stack.append({})
        self._set_items(items)

    # ---- names, calls and instances

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Unreadable("a pickle gives a name that is not text")
        self._stack.append(Name(f"{_RENAMED_MODULES.get(module, module)}.{name}"))

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")  # as pickletools joins the two lines
        self._name(module, name)

    def _call(self, function: Any, arguments: Any) -> Any:
        """Call the reader's own function of that name, or refuse."""
        if not isinstance(function, Name):
            raise Forbidden(f"it would call a {type(function).__name__}")
        if function.kind == "torch._tensor._rebuild_from_type_v2":
            # A tensor with Python attributes: keep the tensor, leave the attributes.
            function, _, arguments, _ = arguments
            if not isinstance(function, Name):
                raise Forbidden(f"it would call a {type(function).__name__}")
        if function.kind not in self._calls:
            if function.kind.startswith("torch.") and "._rebuild" in function.kind:
                raise Unsupported(f"it holds a tensor made by {function.kind[:200]}")
            raise Forbidden(f"it would call {function.kind[:200]}")
        if not isinstance(arguments, tuple):
            raise Unreadable(f"the arguments of {function.kind} are no tuple")
        self._budget.spend(sum(map(_cost, arguments)))
        return self._calls[function.kind](*arguments)

    def _reduce(self, _: Any) -> None:
        function, arguments = self._pop_many(2)
        self._stack.append(self._call(function, arguments))

    def _instance(self, kind: Any, arguments: Any) -> None:
        """NEWOBJ: a class is created, which runs nothing here."""
        if not isinstance(kind, Name) or not isinstance(arguments, tuple):
            raise Forbidden(f"it would make an instance of a {type(kind).__name__}")
        if kind.kind in self._calls:
            self._stack.append(self._call(kind, arguments))
        else:
            self._stack.append(Record(kind.kind, arguments or {}))

    def _instance_with_keywords(self, _: Any) -> None:
        kind, arguments, keywords = self._pop_many(3)
        if keywords != {}:
            arguments = (arguments, keywords)
        self._instance(kind, arguments)

    def _old_instance(self, argument: str) -> None:
        items = self._pop_to_mark()
        self._global(argument)
        self._stack.append(self._call(self._pop(), tuple(items)))

    def _object(self, _: Any) -> None:
        items = self._pop_to_mark()
        function = items[0] if items else None
        self._stack.append(self._call(function, tuple(items[1:])))

    def _build(self, _: Any) -> None:
        state = self._pop()
        target = self._top()
        if isinstance(target, Record) and target.kind in self._builds:
            self._budget.spend(sum(map(_cost, state)) if isinstance(state, tuple) else 0)
            self._replace(target, self._builds[target.kind](target.state, state))
        elif isinstance(target, Record):
            target.state = _merged(state)
        elif not isinstance(target, dict):  # attributes of a dict, as `_metadata`, are left out
            what = target.kind[:200] if isinstance(target, Name) else type(target).__name__
            raise Forbidden(f"it would change the attributes of {what}")

    def _replace(self, record: Record, value: Any) -> None:
        """Put what a record was built into where the record stood, on the stack and in the memo."""
        self._stack[-1] = value
        for key in self._memo_keys.pop(id(record), ()):
            if self._memo.get(key) is record:
                self._memo[key] = value

    def _persistent(self, _: Any) -> None:
        self._stack.append(self._persistent_load(self._pop()))


def _merged(state: Any) -> Any:
    """State of an object with `__slots__` comes as (dict or None, dict); make it one dict."""
    if isinstance(state, tuple) and len(state) == 2:
        attributes, slots = state
        if isinstance(attributes, dict | None) and isinstance(slots, dict):
            return {**(attributes or {}), **slots}
    return state


# fmt: off
_LITERALS = frozenset((
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT",
    "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINSTRING", "SHORT_BINSTRING",
    "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
))
# fmt: on

_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}

_HANDLERS: dict[str, Callable[[Unpickler, Any], None]] = {
    "PROTO": Unpickler._protocol,
    "FRAME": Unpickler._ignore,
    "MARK": Unpickler._mark,
    "POP": Unpickler._discard,
    "POP_MARK": Unpickler._discard_to_mark,
    "DUP": lambda machine, _: machine._stack.append(machine._top()),
    "PUT": Unpickler._remember,
    "BINPUT": Unpickler._remember,
    "LONG_BINPUT": Unpickler._remember,
    "MEMOIZE": lambda machine, _: machine._remember(len(machine._memo)),
    "GET": Unpickler._recall,
    "BINGET": Unpickler._recall,
    "LONG_BINGET": Unpickler._recall,
    "TUPLE": lambda machine, _: machine._stack.append(tuple(machine._pop_to_mark())),
    "TUPLE1": lambda machine, _: machine._stack.append(machine._pop_many(1)),
    "TUPLE2": lambda machine, _: machine._stack.append(machine._pop_many(2)),
    "TUPLE3": lambda machine, _: machine._stack.append(machine._pop_many(3)),
    "LIST": lambda machine, _: machine._stack.append(machine._pop_to_mark()),
    "DICT": Unpickler._dict,
    "FROZENSET": lambda machine, _: machine._stack.append(
        frozenset(checked_key(item) for item in machine._pop_to_mark())
    ),
    "APPEND": lambda machine, _: machine._append([machine._pop()]),
    "APPENDS": lambda machine, _: machine._append(machine._pop_to_mark()),
    "SETITEM": lambda machine, _: machine._set_items(list(machine._pop_many(2))),
    "SETITEMS": lambda machine, _: machine._set_items(machine._pop_to_mark()),
    "ADDITEMS": lambda machine, _: machine._add_items(machine._pop_to_mark()),
    "GLOBAL": Unpickler._global,
    "STACK_GLOBAL": lambda machine, _: machine._name(*machine._pop_many(2)),
    "REDUCE": Unpickler._reduce,
    "NEWOBJ": lambda machine, _: machine._instance(*machine._pop_many(2)),
    "NEWOBJ_EX": Unpickler._instance_with_keywords,
    "INST": Unpickler._old_instance,
    "OBJ": Unpickler._object,
    "BUILD": Unpickler._build,
    "BINPERSID": Unpickler._persistent,
}
