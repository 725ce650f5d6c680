"""Unpickler that builds containers and records, and calls nothing but the reader's own functions.

A pickle is a program for a stack machine. `pickletools` of the standard library decodes its
opcodes; this module runs them without importing, looking up or calling what the file names. A name
becomes a `Name`, an instance of a named class a `Record` of its state, and a call happens only when
the name is in the table of functions that the caller gives.

Work is bounded by a `Budget`, keys of dictionaries are small and flat, and nothing recurses, so a
hostile file costs little more time and memory than a sound one of its size.
"""

import pickletools
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, cast

from convert.reader.budget import Budget
from convert.reader.records import Forbidden, Name, Record, Unreadable, Unsupported

_HIGHEST_PROTOCOL = 5
_RENAMED_MODULES = {"__builtin__": "builtins", "copy_reg": "copyreg"}  # Python 2 -> Python 3
_CALL = 10  # operations of a call, beside what it does to its arguments
_SET = 2  # operations of an empty set beyond one: it is four times as large as an empty list
_LONGEST_NAME = 1000  # of a module, class or function
_LONGEST_LINE = 2**16  # bytes of an argument that ends with a line break
_LONGEST_TEXT = 2**26  # bytes; decoding one takes five times as much


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
        self._input = _Input(stream)
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
        for opcode, argument in self._input.opcodes():
            self._budget.spend(1)
            if argument.__class__ in _LONG:
                self._budget.hold(sys.getsizeof(argument))
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
            target[self._budget.key(key)] = value

    def _add_items(self, items: list) -> None:
        target = self._top()
        if not isinstance(target, set):
            raise Unreadable(f"a pickle adds set items to a {type(target).__name__}")
        target.update(map(self._budget.key, items))

    def _dict(self, _: Any) -> None:
        items = self._pop_to_mark()
        self._stack.append({})
        self._set_items(items)

    def _empty_set(self, _: Any) -> None:
        self._budget.spend(_SET)
        self._stack.append(set())

    # ---- names, calls and instances

    def _name(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise Unreadable("a pickle gives a name that is not text")
        if len(module) + len(name) > _LONGEST_NAME:
            raise Unreadable("a pickle gives a name that is far too long")
        self._budget.hold(len(module) + len(name))
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
        self._budget.spend(_CALL)
        self._count(arguments)
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
            self._count(state if isinstance(state, tuple) else ())
            self._replace(target, self._builds[target.kind](target.state, state))
        elif isinstance(target, Record):
            target.state = self._merged(state)
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

    def _merged(self, state: Any) -> Any:
        """State of an object with `__slots__` comes as (dict or None, dict); make it one dict."""
        if isinstance(state, tuple) and len(state) == 2:
            attributes, slots = state
            if isinstance(attributes, dict | None) and isinstance(slots, dict):
                self._count(state)
                return {**(attributes or {}), **slots}
        return state

    def _count(self, arguments: tuple) -> None:
        """Count what it takes to copy each argument once."""
        for argument in arguments:
            if argument.__class__ in _LONG:
                self._budget.hold(sys.getsizeof(argument))
            elif isinstance(argument, list | tuple | dict | set | frozenset):
                self._budget.spend(len(argument))


class _Input:
    """A stream of opcodes whose arguments are of bounded size before they are read.

    Args:
        stream: `read`, `seek` and `tell`.
    """

    def __init__(self, stream: BinaryIO):
        self._stream = stream
        self.read = stream.read

    def opcodes(self) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
        """Yield each opcode with its argument, None where it has none.

        Raises:
            Unreadable: the stream ends, or an argument is far too long.
            ValueError: there is no such opcode, or its argument is malformed.
        """
        while code := self.read(1):
            opcode = _OPCODES.get(code.decode("latin-1"))
            if opcode is None:
                raise Unreadable(f"a pickle has no opcode {code!r}")
            if opcode.name in _SIZED_TEXTS:
                self._check_text(_SIZED_TEXTS[opcode.name])
            yield opcode, None if opcode.arg is None else opcode.arg.reader(cast(BinaryIO, self))

    def readline(self) -> bytes:
        """Return the bytes up to a line break, with it; called by `pickletools`."""
        start = self._stream.tell()
        for most in (2**8, _LONGEST_LINE):
            self._stream.seek(start)
            if end := self.read(most).find(b"\n") + 1:
                self._stream.seek(start)
                return self.read(end)
        raise Unreadable("a line of a pickle is far too long or cut short")

    def _check_text(self, width: int) -> None:
        size = int.from_bytes(self.read(width), "little")
        if size > _LONGEST_TEXT:
            raise Unreadable("a text is damaged or far too long")
        self._stream.seek(-width, 1)


_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_LONG = frozenset((str, bytes, bytearray, int))  # literals that may be large
_SIZED_TEXTS = {"BINUNICODE": 4, "BINUNICODE8": 8}  # bytes of their length

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
    "EMPTY_SET": Unpickler._empty_set,
    "FROZENSET": lambda machine, _: machine._stack.append(
        frozenset(map(machine._budget.key, machine._pop_to_mark()))
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
