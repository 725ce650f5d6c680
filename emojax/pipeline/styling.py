"""What a pipeline does with styles: faces drawn as artistic portraits are, by DualStyleGAN."""

import functools
from pathlib import Path
from typing import Any

import numpy as np

from emojax.faces import images
from emojax.faces.photo_reader import Photo
from emojax.latents import stylization
from emojax.latents.stylization import COLOUR, STRUCTURE, TRUNCATION, Strength, Stylizer
from emojax.pipeline.faces import Faces
from emojax.runtime import devices as local
from emojax.runtime.flags import PipelineFlags
from emojax.store import bundle as bundles
from emojax.store.bundle import Bundle


class Styling:
    """The part of a pipeline that needs DualStyleGAN, which is loaded when it is first used."""

    settings: PipelineFlags
    bundle: Bundle
    _devices: int | None

    def invert(self, *photos: Any, face: str = "only") -> Faces:
        """Find the codes of the faces in some photographs; see `Pipeline`."""
        raise NotImplementedError

    def stylize(
        self,
        faces: Faces | Photo,
        style: str | int = 0,
        *,
        structure: float = STRUCTURE,
        colour: float = COLOUR,
        truncation: float = TRUNCATION,
        keep_colours: bool = False,
        style_bundle: str | Path | None = None,
    ) -> Faces:
        """Draw faces in the style of an artistic portrait.

        Args:
            faces: from `invert`, `edit`, `transfer` or `sample`, whose pictures are stylized; or a
                photograph, which is stylized itself.
            style: number or name of a style, see `emojax stylize --list`.
            structure: weight of the style's structure, 0 to 1.
            colour: weight of its colours, 0 to 1.
            truncation: ψ of the faces' own codes.
            keep_colours: whether the faces keep their colours.
            style_bundle: with DualStyleGAN; default: this pipeline's.

        Returns:
            The same faces, with pictures in the style.

        Raises:
            UserError: the bundle has no DualStyleGAN (says how it is made) or no such style, or a
                weight is out of range.
        """
        strength = Strength(structure, colour, truncation, keep_colours)
        place = self.bundle if style_bundle is None else bundles.find(style_bundle)
        (number,), known = stylization.chosen(place, [str(style)])
        if isinstance(faces, Faces):
            pictures = list(faces.pictures)
        else:
            faces = self.invert(faces)
            pictures = [each.face for each in faces.portraits]
        stylizer = self._stylizer(place)
        contents = np.stack([stylization.content(stylizer, each) for each in pictures])
        run = {"batch": self.settings.batch, "devices": self._devices}
        codes = stylization.encode(stylizer, contents, **run)
        extrinsic = np.repeat(known.codes[[number]], len(codes), 0)
        drawn = stylization.draw(stylizer, codes, extrinsic, strength, **run)
        return faces.showing(images.to_uint8(drawn))

    @functools.lru_cache(maxsize=1)  # noqa: B019 - the networks are worth keeping as long
    def _stylizer(self, place: Bundle) -> Stylizer:
        found = stylization.load(place, bfloat16=self.settings.bfloat16)
        return local.everywhere(found, local.mesh_for(self.settings.batch, self._devices))
