"""Bundles: the networks that belong together, their configs and where they came from.

    checkpoints/ffhq/generator/metadata.json    readable: config, source, counts, hash
    checkpoints/ffhq/generator/weights/         Orbax checkpoint of the flat table
    checkpoints/ffhq/directions.npz             and other files that belong to the networks

Bundles lie under `checkpoints` in the current folder, in the user's data folder, in a
checkout, or in the installed package. A bundle given by name is the union of the folders of that
name in these places, and of each part the first is taken; a bundle given as a path is that folder
alone, one given by its address in an object store is copied (`emojax.store.bundle_copy`). This
module imports no JAX until a network is loaded or saved.
"""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from emojax.runtime.choices import DEFAULT_BUNDLE
from emojax.runtime.errors import UserError, shortened
from emojax.runtime.files import make_folder, replacing_folder
from emojax.store import bundle_copy, metadata, roots
from emojax.store.metadata import Metadata
from emojax.store.parts import GENERATOR, PARTS, ConfigT, NetworkT, Part
from emojax.store.place import is_address
from emojax.store.reader.contents import shown
from emojax.store.roots import CHECKPOINTS

DEFAULT = DEFAULT_BUNDLE
"""Name of the embedded bundle, which commands use without `--bundle`."""

PUBLISHED = "ffhq"
"""Name of the published set of networks, and of its bundle."""

SAMPLES = "samples"
"""Name of the folder in a bundle with aligned pictures to try it on."""

DOWNLOADS = ".downloads"
"""Name of the folder beside bundles for published files on their way."""

