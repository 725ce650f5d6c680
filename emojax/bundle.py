"""A folder under `checkpoints/` as one thing: its networks, their configs and where they came from.

checkpoints/ffhq/generator/metadata.json    readable: config, source, counts, hash
checkpoints/ffhq/generator/weights/         Orbax checkpoint of the flat table
"""

import dataclasses
import json
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import jax
from flax import nnx

from emojax import weights
from emojax.errors import UserError
from emojax.models import hsemotion, hyperstyle, inception, psp, stylegan2


class Network(NamedTuple):
    """How one part of a bundle is built, and how a user gets it."""

    model: type[nnx.Module]
    config: type
    made_by: str


NETWORKS = {
    "generator": Network(
        stylegan2.Generator, stylegan2.GeneratorConfig, "python -m convert.stylegan FILE"
    ),
    "psp": Network(psp.Encoder, psp.EncoderConfig, "python -m convert.psp FILE"),
    "w_encoder": Network(
        psp.Encoder, psp.EncoderConfig, "python -m convert.hyperstyle FILE --w-encoder FILE"
    ),
    "hyperstyle": Network(
        hyperstyle.Hypernet,
        hyperstyle.HypernetConfig,
        "python -m convert.hyperstyle FILE --w-encoder FILE",
    ),
    "emotion": Network(
        hsemotion.EmotionNet, hsemotion.EmotionConfig, "python -m convert.emotion FILE"
    ),
    "inception": Network(
        inception.Inception, inception.InceptionConfig, "python -m convert.inception FILE"
    ),
}
"""The parts a bundle may have, by folder name."""


def find(name: str | os.PathLike) -> Path:
    """Return the folder of a bundle given by path or by its name under `checkpoints`.

    Looks at the path itself, then `checkpoints/NAME` here, then beside the installed package.

    Raises:
        UserError: there is none; lists those that exist.
    """
    roots = [Path("checkpoints"), Path(__file__).parent.parent / "checkpoints"]
    for folder in [Path(name), *(root / name for root in roots)]:
        if any((folder / part / "metadata.json").is_file() for part in NETWORKS):
            return folder
    known = sorted(
        {folder.parent.parent.name for root in roots for folder in root.glob("*/*/metadata.json")}
    )
    raise UserError(
        f"no bundle {str(name)!r}: wanted a folder that a convert command wrote, or one of "
        f"{', '.join(known) or '(none here yet)'} under checkpoints"
    )


def metadata(bundle: Path, part: str) -> dict[str, Any]:
    """Return a part's metadata: network, config, source, parameters, weights_sha256.

    Raises:
        UserError: the bundle has no such part (says which command makes it) or the file is damaged.
    """
    file = bundle / part / "metadata.json"
    if not file.is_file():
        raise UserError(
            f"bundle {bundle} has no {part}: make it with "
            f"'{NETWORKS[part].made_by} --name {bundle.name}'"
        )
    try:
        return json.loads(file.read_text())
    except ValueError as error:
        raise UserError(f"{file} is not readable JSON ({error}): convert the file again") from error


def load(bundle: Path, part: str, **changes: Any) -> nnx.Module:
    """Return one network of a bundle, its weights checked by name, shape and kind.

    Args:
        bundle: folder, see `find`.
        part: a key of `NETWORKS`.
        **changes: fields of the config to change, such as the compute dtype.

    Raises:
        UserError: the part is missing, damaged, or does not fit its own config.
    """
    stored = metadata(bundle, part)
    network = NETWORKS[part]
    try:
        config = network.config(**{**_tuples(stored["config"]), **changes})
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{bundle / part / 'metadata.json'} holds a config that {network.config.__name__} does "
            f"not take ({error}): convert the file again with this version"
        ) from error
    model = weights.abstract(network.model, config)
    return weights.load(model, weights.read(bundle / part / "weights"), what=f"{bundle / part}")


def save(
    bundle: Path, part: str, config: Any, arrays: weights.Arrays, source: dict
) -> dict[str, Any]:
    """Write one network into a bundle, replacing the part that was there; return its metadata.

    Everything is written into a folder beside the part and renamed when complete.

    Args:
        bundle: folder of the bundle; made when missing.
        part: a key of `NETWORKS`.
        config: the network's config, a dataclass.
        arrays: its table; checked against the config first.
        source: where it came from, JSON-able (file, sha256, layout, ...).

    Raises:
        UserError: the table does not fit the config, or the folder cannot be written.
    """
    network = NETWORKS[part]
    expected = weights.flatten(weights.abstract(network.model, config))
    if found := weights.problems(expected, arrays):
        raise UserError(f"{part} not written; {weights.report(found)}")
    stored = {
        "network": network.model.__name__,
        "config": dataclasses.asdict(config),
        "source": source,
        "parameters": weights.count(arrays),
        "weights_sha256": weights.fingerprint(arrays),
        "jax": jax.__version__,
    }
    try:
        bundle.mkdir(parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix=f".{part}-", dir=bundle))
    except OSError as error:
        raise UserError(f"cannot write into {bundle} ({error}): choose another --output") from error
    try:
        weights.write(aside / "weights", arrays)
        (aside / "metadata.json").write_text(_readable(stored))
        _swap(aside, bundle / part)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return stored


def _readable(stored: dict[str, Any]) -> str:
    """Return indented JSON with every list of plain values on one line."""
    text = json.dumps(stored, indent=2) + "\n"
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text)


def _swap(new: Path, place: Path) -> None:
    """Put `new` where `place` is; what was there is deleted only afterwards."""
    new.chmod(0o755)
    if not place.exists():
        new.rename(place)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{place.name}-old-", dir=place.parent)) / place.name
    place.rename(old)
    new.rename(place)
    shutil.rmtree(old.parent)


def _tuples(config: dict[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in config.items()
    }
