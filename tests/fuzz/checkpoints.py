"""Published checkpoint files: torch's formats, pickles, TorchScript, `.npz` and `.safetensors`."""

import contextlib
import io
import json
from pathlib import Path

import numpy as np

from convert.reader.checkpoint_file import Record, load, state_dict
from emojax.runtime.errors import UserError
from tests.fuzz.family import Family, Files
from tests.fuzz.worker import touch
from tests.support.oracles import DATA


def seeds() -> list[Files]:
    """Sound and hostile files; the small ones several times, since large ones are slow."""
    index = json.loads((DATA / "files/index.json").read_text())["files"]
    files = [
        path
        for entry in index
        if entry["expect"] == "load"
        for path in [DATA / "files" / entry["file"]] * (8 if entry["bytes"] < 40_000 else 1)
    ]
    files += sorted((DATA / "files").glob("evil_*"))
    files += sorted(DATA.glob("*/*tiny*.pkl"))
    files += sorted((DATA / "files").glob("hsemotion_tiny*.pt"))
    files += [DATA / "script_tiny.pt"] * 8
    found = [path.read_bytes() for path in files]
    return [{"file": data} for data in (*found, *_made() * 12)]


def _made() -> list[bytes]:
    made = []
    for save in (np.savez, np.savez_compressed):
        stream = io.BytesIO()
        save(stream, weight=np.ones((8, 8), "f4"), bias=np.arange(3))
        made.append(stream.getvalue())
    stream = io.BytesIO()
    np.save(stream, np.array({"a": np.ones((1, 2, 3), "f4")}, dtype=object))
    made.append(stream.getvalue())
    header = json.dumps({"a": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [0, 12]}}).encode()
    made.append(len(header).to_bytes(8, "little") + header + bytes(range(12)))
    return made


def read(folder: Path) -> None:
    """Load the file, and as a network where it is one."""
    value = load(folder / "file")
    touch_all(value)
    if isinstance(value, Record):
        with contextlib.suppress(UserError):
            touch(state_dict(value))


def touch_all(value: object) -> None:
    """Read every array of what `load` returned."""
    stack, seen = [value], set()
    while stack:
        value = stack.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Record):
            repr(value)
            stack.extend((value.state, value.items))
        elif isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list | tuple):
            stack.extend(value)
        else:
            touch(value)


CHECKPOINTS = Family("checkpoints", seeds, read, weight=4)
