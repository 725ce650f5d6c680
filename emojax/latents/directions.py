"""Latent directions: linear regressors of attributes on codes, and their `.npz` file.

A bundle keeps them as `directions.npz`. `emojax.latents.fit_directions` fits them to scored
samples, `emojax.latents.usable_range` measures how far each can be followed, `convert.directions`
converts published ones.
"""

import dataclasses
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from emojax.latents.emotion_means import EmotionMeans
from emojax.runtime.choices import Unit
from emojax.runtime.errors import UserError, shortened
from emojax.store import array_file
from emojax.store.bundle import Bundle
from emojax.store.parts import GENERATOR
from emojax.store.reader.contents import Kind, reading
from emojax.store.reader.json_text import parse_object
from emojax.store.reader.npz import read_npz
from emojax.store.reader.tables import Table

FILE = "directions.npz"
"""Name of the file in a bundle's folder."""

LONGEST_NAME = 60
"""Characters of a direction's name."""

_KIND = Kind("a sound directions file", "give one that 'emojax directions' wrote (.npz)")

ARRAYS = ("coefficients", "intercepts", "mean", "sigma")

UNMEASURED = (-20.0, 20.0)
"""Usable range of a direction whose range was not measured: the paper's k either way."""


@dataclasses.dataclass(frozen=True)
class Directions:
    """E linear regressors on codes w, and the unit vectors along their coefficients.

    The score of attribute e at a code w is `coefficients[e] · w + intercepts[e]`.

    Attributes:
        names: E names in lower case: "anger", ..., "surprise", of a classifier that tells them
            "valence" and "arousal" (or other attributes: "age", "smile", ...).
        coefficients: [E, D] raw regression coefficients in W, or [E, L, D] where every layer of W+
            has its own.
        intercepts: [E] values of the regression at w = 0.
        mean: [D] mean code of the samples that `sigma` was measured on.
        sigma: [E] standard deviation over samples w of ⟨w, unit⟩, unit as in `units` ([E, L, D]:
            of the code tiled over the layers).
        metadata: JSON-able: method, samples, r2, spearman, generator_sha256, ...
        means: steps between the mean faces of the classifier's scores; None where no scores were
            fitted, or before the release that keeps them.
        usable: [E, 2] lowest and highest k of each direction, in units of "norm", at which faces
            are still faces of the same person and the attribute still changes, see
            `emojax.latents.usable_range`; None where it was not measured.
    """

    names: tuple[str, ...]
    coefficients: np.ndarray
    intercepts: np.ndarray
    mean: np.ndarray
    sigma: np.ndarray
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)
    usable: np.ndarray | None = None
    means: EmotionMeans | None = None

    def __post_init__(self) -> None:
        """Check shapes and values.

        Raises:
            ValueError: an array has another shape or holds NaN or infinity, a name appears twice or
                is not in lower case, a direction is the zero vector, or a range excludes 0.
        """
        count, shape = len(self.names), self.coefficients.shape
        wanted = {
            "intercepts": (count,),
            "mean": shape[-1:],
            "sigma": (count,),
            "coefficients": (count, *shape[1:]) if len(shape) in (2, 3) else (count, "D"),
        } | ({} if self.usable is None else {"usable": (count, 2)})
        for name, size in wanted.items():
            array = getattr(self, name)
            if array.shape != size:
                raise ValueError(f"{name} is {list(array.shape)}, wanted {list(size)}")
            if not np.isfinite(array).all():
                raise ValueError(f"{name} holds NaN or infinity")
        if self.means is not None and self.means.steps.shape[1] != shape[-1]:
            raise ValueError(
                f"mean codes are of {self.means.steps.shape[1]} numbers, wanted {shape[-1]}"
            )
        if self.usable is not None and ((self.usable * [-1, 1]) < 0).any():
            raise ValueError("usable holds a range without 0, wanted [lowest k, highest k]")
        if len(set(self.names)) < count or not all(map(_is_name, self.names)):
            raise ValueError(
                f"names are {shortened(self.names, 80)}, wanted different ones in lower case, of "
                f"1 to {LONGEST_NAME} printable characters"
            )
        flat = np.abs(self.coefficients.reshape(count, -1)).max(1, initial=0)
        if zero := [name for name, most in zip(self.names, flat, strict=True) if most == 0]:
            raise ValueError(f"no direction for {', '.join(zero)}: all coefficients are 0")

    @property
    def units(self) -> np.ndarray:
        """Coefficients scaled to unit norm: [E, D], or [E, L, D] as one L·D vector each."""
        flat = self.coefficients.reshape(len(self.names), -1).astype(np.float64)
        flat = flat / np.linalg.norm(flat, axis=1, keepdims=True)
        return flat.reshape(self.coefficients.shape)

    def index(self, name: str) -> int:
        """Return the number of a direction by its name, in any case.

        Raises:
            UserError: there is none of that name; the message lists those there are.
        """
        if name.lower() not in self.names:
            raise UserError(f"no direction {name!r}: these are known: {', '.join(self.names)}")
        return self.names.index(name.lower())

    def tiled(self, n_latent: int) -> np.ndarray:
        """Return the directions in W+, [E, L, D] float64, each of unit norm as one L·D vector.

        A direction of W is repeated in all layers, with norm 1/√L in each; the paper's k is a
        multiple of this vector.

        Args:
            n_latent: L, the generator's number of layers.

        Raises:
            UserError: the directions differ between layers and are for another number of them.
        """
        units = self.units
        if units.ndim == 2:
            return np.repeat(units[:, None] / np.sqrt(n_latent), n_latent, axis=1)
        if units.shape[1] != n_latent:
            raise UserError(
                f"the directions are made for {units.shape[1]} layers, this generator has "
                f"{n_latent}: use directions of its own"
            )
        return units

    def unit_lengths(self, n_latent: int, unit: Unit = "norm") -> np.ndarray:
        """Return how long a move by k = 1 is along each direction, [E], as L·D vectors.

        Args:
            n_latent: L, the generator's number of layers.
            unit: what k counts. "norm": 1, the paper's. "layer": √L, so that the move has unit norm
                in every layer (in the root mean square where layers differ). "sigma": one standard
                deviation of the samples' coordinate along the direction.

        Raises:
            UserError: unknown unit.
        """
        if unit == "sigma":
            # σ is of ⟨w, unit⟩ in W; the same step in every layer is √L times as long
            return self.sigma * (np.sqrt(n_latent) if self.coefficients.ndim == 2 else 1.0)
        if unit not in ("norm", "layer"):
            raise UserError(f"unit is {unit!r}, wanted 'norm', 'layer' or 'sigma'")
        return np.full(len(self.names), np.sqrt(n_latent) if unit == "layer" else 1.0)

    def usable_range(self, name: str) -> tuple[float, float]:
        """Return the lowest and the highest k, in units of "norm", that leave a direction usable.

        Args:
            name: of the direction.

        Returns:
            The measured range, or `UNMEASURED` where the file has none or measured it as empty.

        Raises:
            UserError: there is no direction of that name.
        """
        index = self.index(name)
        if self.usable is None or not np.ptp(self.usable[index]):
            return UNMEASURED
        return float(self.usable[index, 0]), float(self.usable[index, 1])

    def predict(self, codes: np.ndarray) -> np.ndarray:
        """Return the scores [N, E] of codes [N, D], or [N, L, D] in W+.

        Regressors of W take the mean over the layers of a W+ code; regressors of W+ take a code of
        W as the same in all layers.
        """
        per_layer = self.coefficients.ndim == 3
        if codes.ndim == 3 and per_layer:
            return np.einsum("nld,eld->ne", codes, self.coefficients) + self.intercepts
        w = codes.mean(1) if codes.ndim == 3 else codes
        coefficients = self.coefficients.sum(1) if per_layer else self.coefficients
        return w @ coefficients.T + self.intercepts

    def similarity(self) -> np.ndarray:
        """Return the cosines [E, E] between the directions (Figure 5)."""
        flat = self.units.reshape(len(self.names), -1)
        return flat @ flat.T

    def save(self, file: str | os.PathLike) -> None:
        """Write one .npz, aside and then renamed; `units` is in it too, for other readers.

        Raises:
            UserError: the file cannot be written.
        """
        arrays = {
            "names": np.array(self.names),
            "units": self.units,
            "metadata": np.array(json.dumps(self.metadata)),
            **{name: getattr(self, name) for name in ARRAYS},
        }
        if self.usable is not None:
            arrays["usable"] = self.usable
        if self.means is not None:
            arrays["mean_classes"] = np.array(self.means.classes)
            arrays["mean_steps"], arrays["mean_shares"] = self.means.steps, self.means.shares
            if self.means.regressed:
                arrays["mean_regressed"] = np.array(self.means.regressed)
                arrays["mean_slopes"] = self.means.slopes
        array_file.write(file, arrays)

    @classmethod
    def load(cls, file: str | os.PathLike) -> Self:
        """Read a file that `save` wrote, now or in a release without `usable` or `means`.

        Raises:
            UserError: the file is missing, damaged or something else.
        """
        with reading(file, _KIND) as data:
            table = Table(read_npz(data))
            coefficients = table.numbers("coefficients", "E", *_axes(table))
            return cls(
                table.texts("names", "E"),
                coefficients,
                table.numbers("intercepts", "E"),
                table.numbers("mean", "D"),
                table.numbers("sigma", "E"),
                metadata=parse_object(table.text("metadata")),
                usable=table.numbers("usable", "E", 2) if "usable" in table else None,
                means=_means(table) if "mean_steps" in table else None,
            )


