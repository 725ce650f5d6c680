"""Networks of an earlier bundle in the place of stages.

Classifiers and encoders see pictures of one size, whatever the generator's. So a world of larger
pictures can have the classifiers of a smaller one, bit for bit, and its encoders can start from
those of the smaller one.
"""

import dataclasses
from pathlib import Path
from typing import Any, Final

import numpy as np
from flax import nnx

from emojax.demo.training.recipe import Profile
from emojax.models.psp import Encoder
from emojax.runtime.errors import UserError
from emojax.runtime.files import make_folder
from emojax.store import weights
from emojax.store.bundle import Bundle
from emojax.store.parts import PARTS, PSP
from emojax.training import checkpoints

ADOPTED: Final = ("emotion", "attributes", "features")
"""Stages whose networks are taken from a bundle as they are."""


def adopt(base: Bundle, profile: Profile, work: Path) -> None:
    """Count networks of a bundle as the results of stages: `ADOPTED`, and the encoders' trunk.

    Args:
        base: the bundle.
        profile: whose configs the networks must have.
        work: folder of the stages.

    Raises:
        UserError: the bundle lacks a network, it has another config, or the folder has the stage
            finished with another network.
    """
    for name in ADOPTED:
        network = base.load(PARTS[name])
        _check(base.folder(PARTS[name]), network.config, getattr(profile, name))
        _count(network, profile, work, name)
    encoder, begun = base.load(PSP), Encoder(profile.trunk, rngs=nnx.Rngs(0))
    shape = {
        field: getattr(profile.psp, field) for field in ("resolution", "stem", "widths", "units")
    }
    _check(base.folder(PSP), encoder.config, dataclasses.replace(encoder.config, **shape))
    nnx.update(begun.trunk, nnx.state(encoder.trunk))
    _count(begun, profile, work, "trunk")


def _count(network: nnx.Module, profile: Profile, work: Path, name: str) -> None:
    """Write a network as the result of a stage, unless it is there."""
    steps, place = profile.lengths[name].steps, work / name
    if not checkpoints.is_finished(work, name, steps):
        done = checkpoints.Progress(step=steps, share=1.0)
        checkpoints.finish(make_folder(place), network, done)
        return
    there, wanted = weights.read(place / checkpoints.NETWORK), weights.flatten(network)
    if there.keys() != wanted.keys() or any(
        not np.array_equal(stored, np.asarray(wanted[key], stored.dtype))
        for key, stored in there.items()
    ):
        raise UserError(
            f"{place} has another network than the bundle of --base: delete this folder to take "
            "the bundle's, or leave out --base to keep it"
        )


def _check(folder: Path, found: Any, wanted: Any) -> None:
    """Refuse a part of another config."""
    for field in dataclasses.fields(wanted):
        one, other = getattr(found, field.name), getattr(wanted, field.name)
        if one != other:
            raise UserError(f"{folder} has another config: {field.name} is {one}, wanted {other}")
