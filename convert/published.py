"""Sets of published files: where each lies, what it is, and under which licence.

A set is a TOML file, `convert/sets/NAME.toml` or one of the user's own in the same form.
"""

import dataclasses
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

from convert import systems
from convert.download.addresses import download_address
from convert.download.one_file import Wanted
from convert.systems import System
from emojax.runtime.errors import UserError

SETS = Path(__file__).parent / "sets"

MARGIN = 4
"""How many times larger than stated a file may be: sizes are computed, and writers differ."""

TEXTS = ("name", "holds", "about", "address", "licence", "source")
"""What each entry has."""


@dataclasses.dataclass(frozen=True)
class File:
    """A published file.

    Attributes:
        name: as published.
        system: what it holds.
        about: what it is for.
        address: that a person opens.
        about_bytes: its size, computed from its layout.
        licence: the text to be accepted.
        source: its authors' page.
        size: its bytes, where they are published.
        sha256: its SHA-256 or the beginning of it, "" where none is published.
        on_request: whether it is only taken where its part or name is asked for.
    """

    name: str
    system: System
    about: str
    address: str
    about_bytes: int
    licence: str
    source: str
    size: int | None = None
    sha256: str = ""
    on_request: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts that are made of it."""
        return self.system.parts

    def wanted(self, mirror: str) -> Wanted:
        """Return what to download: from its address, or MIRROR/NAME where there is a mirror."""
        address = urljoin(f"{mirror.rstrip('/')}/", self.name) if mirror else self.address
        most = MARGIN * max(self.about_bytes, self.size or 0)
        return Wanted(self.name, download_address(address), most, self.size, self.sha256)


@dataclasses.dataclass(frozen=True)
class FileSet:
    """Files that make one bundle.

    Attributes:
        name: of the set, and of its bundle unless another is given.
        about: what it is.
        files: of several for one part the first is the default.
    """

    name: str
    about: str
    files: tuple[File, ...]

    def chosen(self, parts: Sequence[str], names: Sequence[str]) -> list[File]:
        """Return one file for each part wanted.

        Args:
            parts: names of the parts; none: all.
            names: of files to take in place of the defaults of their parts.

        Raises:
            UserError: the set has no such part or file, or two of the files are for one part.
        """
        by_name = {file.name: file for file in self.files}
        known = dict.fromkeys(part for file in self.files for part in file.parts)
        _refuse_unknown("--parts", parts, known)
        _refuse_unknown("--files", names, by_name)
        found: dict[str, File] = {}
        for file in [by_name[name] for name in names]:
            for part in file.parts:
                if part in found:
                    raise UserError(
                        f"{found[part].name} and {file.name} are both for the part {part}: wanted "
                        "one of them in --files"
                    )
                found[part] = file
        for file in self.files:
            for part in file.parts:
                found.setdefault(part, file)
        asked = {part for name in names for part in by_name[name].parts}
        usual = {part for part, file in found.items() if not file.on_request}
        wanted = {*parts} or usual | asked
        if wanted & {"hyperstyle", "w_encoder"}:  # neither is converted without the other
            wanted |= {"hyperstyle", "w_encoder"} & {*found}
        return [*dict.fromkeys(found[part] for part in known if part in wanted)]


def read(name: str) -> FileSet:
    """Return a set by its name, or from a TOML file of the user's.

    Raises:
        UserError: there is no such set, or the file has another form.
    """
    place = Path(name) if name.endswith(".toml") else SETS / f"{name}.toml"
    if not place.is_file():
        known = ", ".join(sorted(file.stem for file in SETS.glob("*.toml")))
        raise UserError(f"no published set {name!r}: wanted {known}, or a .toml file of that form")
    try:
        with place.open("rb") as stream:
            table = tomllib.load(stream)
        files = tuple(_file(entry, table["licences"]) for entry in table["files"])
        return FileSet(place.stem, str(table.get("about", "")), files)
    except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UserError(
            f"{place} is not the description of a published set ({error!r:.200}): wanted the form "
            f"of {SETS / 'ffhq.toml'}"
        ) from error


def _file(entry: Mapping[str, Any], licences: Mapping[str, str]) -> File:
    """Return one entry; raises ValueError or LookupError where it has another form."""
    texts = {key: entry[key] for key in TEXTS}
    if strange := [key for key, value in texts.items() if not isinstance(value, str)]:
        raise ValueError(f"{', '.join(strange)} must be text")
    if not re.fullmatch(r"\w[\w.+-]*", texts["name"]):
        raise ValueError(f"{texts['name']!r} is not the name of a file")
    if urlsplit(texts["address"]).scheme not in ("https", "http"):
        raise ValueError(f"{texts['address']!r} is not an address")
    if not re.fullmatch(r"[0-9a-fA-F]{0,64}", entry.get("sha256", "")):
        raise ValueError(f"{texts['name']}: sha256 is not hexadecimal")
    if texts["holds"] not in systems.BY_NAME:
        raise ValueError(f"holds is {texts['holds']!r}, wanted {', '.join(systems.BY_NAME)}")
    size = entry.get("bytes")
    return File(
        name=texts["name"],
        system=systems.BY_NAME[texts["holds"]],
        about=texts["about"],
        address=texts["address"],
        about_bytes=int(entry.get("about_bytes", size)),
        licence=licences[texts["licence"]],
        source=texts["source"],
        size=None if size is None else int(size),
        sha256=entry.get("sha256", "").lower(),
        on_request=entry.get("on_request", False) is True,
    )


def _refuse_unknown(flag: str, given: Sequence[str], known: Mapping[str, Any]) -> None:
    if unknown := [each for each in given if each not in known]:
        raise UserError(f"{flag} has {unknown[0]!r}: wanted {', '.join(known)}")