def _is_name(name: str) -> bool:
    return name == name.lower() and name.isprintable() and 0 < len(name) <= LONGEST_NAME


def _means(table: Table) -> EmotionMeans:
    found = EmotionMeans(
        table.texts("mean_classes", "K"),
        table.numbers("mean_steps", "K", "D"),
        table.numbers("mean_shares", "K"),
    )
    if "mean_regressed" not in table:
        return found
    names, slopes = table.texts("mean_regressed", "V"), table.numbers("mean_slopes", "V", "D")
    return dataclasses.replace(found, regressed=names, slopes=slopes)


def _axes(table: Table) -> tuple[str, ...]:
    return ("L", "D") if table.rank("coefficients") == 3 else ("D",)


def file_of(bundle: Bundle) -> Path:
    """Return the directions file of a bundle.

    Raises:
        UserError: the bundle has none; says which commands make it.
    """
    file = bundle.file(FILE)
    if file is None:
        raise UserError(
            f"bundle {bundle} has no directions: make them with 'emojax score --out scores' and "
            f"'emojax directions scores', both with --bundle {bundle}"
        )
    return file


def load(bundle: Bundle, generator_sha256: str | None = None) -> Directions:
    """Return the directions of a bundle.

    Args:
        bundle: see `emojax.store.bundle.find`.
        generator_sha256: `weights_sha256` of the generator they must be fitted to; None: any.

    Raises:
        UserError: the bundle has none (the message names the commands that make them), the file is
            damaged, or it was fitted to another generator.
    """
    file = file_of(bundle)
    found = Directions.load(file)
    made_for = found.metadata.get("generator_sha256")
    if generator_sha256 is not None and made_for != generator_sha256:
        raise UserError(
            f"{file} was made for generator {str(made_for)[:12]}, the bundle's is "
            f"{generator_sha256[:12]}: score and fit again"
        )
    return found


def of_file(bundle: Bundle, file: Path) -> Directions:
    """Return directions of a file, for codes as wide as those of a bundle's generator.

    Raises:
        UserError: the file is missing or damaged, or it is for codes of another width.
    """
    found, width = Directions.load(file), bundle.config(GENERATOR).style_dim
    if found.mean.shape[0] != width:
        raise UserError(
            f"{file} is for codes of {found.mean.shape[0]} numbers, those of bundle {bundle} have "
            f"{width}: give directions of this bundle"
        )
    return found


def chosen(bundle: Bundle, file: Path | None, generator_sha256: str | None = None) -> Directions:
    """Return the directions of a file where one is given, else those of a bundle.

    Args:
        bundle: see `emojax.store.bundle.find`.
        file: see `of_file`.
        generator_sha256: see `load`; a file may be of another generator.

    Raises:
        UserError: see `of_file` and `load`.
    """
    return of_file(bundle, file) if file else load(bundle, generator_sha256)


def compared(bundle: Bundle, files: Sequence[Path]) -> dict[str, Directions]:
    """Return the directions of several files by the names of the files, see `of_file`."""
    return {file.stem: of_file(bundle, file) for file in files}
