"""Local copies of bundles that lie in object stores, in the user's cache folder.

    ~/.cache/emojax/bundles/0f3a.../ffhq/generator/metadata.json    copied when the bundle is found
    ~/.cache/emojax/bundles/0f3a.../ffhq/generator/weights/         when the network is loaded
    ~/.cache/emojax/bundles/91c2.../ffhq/directions.npz             all other files

A copy is named by the versions of its objects, and appears whole: a bundle that was changed is
another copy, and processes that copy at once do not disturb one another. Whatever is read from a
copy is checked as a local bundle is. The folder may be deleted at any time.
"""

import contextlib
import functools
import hashlib
import json
import logging
import os
import shutil
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from emojax.runtime import asides
from emojax.runtime.compile_cache import cache_folder
from emojax.runtime.errors import UserError, shortened
from emojax.runtime.files import make_folder, writing
from emojax.store import metadata
from emojax.store.object_store import ObjectStore

WEIGHTS = "weights"
"""Folder of a part's weights in the part's own."""
_MOST = 10_000
"""Objects of a bundle; there are some hundred."""
_THREADS = 8

Versions = Mapping[str, tuple[int, str]]


def folders(address: str, parts: Iterable[str], others: Iterable[str]) -> tuple[Path, ...]:
    """Copy all of a bundle but its weights; return the local folders that together are the bundle.

    Args:
        address: of the bundle.
        parts: names of the parts it may have.
        others: folders whose files belong to it beside those that lie in no folder.

    Raises:
        UserError: the store refuses, or there is no room.
    """
    store = ObjectStore(address)
    versions = store.versions(most=_MOST)
    found = [
        _copied(store, _below(versions, part), [f"{part}/{metadata.FILE}"])
        for part in parts
        if f"{part}/{metadata.FILE}" in versions
    ]
    files = {
        name: version
        for name, version in versions.items()
        if "/" not in name or name.partition("/")[0] in others
    }
    return (*found, *([_copied(store, files, files)] if files else []))


def fetch_weights(address: str, part: str, folder: Path) -> None:
    """Copy the weights of a part into the folder that `folders` made of it, unless they are there.

    Args:
        address: of the bundle.
        part: name of the part.
        folder: the local bundle.

    Raises:
        UserError: the store refuses, there is no room, or the part was changed meanwhile.
    """
    if (folder / part / WEIGHTS).is_dir():
        return
    store = ObjectStore(address)
    versions = _below(store.versions(most=_MOST), part)
    if _place(store, versions) != folder:
        raise UserError(f"{part} of {address} was changed meanwhile: give the command again")
    inside = f"{part}/{WEIGHTS}/"
    names = [name for name in versions if name.startswith(inside)]
    size = sum(versions[name][0] for name in names)
    logging.info("copying %s of %s (%.0f MB)", part, shortened(address, 80), size / 1e6)
    _copy(store, {name: name.removeprefix(inside) for name in names}, size, folder / part / WEIGHTS)


def _below(versions: Versions, part: str) -> dict[str, tuple[int, str]]:
    return {name: each for name, each in versions.items() if name.startswith(f"{part}/")}


def _copied(store: ObjectStore, versions: Versions, names: Iterable[str]) -> Path:
    """Return the local folder of some objects, with copies of those that are named."""
    folder, names = _place(store, versions), list(names)
    if not folder.parent.is_dir():
        size = sum(versions[name][0] for name in names)
        inside = {name: f"{folder.name}/{name}" for name in names}
        _copy(store, inside, size, folder.parent)
    return folder


def _place(store: ObjectStore, versions: Versions) -> Path:
    """Return where objects of these versions are kept: HASH/NAME, NAME being the bundle's."""
    text = json.dumps([store.address, sorted(versions.items())])
    name = PurePosixPath(store.address).name
    return _root() / hashlib.sha256(text.encode()).hexdigest()[:16] / name


def _root() -> Path:
    try:
        return cache_folder().expanduser().absolute() / "bundles"
    except RuntimeError as error:
        raise UserError(
            "there is no cache folder of this user to copy a bundle to: set XDG_CACHE_HOME"
        ) from error


def _copy(store: ObjectStore, names: Mapping[str, str], size: int, folder: Path) -> None:
    """Copy objects into files below a new folder, which appears when all are there."""
    root = make_folder(_root())
    free = shutil.disk_usage(root).free
    if size > free:
        raise UserError(
            f"copying {store} takes {size / 1e6:,.0f} MB and {root} has {free / 1e6:,.0f} MB free: "
            "make room, or set XDG_CACHE_HOME to another folder"
        )

    def copy(name: str, aside: Path) -> None:
        file = aside / names[name]
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            store.copy_to(name, file)
        except FileNotFoundError as error:
            raise UserError(f"{store} was changed meanwhile: give the command again") from error

    with writing(root), asides.folder(root) as aside, ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(functools.partial(copy, aside=aside), names))
        with contextlib.suppress(OSError):  # another process was faster: its copy is the same
            os.rename(aside, make_folder(folder.parent) / folder.name)
