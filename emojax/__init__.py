"""Facial emotion editing and transfer with pretrained networks, in JAX and Flax.

    pipe = emojax.load("demo")
    me, friend = pipe.invert("me.jpg", "friend.jpg")
    pipe.transfer(me, friend).image.save("result.png")

The names below are loaded when they are first used, so that importing emojax is quick.
"""

import importlib
from typing import TYPE_CHECKING, Any

from emojax.runtime.interrupts import quiet_start
from emojax.runtime.version import VERSION as __version__

if TYPE_CHECKING:
    from emojax.film.changes import VideoEdit
    from emojax.film.editing import edit_video
    from emojax.latents.bases import Prepared
    from emojax.latents.directions import Directions
    from emojax.pipeline import Faces, Pipeline, load
    from emojax.runtime.choices import EMOTIONS
    from emojax.runtime.errors import UserError
    from emojax.svr import LinearSVR

quiet_start()

__all__ = [
    "EMOTIONS",
    "Directions",
    "Faces",
    "LinearSVR",
    "Pipeline",
    "Prepared",
    "UserError",
    "VideoEdit",
    "__version__",
    "edit_video",
    "load",
]

_HOMES = {
    "EMOTIONS": "emojax.runtime.choices",
    "Directions": "emojax.latents.directions",
    "Faces": "emojax.pipeline",
    "LinearSVR": "emojax.svr",
    "Pipeline": "emojax.pipeline",
    "Prepared": "emojax.latents.bases",
    "UserError": "emojax.runtime.errors",
    "VideoEdit": "emojax.film.changes",
    "edit_video": "emojax.film.editing",
    "load": "emojax.pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'emojax' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
