"""Get published networks by name: download, check and convert them to one bundle.

    emojax fetch ffhq
    emojax fetch ffhq --from ~/Downloads
    emojax fetch ffhq --files e4e_ffhq_encode.pt enet_b2_8.pt
    emojax fetch ffhq --parts generator psp emotion --accept-licences

What each file is, how large, and under which licence, `emojax fetch ffhq --list` prints. Licences
are shown and asked for once. An interrupted run goes on where it stopped, and parts that the bundle
has are not fetched again. Files that are on the disk already are taken with --from, whatever their
names. Nothing in a file is executed. `python -m convert.fetch` does the same.
"""

import dataclasses
import json
import os
import shlex
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from convert import arrivals, published
from convert.arrivals import Missing
from convert.download.one_file import Patience
from convert.download.problems import LocalProblem, Problem
from convert.file_set import Target
from convert.psp import OtherGenerator
from convert.published import File
from emojax.latents.directions import FILE
from emojax.runtime.byte_progress import as_text
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, write_json
from emojax.runtime.flags import at_least
from emojax.runtime.locks import alone
from emojax.store import bundle
from emojax.store.parts import INVERTER_PARTS, PARTS

MIRROR = "EMOJAX_MIRROR"
"""Variable with the address that --mirror gives."""

HYPERSTYLE = {part.name for part in INVERTER_PARTS["hyperstyle"]}
"""Parts that are converted in one step."""

SPARE = 1.1
"""Disk that a file takes in a bundle, as a share of the file, with something to spare."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options:
    """Flags of `emojax fetch`."""

    set: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="SET")] = bundle.PUBLISHED
    """Name of a published set, or a .toml file of your own in the same form."""
    name: str = ""
    """Name of the bundle; default: that of the set."""
    parts: tuple[str, ...] = ()
    """Parts to get, such as generator psp emotion; default: all."""
    files: tuple[str, ...] = ()
    """Files to take in place of the usual ones of their parts, such as e4e_ffhq_encode.pt."""
    folder: Annotated[Path | None, tyro.conf.arg(name="from")] = None
    """Folder with files that you have already; they are recognised by what is in them, and only
    the others are downloaded."""
    offline: bool = False
    """Download nothing: take what is in --from and what has arrived before."""
    accept_licences: bool = False
    """Accept the licences without being asked."""
    list: bool = False
    """Show the files, and end."""
    mirror: str = os.environ.get(MIRROR, "")
    """Address of a folder with the files under their published names, to download from; default:
    EMOJAX_MIRROR, else the authors' addresses."""
    jobs: int = 3
    """Files at a time."""
    retries: int = 5
    """Attempts in a row that may bring nothing new."""
    retry_wait: float = 1.0
    """Seconds before the first of them; doubled each time, up to 30."""
    keep: bool = False
    """Keep the downloaded files after conversion."""
    checkpoints: Path | None = None
    """Folder that holds bundles; default: where the bundle is already, else ./checkpoints if there
    is such a folder, else EMOJAX_HOME or the user's data folder, where all commands find it."""
    other_generator: OtherGenerator = "refuse"
    """What to do if an encoder's decoder is not the bundle's generator: refuse, keep the bundle's,
    or replace it."""

    def check(self) -> None:
        """Refuse what no run could use.

        Raises:
            UserError: a number out of range, an address of another kind, or no such folder.
        """
        at_least("--jobs", self.jobs, 1)
        at_least("--retries", self.retries, 0)
        if not 0 <= self.retry_wait < float("inf"):
            raise UserError(f"--retry-wait is {self.retry_wait}, wanted 0 or more seconds")
        if self.mirror and not self.mirror.startswith(("https://", "http://")):
            raise UserError(f"--mirror is {self.mirror!r}, wanted an http(s) address")
        if self.folder and not self.folder.is_dir():
            raise UserError(f"no folder {self.folder}: give one with published files")

    def again(self, *more: str) -> str:
        """Return the command that goes on with this run, with further words."""
        words = ["emojax", "fetch", self.set]
        for flag, values in {
            "--name": [self.name] if self.name else [],
            "--parts": self.parts,
            "--files": self.files,
            "--mirror": [self.mirror] if self.mirror != os.environ.get(MIRROR, "") else [],
            "--checkpoints": [str(self.checkpoints)] if self.checkpoints else [],
            "--other-generator": [self.other_generator] if self.other_generator != "refuse" else [],
        }.items():
            words += [flag, *values] if values else []
        return shlex.join([*words, *more])