METADATA = metadata.FILE


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A bundle that `find` has found.

    Attributes:
        name: as the user gave it: a name, or the path of a folder.
        folders: where its parts and files lie; of each the first folder that has it counts.
        address: in an object store, of which the folders are copies without weights; "": none.
    """

    name: str
    folders: tuple[Path, ...]
    address: str = ""

    def __str__(self) -> str:
        return self.name

    def has(self, part: Part[Any, Any]) -> bool:
        """Whether the bundle has a part."""
        return any(_has_part(folder, part) for folder in self.folders)

    def folder(self, part: Part[Any, Any]) -> Path:
        """Return the folder of a part.

        Raises:
            UserError: the bundle has no such part; says how it is made.
        """
        for folder in self.folders:
            if _has_part(folder, part):
                return folder / part.name
        raise UserError(self.lack(part))

    def file(self, name: str) -> Path | None:
        """Return a file that belongs to the bundle, such as "directions.npz"; None: it has none."""
        places = [folder / name for folder in self.folders]
        return next((place for place in places if os.path.isfile(place)), None)

    def lack(self, part: Part[Any, Any]) -> str:
        """Say that the bundle lacks a part, and how it is made."""
        return f"bundle {self} has no {part.name} ({part.about}): {self.remedy(part)}"

    def remedy(self, part: Part[Any, Any]) -> str:
        """Say how a part that is missing or unfit is made, as the end of a message."""
        there = self.network_of(GENERATOR) if part.goes_with and self.has(GENERATOR) else None
        if part.goes_with and there and there.class_name != part.goes_with.class_name:
            return (
                f"it is made for a {part.goes_with.about}, and this bundle has a {there.about}: "
                "take generated faces, as 'emojax edit --seed 7' does"
            )
        if part.converter is None:
            return (
                "no file of it is published, write one of your own training with "
                "emojax.store.bundle.save"
            )
        if not part.fetched:
            name = "NAME" if is_embedded(self.name) or self.address else self
            return f"make it with 'emojax convert {part.converter} --name {name}'"
        if self.address:
            return "make or get it in a folder of this machine, and copy it there"
        if is_embedded(self.name):
            return (
                f"get the published networks with '{fetch_command(PUBLISHED, part)}', and give "
                f"--bundle {PUBLISHED}"
            )
        return (
            f"make it with 'emojax convert {part.converter} --name {self}', or get it with "
            f"'{fetch_command(self.name, part)}'"
        )

    def metadata(self, part: Part[Any, Any]) -> Metadata:
        """Return a part's metadata.

        Raises:
            UserError: the bundle has no such part (says how it is made), or the file is damaged.
        """
        return metadata.read(self.folder(part) / METADATA)

    def network_of(self, part: Part[NetworkT, ConfigT]) -> Part[NetworkT, ConfigT]:
        """Return the entry of the network that a part holds: itself, or one of its `others`.

        Raises:
            UserError: the part is missing or damaged, or its network is none of them.
        """
        stored, known = self.metadata(part).network, (part, *part.others)
        for each in known:
            if each.class_name == stored:
                return each
        every = (PARTS[part.name], *PARTS[part.name].others)
        about = next((each.about for each in every if each.class_name == stored), stored)
        raise UserError(
            f"bundle {self} has another {part.name}: {shortened(about, 60)}, wanted "
            f"{' or '.join(each.about for each in known)}"
        )

    @property
    def shows(self) -> str:
        """What the generator was trained on: "photographs", or "drawings" as the demo's.

        Raises:
            UserError: see `metadata`.
        """
        found = self.metadata(GENERATOR).source.get("pictures")
        return "drawings" if found == "drawings" else "photographs"

    def check(self, *parts: Part[Any, Any]) -> None:
        """Refuse a bundle that lacks a part, before anything slow; imports no JAX.

        Raises:
            UserError: a part is missing (says how it is made), or its metadata is damaged.
        """
        for part in parts:
            self.metadata(part)

    def sha256(self, part: Part[Any, Any]) -> str:
        """Return the SHA-256 of a part's weights, as its metadata states it.

        Raises:
            UserError: see `metadata`.
        """
        return self.metadata(part).weights_sha256

    def config(self, part: Part[NetworkT, ConfigT], **changes: Any) -> ConfigT:
        """Return the config of a part's network; imports JAX.

        Args:
            part: which.
            **changes: fields to set otherwise than stored; None leaves one as it is.

        Raises:
            UserError: the part is missing or damaged, its config is of another version, or has no
                such field.
        """
        made: type[Any] = self.network_of(part).config_class()
        file = self.folder(part) / METADATA
        config = metadata.read(file).made_config(made, file)
        fields = {field.name for field in dataclasses.fields(made)}
        changes = {name: value for name, value in changes.items() if value is not None}
        if unknown := sorted(changes.keys() - fields):
            raise UserError(
                f"the {self.network_of(part).about} of bundle {self} has no setting {unknown[0]}: "
                "leave it out"
            )
        return dataclasses.replace(config, **changes)

    def classes(self, part: Part[Any, Any]) -> tuple[str, ...]:
        """Return the classes of a part that is a classifier; imports no JAX.

        Raises:
            UserError: the part is missing or damaged, or is no classifier.
        """
        file = self.folder(part) / METADATA
        return metadata.read(file).classes(file)

    def load(self, part: Part[NetworkT, ConfigT], **changes: Any) -> NetworkT:
        """Return the network of a part, its weights checked by name, shape and kind of number.

        Args:
            part: which, an entry of `emojax.store.parts`.
            **changes: fields of the config to set otherwise than stored, such as a compute dtype.

        Raises:
            UserError: the part is missing, damaged, or does not fit its own config.
        """
        from emojax.store import weights  # late: imports JAX, for which `--help` must not wait
        from emojax.store.fingerprint import fingerprint

        config, folder = self.config(part, **changes), self.folder(part)
        if self.address:
            bundle_copy.fetch_weights(self.address, part.name, folder.parent)
        stored, about = weights.read(folder / "weights"), self.metadata(part)
        if not about.weights_checksum and fingerprint(stored) != about.weights_sha256:
            raise UserError(
                f"{shown(folder)} has other weights than its {METADATA} says: {metadata.AGAIN}"
            )
        try:
            network: Any = self.network_of(part).network_class()
            model = weights.abstract(network, config)
        except Exception as error:  # whatever the layers say to numbers that make no network
            raise UserError(
                f"{shown(folder / METADATA)} describes no network that can be built "
                f"({shortened(error, 120)}): {metadata.AGAIN}"
            ) from error
        checksum = about.weights_checksum or None
        return weights.load(model, stored, what=shown(folder), checksum=checksum)


def find(name: str | os.PathLike[str]) -> Bundle:
    """Find a bundle by name in `roots.search_path` and the current folder, by path or by address.

    Raises:
        UserError: there is none; lists those that exist.
    """
    found = look_up(name)
    if any(_holds_parts(folder) for folder in found.folders):
        return found
    get = f", get it with '{fetch_command(PUBLISHED)}'" if str(name) == PUBLISHED else ""
    listed = shortened(", ".join(names()) or "(none found)", 100)
    raise UserError(
        f"no bundle '{shortened(name, 60)}'{get}: wanted one of {listed}, or a folder that 'emojax "
        "convert' wrote"
    )


def names() -> list[str]:
    """Return the names of the bundles that `find` knows without a path, sorted."""
    return sorted(
        {
            file.parent.parent.name
            for root in roots.search_path()
            for file in root.glob(f"*/*/{METADATA}")
        }
    )


def fetch_command(name: str, part: Part[Any, Any] | None = None) -> str:
    """Return the command that downloads the published parts which a bundle lacks, one of them."""
    named = f" --name {name}" if name != PUBLISHED else ""
    asked = f" --files {part.on_request}" if part and part.on_request else ""
    return f"emojax fetch {PUBLISHED}{named}{asked}"


def directions_command(name: str) -> str:
    """Return the commands that fit a bundle's directions."""
    return (
        f"emojax score --bundle {name} --out scores/ && emojax directions scores/ --bundle {name}"
    )


