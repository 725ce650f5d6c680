"""What results of a pipeline were made with, as it is kept beside them."""

from typing import Any

import jax

from emojax.latents import directions
from emojax.latents.inversion import METHODS, Inverter
from emojax.runtime.files import sha256
from emojax.runtime.flags import PipelineFlags
from emojax.runtime.version import VERSION
from emojax.store.bundle import Bundle
from emojax.store.parts import EMOTION, GENERATOR, INVERTER_PARTS


def of(settings: PipelineFlags, bundle: Bundle, inverter: Inverter) -> dict[str, Any]:
    """Return settings, hashes and versions, JSON-able."""
    parts = (GENERATOR, *INVERTER_PARTS[settings.inverter], EMOTION)
    hashes = {part.name: bundle.sha256(part) for part in parts}
    file = settings.directions or directions.file_of(bundle)
    return {
        "bundle": str(bundle),
        "inverter": settings.inverter,
        "passes": METHODS[settings.inverter].passes(inverter, settings.passes),
        "crop": settings.crop,
        "bfloat16": settings.bfloat16,
        "weights_sha256": hashes,
        "directions": {"file": str(file), "sha256": sha256(file)},
        "made_by": f"emojax {VERSION}",
        "jax": jax.__version__,
    }