def main(options: Options) -> None:
    """Bring what the bundle lacks, and print what was done."""
    options.check()
    wanted = published.read(options.set)
    files = wanted.chosen(options.parts, options.files)
    if options.list:
        _list(files, wanted.files)
        return
    target = Target(options.name or wanted.name, options.checkpoints, options.other_generator)
    needed = _needed(files, target, options.files)
    if there := [part for file in files if file not in needed for part in file.parts]:
        print(f"there already: {', '.join(there)}")
    if needed:
        downloads = make_folder(target.folder.parent / bundle.DOWNLOADS)
        with alone(downloads, "downloading"):
            _bring(needed, options, target, downloads)
    name = bundle.name_of(target.folder)
    print(f"use it  --bundle {name}")
    if not target.bundle.file(FILE):
        print(f"for edits and transfers it needs directions: {bundle.directions_command(name)}")


def _needed(files: Sequence[File], target: Target, named: Sequence[str]) -> list[File]:
    """Return the files whose parts the bundle lacks, and those named that it has of other files."""
    lacking = [file for file in files if not _finished(file, target.bundle, file.name in named)]
    if any(HYPERSTYLE & {*file.parts} for file in lacking):
        return [file for file in files if file in lacking or HYPERSTYLE & {*file.parts}]
    return lacking


def _finished(file: File, place: bundle.Bundle, named: bool) -> bool:
    try:
        sources = [place.metadata(PARTS[part]).source for part in file.parts]
    except UserError:  # a part is missing or damaged
        return False
    return not named or all(source.get("file") == file.name for source in sources)


def _bring(needed: Sequence[File], options: Options, target: Target, downloads: Path) -> None:
    """Take files from a folder, download the others, convert all.

    Raises:
        UserError: not all could be had; the parts of the others are in the bundle.
    """
    at_hand = arrivals.in_folder(options.folder, needed) if options.folder else {}
    absent = [file for file in needed if file not in at_hand]
    arrived, problems = _download(absent, options, downloads)
    ready = {**at_hand, **arrived}
    problems += arrivals.convert(ready, target, [] if options.keep else [*arrived.values()])
    if problems:
        raise _not_all(problems, needed, options)


def _not_all(problems: Sequence[Missing], needed: Sequence[File], options: Options) -> UserError:
    """Return the error that says what is not there, why, and how to go on."""
    parts = dict.fromkeys(part for problem in problems for part in problem.file.parts)
    wanted = [part for file in needed for part in file.parts]
    if HYPERSTYLE & {*parts}:
        parts |= dict.fromkeys(part for part in wanted if part in HYPERSTYLE)
    rest = [part for part in wanted if part not in parts]
    notes = [line for problem in problems for line in problem.lines]
    place = str(options.folder or "FOLDER")
    go_on = f"then go on with '{options.again(*(['--from', place] if options.folder else []))}'"
    if any(problem.by_hand for problem in problems):
        go_on = (
            f"save what you download by hand in {options.folder or 'a folder'}, and go on with "
            f"'{options.again('--from', place)}'"
        )
    there = f"; the bundle has {', '.join(rest)}" if rest else ""
    return UserError(f"{', '.join(parts)} could not be had{there}", [*notes, go_on])


