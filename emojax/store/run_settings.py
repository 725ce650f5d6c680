"""`settings.json`, and the one rule by which a run goes on with a folder of results.

Every folder that a long run fills holds `settings.json`: all that its results depend on. A command
that is given such a folder

- makes it, when it is missing or empty, and writes the settings;
- goes on with it, when the settings are the same: complete results are kept, the others are made;
- goes on with it, too, when they differ only in settings that may grow (the number of samples of a
  score table, whose rows do not depend on one another), and writes the new ones;
- refuses it in every other case, names what differs, and changes nothing.

Results appear once they are complete, see `emojax.store.place`, so an interrupted run loses at most
the file that it was about to write.
"""

import json
from collections.abc import Collection, Mapping
from typing import Any

from emojax.runtime.errors import UserError, shortened
from emojax.runtime.files import json_bytes
from emojax.store.place import Location, Place, at, reading
from emojax.store.reader.contents import Kind, shown
from emojax.store.reader.json_text import parse_object

FILE = "settings.json"

_KIND = Kind("settings of a run", "choose another folder", most=2**20)


def open_folder(
    location: Location,
    settings: Mapping[str, Any],
    *,
    grows: Collection[str] = (),
    flag: str = "--out",
) -> None:
    """Make a folder of results, or check that a run may go on with it.

    Of several processes that begin at once the first writes the settings, and the others compare.

    Args:
        location: where the results are.
        settings: JSON-able; all that they depend on.
        grows: names of numbers among them that may become larger.
        flag: that names the folder, for messages.

    Raises:
        UserError: the folder holds results of other settings, or something else, or it cannot be
            written.
    """
    place, wanted = at(location), json.loads(json.dumps(settings))
    if not exists(place):
        if not place.is_empty() and not exists(place):  # another process's
            raise UserError(
                f"{shown(place)} holds something else than results: choose another {flag}"
            )
        if place.create(FILE, json_bytes(wanted)):
            return
    while True:
        with reading(place, FILE, _KIND) as found:
            stored = parse_object(found)
        grown = {name: wanted[name] for name in grows if _is_less(stored.get(name), wanted[name])}
        if differ := differences({**stored, **grown}, wanted):
            raise UserError(
                f"{shown(place)} holds results of another run ({differ}): give the same options "
                f"to go on with it, or another {flag}"
            )
        if not grown or place.replace(FILE, found, json_bytes(wanted)):
            return


def read(location: Location) -> dict[str, Any]:
    """Return the settings of a folder of results.

    Raises:
        UserError: they cannot be read.
    """
    with reading(at(location), FILE, _KIND) as data:
        return parse_object(data)


def exists(place: Place) -> bool:
    """Whether a place has settings of a run."""
    try:
        place.read(FILE, _KIND.most)
        return True
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):  # there, and damaged: whoever reads it says so
        return True


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
