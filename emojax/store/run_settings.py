"""`settings.json`, and the one rule by which a run goes on with a folder of results.

Every folder that a long run fills holds `settings.json`: all that its results depend on. A command
that is given such a folder

- makes it, when it is missing or empty, and writes the settings;
- goes on with it, when the settings are the same: complete results are kept, the others are made;
- goes on with it, too, when they differ only in settings that may grow (the number of samples of a
  score table, whose rows do not depend on one another), and writes the new ones;
- refuses it in every other case, names what differs, and changes nothing.

Results appear by rename once they are complete, so an interrupted run loses at most the file that
it was about to write.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from emojax.runtime.errors import UserError, shortened
from emojax.runtime.files import make_folder, write_json
from emojax.store.reader.contents import Kind, reading, shown
from emojax.store.reader.json_text import parse_object

FILE = "settings.json"

_KIND = Kind("settings of a run", "choose another folder", most=2**20)


def open_folder(folder: Path, settings: Mapping[str, Any], *, grows: Collection[str] = ()) -> None:
    """Make a folder of results, or check that a run may go on with it.

    Args:
        folder: where the results are.
        settings: JSON-able; all that they depend on.
        grows: names of numbers among them that may become larger.

    Raises:
        UserError: the folder holds results of other settings, or something else, or it cannot be
            written.
    """
    file, wanted = folder / FILE, json.loads(json.dumps(settings))
    if not file.exists():
        if folder.exists() and not _is_empty(folder) and not file.exists():  # another process's
            raise UserError(
                f"{shown(folder)} holds something else than results: choose another --out"
            )
        make_folder(folder)
        write_json(file, wanted)
        return
    stored = read(folder)
    grown = {name: wanted[name] for name in grows if _is_less(stored.get(name), wanted[name])}
    if found := differences({**stored, **grown}, wanted):
        raise UserError(
            f"{shown(folder)} holds results of another run ({found}): give the same options to go "
            "on with it, or another --out"
        )
    if grown:
        write_json(file, wanted)


def read(folder: Path) -> dict[str, Any]:
    """Return the settings of a folder of results.

    Raises:
        UserError: they cannot be read.
    """
    with reading(folder / FILE, _KIND) as data:
        return parse_object(data)


def _is_empty(folder: Path) -> bool:
    """Whether nothing is there but what an interrupted run left of its own settings."""
    return folder.is_dir() and all(file.name.startswith(".part-") for file in folder.iterdir())


def _is_less(old: Any, new: Any) -> bool:
    return isinstance(old, int | float) and old < new


def differences(stored: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Name the settings that differ: "samples 512, now 2000"."""
    differ = [name for name in {**stored, **wanted} if stored.get(name) != wanted.get(name)]
    each = max(20, 120 // (2 * len(differ) or 1))
    return ", ".join(
        f"{shortened(name, 40)} {shortened(stored.get(name), each)}, "
        f"now {shortened(wanted.get(name), each)}"
        for name in differ[:4]
    ) + (", ..." if len(differ) > 4 else "")
