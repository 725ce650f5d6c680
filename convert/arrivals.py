"""Published files that are on the disk: recognised, compared with what is published, converted."""

import dataclasses
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from convert import file_set, systems
from convert.file_set import Target
from convert.published import File
from convert.systems import System
from emojax.runtime.errors import LONGEST, UserError, shortened
from emojax.runtime.files import sha256
from emojax.runtime.progress import progress

log = logging.getLogger(__name__)

ENDINGS = (".pt", ".pth", ".pkl", ".ckpt", ".safetensors")
"""Of files that are reported where they cannot be read; others are no checkpoints."""


@dataclasses.dataclass(frozen=True)
class Missing:
    """Why a part is not in the bundle.

    Attributes:
        file: the published file.
        reason: in words.
        by_hand: whether to open its address in a browser may help.
    """

    file: File
    reason: str
    by_hand: bool = True

    @property
    def lines(self) -> list[str]:
        """What a user should read of it."""
        said = [f"{self.file.name}: {self.reason}"]
        return [*said, f"  open {self.file.address} in a browser"] if self.by_hand else said


def in_folder(folder: Path, needed: Sequence[File]) -> dict[File, Path]:
    """Return the files of a folder that are among those needed, told by what is in them.

    Files that are not taken are named on stderr, with the reason.

    Raises:
        UserError: several are the same published file, and no name tells which is meant.
    """
    seen = _recognised(folder, {file.name for file in needed})
    taken: dict[File, Path] = {}
    for file in needed:
        fitting = [path for path, system in seen.items() if system is file.system]
        named = [path for path in fitting if path.name == file.name] or fitting
        if len(named) > 1 and len({sha256(path) for path in named}) > 1:
            raise UserError(
                f"{named[0]} and {named[1]} both hold {file.system.about}: leave one of them in "
                f"{folder}, or name it {file.name}"
            )
        if named:
            _check_hash(named[0], file)
            taken[file] = named[0]
    for path, system in seen.items():
        if path not in taken.values():
            log.info("not taken: %s holds %s", shortened(path, LONGEST), system.about)
    return taken


def _recognised(folder: Path, names: Collection[str]) -> dict[Path, System]:
    """Return the system of each file that has one."""
    try:
        files = sorted(each for each in folder.iterdir() if each.is_file() and each.name[0] != ".")
    except OSError as error:
        raise UserError(f"{folder} cannot be looked through ({error}): check the path") from error
    found = {}
    with progress(f"looking through {folder}", len(files), "files") as shown:
        for file in files:
            try:
                if system := systems.system_in(file):
                    found[file] = system
                    continue
                reason = f"{shortened(file, LONGEST)} holds no network that is known here"
            except UserError as error:
                reason = str(error)
            finally:
                shown.advance()
            if file.name in names or file.suffix.lower() in ENDINGS:
                log.info("not taken: %s", reason)
    return found


def _check_hash(path: Path, file: File) -> None:
    """Refuse a file of a folder whose published hash it does not have.

    Raises:
        UserError: as said.
    """
    if file.sha256 and not (there := sha256(path)).startswith(file.sha256):
        raise UserError(
            f"{path} holds {file.system.about}, but its SHA-256 begins with {there[:8]} and the "
            f"published one with {file.sha256[:8]}: take it out of the folder, or convert it with "
            "'emojax convert FILE --name NAME' if you trust it"
        )


def checked(file: File, path: Path) -> Missing | None:
    """Look into a downloaded file, and delete it where it is not what it was published as."""
    try:
        system = systems.system_in(path)
        if system is not None and system.parts == file.parts:
            return None
        reason = f"it holds {system.about if system else 'no known network'}"
        reason += f", wanted {file.system.about}; it is deleted"
    except UserError as error:
        reason = f"{error}; it is deleted"
    path.unlink()
    return Missing(file, reason)


def convert(
    ready: Mapping[File, Path], target: Target, done_with: Collection[Path]
) -> list[Missing]:
    """Convert files, each step even where another fails, and return what is missing.

    Args:
        ready: the files, recognised.
        target: the bundle.
        done_with: those to delete once their parts are in the bundle.
    """
    of_path = {path: file for file, path in ready.items()}
    chosen = {part: path for file, path in ready.items() for part in file.parts}
    missing = []
    if len(pair := {"hyperstyle", "w_encoder"} & chosen.keys()) == 1:
        del chosen[pair.pop()]  # waits for the other file, which is reported
    for step in file_set.steps(chosen, target):
        try:
            step.run()
        except UserError as error:
            missing += [Missing(of_path[path], str(error), by_hand=False) for path in step.files]
            continue
        for path in set(done_with) & set(step.files):
            path.unlink()
    return missing