def _download(
    absent: Sequence[File], options: Options, downloads: Path
) -> tuple[dict[File, Path], list[Missing]]:
    """Return where files have arrived, now or in an earlier run, and why the others have not.

    Raises:
        UserError: licences are not accepted, or the disk is too small.
    """
    asked = [file for file in absent if not (downloads / file.name).is_file()]
    if asked and options.offline:
        names = ", ".join(file.name for file in asked)
        raise UserError(f"--offline, and {names} not found: give --from FOLDER with these files")
    if asked:
        _accept(asked, options, downloads)
        _check_disk(asked, downloads)
    from convert.download.several import fetch_all  # late: imports requests

    wanted = [file.wanted(options.mirror) for file in absent]
    patience = Patience(options.retries, options.retry_wait)
    try:
        found = fetch_all(wanted, downloads, jobs=options.jobs, patience=patience) if absent else {}
    except KeyboardInterrupt:
        print(f"what has arrived is kept: '{options.again()}' goes on", file=sys.stderr)
        raise
    arrived, problems = {}, []
    for file in absent:
        result = found[file.name]
        if isinstance(result, Problem):
            local = isinstance(result, LocalProblem)
            problems.append(Missing(file, str(result), by_hand=not local))
        elif wrong := arrivals.checked(file, result):
            problems.append(wrong)
        else:
            arrived[file] = result
    return arrived, problems


def _accept(files: Sequence[File], options: Options, downloads: Path) -> None:
    """Show the licences of files and ask once; those accepted in an earlier run are not asked for.

    Raises:
        UserError: they are not accepted, or there is no terminal to ask on.
    """
    record = downloads / ".accepted.json"  # no published name begins with a dot
    try:
        before = [str(each) for each in json.loads(record.read_text())["licences"]]
    except (OSError, ValueError, LookupError, TypeError):
        before = []
    new = {file.licence for file in files} - {*before}
    if not new:
        return
    total = sum(file.about_bytes for file in files)
    print(f"to download: {len(files)} {'file' if len(files) == 1 else 'files'}, {as_text(total)}")
    for licence in sorted(new):
        print(f"\n{licence}")
        for file in files:
            if file.licence == licence:
                print(f"  {file.name}, {as_text(file.about_bytes)}: {file.about}")
                print(f"    {file.source}")
    print("\nThe licences are their authors'; emojax gives no rights. Read them at the addresses.")
    if not options.accept_licences:
        if not sys.stdin.isatty():
            raise UserError(
                "the licences above have to be accepted: read them, and run "
                f"'{options.again('--accept-licences')}'"
            )
        sys.stdout.flush()
        try:
            answer = input("Do you accept them? [y/N] ")
        except EOFError:  # Ctrl-D
            answer = "no"
        if answer.strip().lower() not in ("y", "yes"):
            raise UserError("the licences are not accepted: nothing was downloaded")
    write_json(record, {"licences": sorted({*before, *new})})


def _check_disk(files: Sequence[File], downloads: Path) -> None:
    """Refuse a disk that has no room for files, of which the largest is converted beside them.

    Raises:
        UserError: as said.
    """
    there = sum(part.stat().st_size for part in downloads.glob("*.part"))
    sizes = [file.about_bytes for file in files]
    needed, free = sum(sizes) - there + SPARE * max(sizes), shutil.disk_usage(downloads).free
    if needed > free:
        raise UserError(
            f"the disk of {downloads} has {free / 1e9:.1f} GB free, wanted {needed / 1e9:.1f}: "
            "make room, or set EMOJAX_HOME to a folder on a larger disk"
        )


def _list(chosen: Sequence[File], files: Sequence[File]) -> None:
    """Print what is known of the files of a set."""
    for file in files:
        mark = "" if file in chosen else f" (--files {file.name})"
        print(f"{file.name}{mark}")
        for title, text in {
            "for": file.about,
            "part": ", ".join(file.parts),
            "size": f"about {as_text(file.about_bytes)}",
            "sha256": f"begins with {file.sha256}" if file.sha256 else "not published",
            "licence": f"{file.licence} ({file.source})",
            "address": file.address,
        }.items():
            print(f"  {title:<9}{text}")


if __name__ == "__main__":
    cli(main)
