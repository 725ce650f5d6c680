"""A folder under `checkpoints/` as one thing: its networks, their configs and where they came from.

checkpoints/ffhq/generator/metadata.json    readable: config, source, counts, hash
checkpoints/ffhq/generator/weights/         Orbax checkpoint of the flat table
"""

import dataclasses
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

import jax
from flax import nnx

from emojax.models import efficientnet, hyperstyle, inception, psp, stylegan2
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder, replacing_folder
from emojax.store import weights


class Network(NamedTuple):
    """How one part of a bundle is built, and the command that makes it, if there is one."""

    model: type[nnx.Module]
    config: type
    made_by: str | None


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
        efficientnet.EmotionNet, efficientnet.EmotionConfig, "python -m convert.emotion FILE"
    ),
    "inception": Network(
        inception.Inception, inception.InceptionConfig, "python -m convert.inception FILE"
    ),
    "features": Network(efficientnet.EmotionNet, efficientnet.EmotionConfig, None),
    "attributes": Network(efficientnet.EmotionNet, efficientnet.EmotionConfig, None),
}
"""The parts a bundle may have, by folder name.

The last two come from trainings of one's own: a small network in whose pooled features a Fréchet
distance may be measured where there is no `inception`, and a regressor of attributes, named by its
config's `classes`.
"""

TRAINED = "no file of it is published, write one of your own training with emojax.store.bundle.save"

DEFAULT = "demo"
"""Name of the bundle that commands use without `--bundle`."""


def find(name: str | os.PathLike) -> Path:
    """Return the folder of a bundle given by path or by its name under `checkpoints`.

    Looks at the path itself, then at `checkpoints/NAME` here, in the checkout that this file is
    part of, and in the installed package.

    Raises:
        UserError: there is none; lists those that exist.
    """
    package = Path(__file__).parent
    roots = [folder / "checkpoints" for folder in (Path(), package.parent, package)]
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
        command = NETWORKS[part].made_by
        way = f"make it with '{command} --name {bundle.name}'" if command else TRAINED
        raise UserError(f"bundle {bundle} has no {part}: {way}")
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
    make_folder(bundle)
    with replacing_folder(bundle / part) as aside:
        weights.write(aside / "weights", arrays)
        (aside / "metadata.json").write_text(_readable(stored))
    return stored


def _readable(stored: dict[str, Any]) -> str:
    """Return indented JSON with every list of plain values on one line."""
    text = json.dumps(stored, indent=2) + "\n"
    return re.sub(r"\[[^][{}]*\]", lambda found: " ".join(found[0].split()), text)


def _tuples(config: dict[str, Any]) -> dict[str, Any]:
    return {
        key: tuple(value) if isinstance(value, list) else value for key, value in config.items()
    }
