"""Names and objects of a checkpoint file that are no arrays, and the errors of the reader."""

from dataclasses import dataclass, field
from typing import Any


class Unreadable(Exception):
    """A file that cannot be read; the message says why, `advice` what the user can do."""

    advice = "download it again and compare its SHA-256 with the publisher's"


class Forbidden(Unreadable):
    """A file that asks to run code."""

    advice = "nothing was executed; get the weights from a source you trust"


class Unsupported(Unreadable):
    """A sound file that holds something outside what the reader knows."""

    advice = "save it again with torch.save as a state dict of dense CPU tensors"


@dataclass(frozen=True, slots=True)
class Name:
    """A global that the file names, such as a dtype or a function, and that was not looked up.

    Attributes:
        kind: "module.qualified_name", Python 2 module names in their Python 3 spelling.
    """

    kind: str

    def __repr__(self) -> str:
        return f"<name {self.kind}>"


@dataclass(slots=True, eq=False)
class Record:
    """An instance of a class that the reader does not know, as the state it was saved with.

    Attributes:
        kind: "module.Class" as the file names it.
        state: what was saved of the object: usually the dict of its attributes; the tuple of its
            constructor arguments when the file gives only these; {} when it gives nothing.
        items: contents of a dict or list subclass, else None.
    """

    kind: str
    state: Any = field(default_factory=dict)
    items: dict | list | None = None

    def __repr__(self) -> str:
        if isinstance(self.state, dict):
            names = [str(name)[:40] for name in list(self.state)[:8]]
            more = ", ..." if len(self.state) > len(names) else ""
            return f"<record {self.kind}: {', '.join(names)}{more}>"
        return f"<record {self.kind}: {type(self.state).__name__}>"
