"""What is changed in a film's faces: their emotion, or their expression for that of another."""

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from emojax.faces.photo_reader import Photo, check_face
from emojax.film.chunk_store import ChunkStore
from emojax.film.following import Followed
from emojax.film.inverting import read_codes
from emojax.film.tracks import WORDS, Track
from emojax.latents.arithmetic import WHOLE
from emojax.latents.codes import Inversion
from emojax.pipeline import Faces, Pipeline
from emojax.runtime.choices import NORMALISERS, Normaliser, PasteForm, Unit
from emojax.runtime.errors import UserError
from emojax.runtime.files import sha256
from emojax.store.parts import INVERTERS

FADE_SECONDS = 0.3
"""How long an edit takes to set in where a face appears in the middle of a scene."""


@dataclasses.dataclass(frozen=True)
class VideoEdit:
    """What `edit_video` does; one of `amounts`, `target` and `driver` is given.

    Attributes:
        amounts: how far along which direction, {"happiness": 12}.
        target: a photograph whose expression the face gets.
        driver: a film whose expression the face gets, moment by moment; as long as the film or
            longer.
        face: which face: "largest", "all", or a number counted from the left.
        driver_face: which face of the driver: "largest", or a number.
        target_face: which face of the target, see `Pipeline.read`.
        alpha: share of the target's or driver's expression, 0 to 1.
        normaliser: of a transfer, see `emojax.latents.normalisers`.
        unit: what the amounts count.
        layers: layers of the generator that move.
        smoothing: seconds of the filters' window; 0: every frame by itself.
        paste_form: how the face goes back into the frame, see `emojax.faces.paste`.

    """

    amounts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    target: Photo | None = None
    driver: str | Path | None = None
    face: str = "largest"
    driver_face: str = "largest"
    target_face: str = "only"
    alpha: float = 1.0
    normaliser: Normaliser = "subspace"
    unit: Unit = "norm"
    layers: slice = dataclasses.field(default_factory=lambda: WHOLE)
    smoothing: float = 0.4
    paste_form: PasteForm = "change"

    def check(self, pipe: Pipeline) -> None:
        """Refuse what no film could be edited with, before anything slow.

        Raises:
            UserError: none or several of amounts, target and driver are given, an unknown
                direction, a face that is none, a number out of range, or a normaliser that would
                let kernels flicker.
        """
        check_face(self.face, "face", words=WORDS)
        check_face(self.driver_face, "driver_face", words=WORDS[:1])
        check_face(self.target_face, "target_face")
        given = [bool(self.amounts), self.target is not None, self.driver is not None]
        if sum(given) != 1:
            raise UserError(
                "wanted one of an emotion with its k, a target photograph and a driver film, got "
                f"{sum(given)} of them"
            )
        if not 0 <= self.smoothing <= 10:
            raise UserError(f"smoothing is {self.smoothing}, wanted 0 to 10 seconds")
        if pipe.inverter.encoder is None:
            raise UserError(
                f"the inverter {pipe.settings.inverter} optimises for minutes, too long for every "
                "frame of a film: use psp or hyperstyle"
            )
        if self.amounts:
            pipe.check_directions(tuple(self.amounts), unit=self.unit, layers=self.layers)
        elif NORMALISERS[self.normaliser].inverts and INVERTERS[pipe.settings.inverter].changes:
            raise UserError(
                f"normaliser {self.normaliser} gives every frame kernels of its own with "
                f"{pipe.settings.inverter}, which would flicker: use subspace, or the inverter psp"
            )

    def fingerprint(self) -> dict[str, Any]:
        """Return what a result depends on, JSON-able; photographs and films by their hashes."""
        return {
            "amounts": dict(self.amounts),
            "target": None if self.target is None else _hash(self.target),
            "driver": None if self.driver is None else sha256(self.driver),
            "layers": [self.layers.start, self.layers.stop],
            **{
                name: getattr(self, name)
                for name in (
                    *("face", "driver_face", "target_face", "alpha", "normaliser"),
                    *("unit", "smoothing", "paste_form"),
                )
            },
        }


