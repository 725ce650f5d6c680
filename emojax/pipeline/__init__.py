"""A bundle opened for one inverter, as `emojax.load` returns it: photographs in, results out.

    pipe = emojax.load("demo")
    me, friend = pipe.invert("me.jpg", "friend.jpg")
    pipe.transfer(me, friend).image.save("result.png")
    pipe.edit(me, happiness=4, anger=-4).image
    pipe.emotions("me.jpg")

Everything that comes back is `Faces`: codes, pictures and emotion probabilities of one or more
faces, drawn and classified when they are first asked for. Results are deterministic, and networks
run on all local devices.
"""

from pathlib import Path

import jax

from emojax.latents import inversion
from emojax.pipeline.faces import Faces
from emojax.pipeline.opened import Pipeline
from emojax.runtime.choices import DEFAULT_BUNDLE, Align, Crop, InverterName
from emojax.runtime.flags import PipelineFlags
from emojax.store import bundle as bundles

__all__ = ["Faces", "Pipeline", "load"]


def load(
    bundle: str | Path = DEFAULT_BUNDLE,
    *,
    inverter: InverterName | None = None,
    passes: int = 5,
    steps: int | None = None,
    directions_file: str | Path | None = None,
    crop: Crop = "face",
    align: Align = "auto",
    landmarks: str | Path | None = None,
    dlib_model: str | Path | None = None,
    batch: int | None = None,
    bfloat16: bool = False,
    devices: int | None = None,
) -> "Pipeline":
    """Open a bundle: a generator, an inverter, directions and an emotion classifier.

    Args:
        bundle: name, folder, or address in an object store (s3://... or gs://...).
        inverter: "psp" (one encoder pass to W+), "hyperstyle" (a code in W, and passes that refine
            the generator's kernels), "projection" (codes in W+ by optimisation), "projection-w"
            (one in W), "pti" (a code in W, and a generator tuned to the face) or "none" (generated
            faces only). Default: "psp", and "none" for generators other than StyleGAN2.
        passes: of HyperStyle.
        steps: of an optimisation; default: as many as its authors make.
        directions_file: a directions file in place of the bundle's.
        crop: what the classifier sees, "face" of an aligned picture or the "full" picture.
        align: "auto" cuts faces out of photographs as FFHQ did and takes aligned ones as they are,
            "always" cuts out of these too, "never" takes every picture as it is.
        landmarks: JSON of facial landmarks in place of the built-in detector.
        dlib_model: shape_predictor_68_face_landmarks.dat, to find faces with dlib.
        batch: faces at a time, on all devices together; default: 2 for each CPU device, 16 for
            each of another kind.
        bfloat16: compute convolutions in bfloat16: faster on GPUs and TPUs, less exact.
        devices: most of the local devices to use; default: all.

    Raises:
        UserError: there is no such bundle, or a part of it is missing or damaged; says which
            command makes it.
    """
    each = 2 if jax.default_backend() == "cpu" else 16
    return Pipeline(
        PipelineFlags(
            bundle=str(bundle),
            inverter=inverter or inversion.default(bundles.find(bundle)),
            passes=passes,
            steps=steps,
            directions=_path(directions_file),
            crop=crop,
            align=align,
            landmarks=_path(landmarks),
            dlib_model=_path(dlib_model),
            batch=batch or each * min(devices or 1024, len(jax.local_devices())),
            bfloat16=bfloat16,
        ),
        devices=devices,
    )


def _path(file: str | Path | None) -> Path | None:
    return None if file is None else Path(file)
