"""What is installed, which device is used, where bundles are, and what they lack.

    emojax doctor
    emojax doctor --json

For a first look when something does not work, and for reports of problems. Changes nothing and asks
no server.
"""

import dataclasses
import importlib.metadata
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator
from typing import Any

from emojax import __version__
from emojax.latents.directions import FILE
from emojax.runtime import compile_cache
from emojax.runtime.byte_progress import as_text
from emojax.runtime.cli import cli
from emojax.runtime.errors import UserError
from emojax.store import bundle, roots
from emojax.store.parts import PARTS

PACKAGES = ("jax", "jaxlib", "flax", "orbax-checkpoint", "numpy", "pillow", "tensorflow-datasets")
"""Distributions whose versions a report of a problem needs."""

SMALL = 10_000
"""Bytes of a folder of downloads in which there is no download."""

DEVELOPERS = ("test", "docs", "dev")
"""Extras that no command needs."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax doctor`."""

    json: bool = False
    """Print JSON, for programs."""


def main(options: Options) -> None:
    """Print what there is."""
    found = {
        "emojax": __version__,
        "python": f"{platform.python_version()}, {platform.system()} {platform.machine()}",
        "packages": {name: _version(name) for name in PACKAGES},
        "extras": _extras(),
        "settings": {k: v for k, v in sorted(os.environ.items()) if k.startswith("EMOJAX_")},
        "compiled_programs": _compiled_programs(),
        "cache": str(compile_cache.cache_folder().expanduser()),
        "home": _home(),
        "downloads": _downloads(),
        "search_path": [str(folder.absolute()) for folder in roots.search_path()],
        "bundles": {name: _bundle(name) for name in bundle.names()},
        "devices": _devices(),
    }
    if options.json:
        print(json.dumps(found, indent=2))
        return
    rows = list(_rows(found))
    width = max(len(title) for title, _ in rows) + 2
    for title, text in rows:
        print(f"{title:<{width}}{text}".rstrip())


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _extras() -> dict[str, dict[str, str | None]]:
    """Return {extra: {distribution: version or None}} of the extras that commands use."""
    try:
        wanted = importlib.metadata.requires("emojax") or []
    except importlib.metadata.PackageNotFoundError:  # a checkout that is not installed
        return {}
    found: dict[str, dict[str, str | None]] = {}
    for line in wanted:
        extra = re.search(r"""extra\s*==\s*['"]([\w-]+)['"]""", line)
        name = re.match(r"[\w.-]+", line)
        if extra and name and extra[1] not in DEVELOPERS:
            found.setdefault(extra[1], {})[name[0]] = _version(name[0])
    return found


def _compiled_programs() -> dict[str, Any]:
    """Return whether compiled programs are kept, and where."""
    folder = os.environ.get(compile_cache.FOLDER)  # set when a command starts
    return {"kept": bool(folder), "folder": folder}


def _home() -> dict[str, Any]:
    """Return the bundle home, and the bytes that are free on its disk."""
    home = roots.home()
    if home is None:
        return {"folder": None, "free": None}
    there = next(
        folder for folder in (home.absolute(), *home.absolute().parents) if folder.exists()
    )
    return {"folder": str(home), "free": shutil.disk_usage(there).free}


def _downloads() -> dict[str, int]:
    """Return the bytes in each folder in which 'emojax fetch' was interrupted."""
    found = {}
    for root in roots.search_path():
        folder = root / bundle.DOWNLOADS
        sizes = [file.stat().st_size for file in folder.glob("*") if file.is_file()]
        if sum(sizes) > SMALL:
            found[str(folder.absolute())] = sum(sizes)
    return found


def _bundle(name: str) -> dict[str, Any]:
    """Return a bundle's folders, the source of each part, and the commands that bring the others.

    The embedded bundle's parts belong together, so nothing is missing there.
    """
    found = bundle.look_up(name)
    parts, missing = {}, {}
    for part in PARTS.values():
        if found.has(part):
            try:
                parts[part.name] = found.metadata(part).source.get("file")
            except UserError as error:
                parts[part.name] = f"damaged: {error}"
        elif part.converter and part.fetched and not bundle.is_embedded(name):
            missing[part.name] = bundle.fetch_command(name, part)
    if not found.file(FILE):
        missing["directions"] = bundle.directions_command(name)
    folders = [str(folder.absolute()) for folder in found.folders]
    return {"folders": folders, "parts": parts, "missing": missing}


def _devices() -> dict[str, Any]:
    """Return what JAX computes on."""
    import jax

    try:
        devices = jax.local_devices()
    except RuntimeError as error:
        return {"backend": None, "devices": [], "error": str(error)}
    return {"backend": jax.default_backend(), "devices": [each.device_kind for each in devices]}


def _rows(found: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield titles and texts of the plain form."""
    yield "emojax", found["emojax"]
    yield "python", found["python"]
    yield "packages", ", ".join(f"{k} {v or 'missing'}" for k, v in found["packages"].items())
    for extra, packages in found["extras"].items():
        have = ", ".join(f"{k} {v}" if v else f"{k} missing" for k, v in packages.items())
        whole = all(packages.values())
        yield f"extra {extra}", have if whole else f"{have}: pip install 'emojax[{extra}]'"
    yield "device", _device_line(found["devices"])
    for name, value in found["settings"].items():
        yield "setting", f"{name}={value}"
    programs = found["compiled_programs"]
    kept = f"kept in {programs['folder']}" if programs["kept"] else "not kept"
    yield "compiled programs", kept
    yield "cache", found["cache"]
    home = found["home"]
    free = f", {as_text(home['free'])} free" if home["folder"] else ""
    yield "bundle home", f"{home['folder'] or 'none: set EMOJAX_HOME to a folder'}{free}"
    for folder in found["search_path"]:
        yield "bundles in", folder
    for folder, size in found["downloads"].items():
        yield "downloads", f"{as_text(size)} in {folder}: 'emojax fetch {bundle.PUBLISHED}' goes on"
    for name, held in found["bundles"].items():
        yield "", ""
        yield from _bundle_rows(name, held)
    if set(found["bundles"]) <= {bundle.DEFAULT}:
        yield "", ""
        yield "no other bundle", "'emojax fetch ffhq' gets the published weights"


def _device_line(devices: dict[str, Any]) -> str:
    if not devices["devices"]:
        return f"none: {devices['error']}"
    kinds = devices["devices"]
    counted = [f"{kinds.count(kind)} × {kind}" for kind in dict.fromkeys(kinds)]  # noqa: RUF001
    return f"{devices['backend']}: {', '.join(counted)}"


def _bundle_rows(name: str, held: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield f"bundle {name}", ", ".join(held["folders"])
    for part, source in held["parts"].items():
        yield f"  {part}", source or "of no published file"
    commands: dict[str, list[str]] = {}
    for part, command in held["missing"].items():
        commands.setdefault(command, []).append(part)
    for command, parts in commands.items():
        yield "  missing", f"{', '.join(parts)}: {command}"


if __name__ == "__main__":
    cli(main)