def usable_end(pipe: Pipeline, name: str, unit: Unit = "norm") -> float:
    """Return the highest k at which a direction was measured to be usable, in a unit.

    Raises:
        UserError: there is no direction of that name.
    """
    known, n_latent = pipe.directions, pipe.inverter.generator.config.n_latent
    length = float(known.unit_lengths(n_latent, unit)[known.index(name)])
    return known.usable_range(name)[1] / length


def _hash(photo: Photo) -> str:
    """Return a SHA-256 of a photograph."""
    if isinstance(photo, str | os.PathLike):
        return sha256(photo) if os.path.isfile(photo) else str(photo)
    return hashlib.sha256(np.ascontiguousarray(photo).tobytes()).hexdigest()


class Changer:
    """Moves the codes of a film's faces as a `VideoEdit` says."""

    def __init__(
        self, pipe: Pipeline, edit: VideoEdit, target: Faces | None, driver: "Driver | None"
    ) -> None:
        """Hold what is needed; nothing is computed."""
        self.pipe, self.edit, self.target, self.driver = pipe, edit, target, driver

    def __call__(self, codes: Inversion, seconds: np.ndarray) -> np.ndarray:
        """Return the codes of the edited faces.

        Args:
            codes: [n,L,D], smoothed.
            seconds: [n] times from the film's first frame on.
        """
        faces = Faces(self.pipe, codes)
        if self.edit.amounts:
            moved = self.pipe.edit(
                faces, self.edit.amounts, unit=self.edit.unit, layers=self.edit.layers
            )
            return moved.w_plus
        target = self.target
        if self.driver is not None:
            target = Faces(self.pipe, self.driver(seconds))
        if target is None:
            raise ValueError("a transfer wants a target or a driver")
        alpha, normaliser = self.edit.alpha, self.edit.normaliser
        return self.pipe.transfer(faces, target, alpha=alpha, normaliser=normaliser).w_plus


class Driver:
    """The codes of another film's face at any time."""

    def __init__(self, pipe: Pipeline, film: Followed, store: ChunkStore, window: int) -> None:
        """Hold a film whose face has been followed and inverted.

        Args:
            pipe: what inverted it.
            film: with one track.
            store: of its codes.
            window: frames of the codes' filter.
        """
        self.pipe, self.film, self.store, self.window = pipe, film, store, window

    def __call__(self, seconds: np.ndarray) -> Inversion:
        """Return the codes at rising times [n], by straight lines between the frames.

        Where the driver's face is not there, the nearest frame with the face counts.
        """
        (track,) = self.film.tracks
        place = np.interp(seconds, self.film.seconds, np.arange(self.film.frames))
        place = place.clip(track.start, track.stop - 1)
        first, last = int(place.min()), min(int(place.max()) + 1, track.stop - 1)
        frames = np.arange(first, last + 1)
        codes = read_codes(self.film, self.store, 0, frames, self.window)
        before = (place - first).astype(int)
        after = np.minimum(before + 1, len(codes) - 1)
        share = (place - first - before).astype(np.float32)[:, None, None]
        mixed = codes[before] * (1 - share) + codes[after] * share
        return Inversion(jnp.asarray(mixed), made_with=self.pipe.inverter.made_with)


def strength(track: Track, frames: np.ndarray, rate: float) -> np.ndarray:
    """Return the share [n] of the edit in some frames of a track.

    It sets in, and ends, slowly where the face appears or disappears in the middle of a scene; a
    film without smoothing shows every frame by itself.
    """
    length = max(FADE_SECONDS * rate, 1.0)
    share = np.ones(len(frames))
    if track.fades_in:
        share = np.minimum(share, (frames - track.start + 1) / length)
    if track.fades_out:
        share = np.minimum(share, (track.stop - frames) / length)
    return (share * share * (3 - 2 * share)).astype(np.float32)