def look_up(name: str | os.PathLike[str]) -> Bundle:
    """Return the bundle of a name, path or address as it is; a new one has no folders."""
    if isinstance(name, str) and is_address(name):
        return Bundle(name, bundle_copy.folders(name, PARTS, (SAMPLES,)), name)
    given = Path(name)
    folders = [given]
    if _is_name(given):
        here = folders if _holds_parts(given) else []
        folders = [*here, *(root / given for root in roots.search_path())]
    return Bundle(str(name), tuple(folder for folder in folders if os.path.isdir(folder)))


def destination(name: str, checkpoints: Path | None = None) -> Path:
    """Return the folder into which new parts and files of a bundle are written.

    A path is that folder. A bundle that exists is added to where it is, in the first of its
    folders, but never in the installed package. A new one is made under `checkpoints` in the
    current folder where there is such a folder, else in `roots.home`.

    Args:
        name: of the bundle, or the path of its folder.
        checkpoints: the folder that holds bundles, to write there whatever there is elsewhere.

    Raises:
        UserError: the user has no data folder, and `EMOJAX_HOME` is not set; or it is an address.
    """
    if is_address(name):
        raise UserError(
            f"{shortened(name, 80)} is in an object store: write the bundle into a folder, and "
            "copy that there"
        )
    if checkpoints is not None:
        return checkpoints / name
    if not _is_name(Path(name)):
        return Path(name)
    installed = os.path.realpath(roots.PACKAGE / CHECKPOINTS)
    for folder in look_up(name).folders:
        if _holds_parts(folder) and os.path.realpath(folder.parent) != installed:
            return folder
    if os.path.isdir(CHECKPOINTS):
        return Path(CHECKPOINTS, name)
    if user := roots.home():
        return user / CHECKPOINTS / name
    raise UserError(
        "there is no data folder of this user to keep bundles in: set EMOJAX_HOME to a folder, or "
        "make a folder named checkpoints here"
    )


def name_of(folder: Path) -> str:
    """Return what to give to `find` for a folder: its name where that is enough, else its path."""
    places = map(os.path.realpath, look_up(folder.name).folders)
    return folder.name if os.path.realpath(folder) in places else str(folder.absolute())


def is_embedded(name: str) -> bool:
    """Whether a name or path is that of the embedded bundle, to which nothing is converted."""
    return Path(name).name == DEFAULT


def save(
    folder: Path,
    part: Part[Any, ConfigT],
    config: ConfigT,
    arrays: Mapping[str, Any],
    source: Mapping[str, Any],
) -> dict[str, Any]:
    """Write one network into a bundle, replacing the part that was there; return its metadata.

    Args:
        folder: of the bundle, see `destination`; made when missing.
        part: which, an entry of `emojax.store.parts`.
        config: the network's config.
        arrays: its table; checked against the config first.
        source: where it came from, JSON-able (file, sha256, layout, ...).

    Raises:
        UserError: the table does not fit the config, or the folder cannot be written.
    """
    import jax  # late, as in `Bundle.load`

    from emojax.store import weights
    from emojax.store.fingerprint import inspect

    network: Any = part.network_class()
    if found := weights.problems(weights.shapes(network, config), arrays):
        raise weights.mismatch(f"{part.name} not written", found)
    checked = inspect(arrays)
    if checked.not_finite:
        raise UserError(
            f"{part.name} not written: {shortened(', '.join(checked.not_finite), 100)} of its "
            "weights hold NaN or infinity; take an undamaged file"
        )
    stored = {
        "network": network.__name__,
        "config": dataclasses.asdict(cast(Any, config)),
        "source": dict(source),
        "parameters": weights.count(arrays),
        "weights_sha256": checked.sha256,
        "weights_checksum": checked.checksum,
        "jax": jax.__version__,
    }
    make_folder(folder)
    with replacing_folder(folder / part.name) as aside:
        weights.write(aside / "weights", arrays)
        (aside / METADATA).write_text(metadata.readable(stored))
    return stored


def _is_name(given: Path) -> bool:
    return given.name == str(given) and given.name not in ("", "..")


def _has_part(folder: Path, part: Part[Any, Any]) -> bool:
    return os.path.isfile(folder / part.name / METADATA)


def _holds_parts(folder: Path) -> bool:
    return any(_has_part(folder, part) for part in PARTS.values())
