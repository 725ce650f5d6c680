"""Inverted and prepared faces as arrays of a `BlockStore`; they come back bit for bit."""

import jax.numpy as jnp
import numpy as np

from emojax.latents.bases import Prepared, Readings
from emojax.latents.codes import Inversion
from emojax.latents.inversion import METHODS, Inverter
from emojax.latents.normalisers import Transferrer
from emojax.store.block_store import Arrays

CODES = "w_plus"
"""Name of the codes [N,L,D]."""
CHANGE = "change "
"""Beginning of the names of what faces change in the generator."""
BASES = ("neutral", "base")
"""Faces of a `Prepared` beside the inverted ones; beginnings of the names of their arrays."""


def arrays_of(faces: Inversion) -> Arrays:
    """Return the arrays of inverted faces."""
    changes = {f"{CHANGE}{name}": array for name, array in (faces.changes or {}).items()}
    return {name: np.asarray(array) for name, array in {CODES: faces.w_plus, **changes}.items()}


def faces_of(inverter: Inverter, stored: Arrays, passes: int) -> Inversion:
    """Return inverted faces.

    Args:
        inverter: the networks that made them.
        stored: `arrays_of` them, other arrays may be among these.
        passes: of HyperStyle.
    """
    changes = {
        name.removeprefix(CHANGE): jnp.asarray(array)
        for name, array in stored.items()
        if name.startswith(CHANGE)
    }
    return Inversion(
        jnp.asarray(stored[CODES]),
        changes or None,
        passes=METHODS[inverter.method].passes(inverter, passes),
        method=inverter.method,
        made_with=inverter.made_with,
    )


def prepared_arrays(prepared: Prepared) -> Arrays:
    """Return the arrays of prepared faces, without those of the inverted faces in them.

    Most normalisers move codes only; what faces change in the generator is then that of the
    inverted ones, and not kept a second time.
    """
    arrays: Arrays = {}
    for role in BASES:
        faces: Inversion = getattr(prepared, role)
        shared = faces.changes is prepared.face.changes
        kept = {CODES: np.asarray(faces.w_plus)} if shared else arrays_of(faces)
        arrays |= {f"{role} {name}": array for name, array in kept.items()}
    if prepared.readings is not None:
        named = prepared.readings._asdict()
        arrays |= {name: np.asarray(array) for name, array in named.items()}
    return arrays


def prepared_of(transferrer: Transferrer, faces: Inversion, stored: Arrays) -> Prepared:
    """Return prepared faces.

    Args:
        transferrer: that prepared them.
        faces: the inverted ones.
        stored: their `prepared_arrays`.
    """
    found = []
    for role in BASES:
        beginning = f"{role} "
        ours = {
            name.removeprefix(beginning): array
            for name, array in stored.items()
            if name.startswith(beginning)
        }
        if set(ours) == {CODES}:
            found.append(faces.with_codes(jnp.asarray(ours[CODES])))
        else:
            found.append(faces_of(transferrer.inverter, ours, faces.passes))
    readings = None
    if set(Readings._fields) <= stored.keys():
        readings = Readings(*(jnp.asarray(stored[name]) for name in Readings._fields))
    neutral, base = found
    return Prepared(faces, neutral, base, transferrer.method, readings)
