"""Options of an evaluation, and what can be checked of them without networks; needs no jax."""

import dataclasses
from pathlib import Path
from typing import Literal

from emojax.evaluation import ground_truth, inputs
from emojax.runtime.choices import DEFAULT_BUNDLE, Crop, InverterName, K, Normaliser
from emojax.runtime.errors import UserError
from emojax.runtime.flags import (
    InversionSteps,
    at_least,
    check_directions_files,
    check_inversion_steps,
)
from emojax.store import bundle as bundles
from emojax.store.parts import EMOTION, GENERATOR, INVERTER_PARTS

TARGETS = 16
"""People who show each emotion, where there is ground truth."""
COMPARED: tuple[Normaliser, ...] = ("reinvert", "none", "subspace", "means")
"""Normalisers of a table unless others are chosen, the paper's first."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Flags of `emojax evaluate`."""

    bundle: str = DEFAULT_BUNDLE
    """Name or folder of a bundle with a generator, inverters, directions and a classifier."""
    sources: Path | None = None
    """Folder of aligned faces."""
    tfds: str | None = None
    """A prepared data set of aligned faces instead, such as celeb_a_hq/256."""
    split: str = "train"
    """Split of the data set."""
    data_dir: Path | None = None
    """Folder of prepared data sets; default: TFDS's own."""
    ground_truth: str = ground_truth.SOURCES
    """Without pictures: which of the bundle's faces with ground truth, by a name in world.json."""
    seed: int = 0
    """Of the people with ground truth."""
    samples: int = 512
    """Number of sources, the first ones; the paper has 2000."""
    targets: Path | None = None
    """Folder of faces named after the emotion they show (anger.png, ..., or anger-1.png,
    anger-2.png, ...). Default: those of the ground truth, or for each emotion the sources with its
    highest probability."""
    protocol: Literal["many", "paper"] = "many"
    """many: several people show each emotion, and every source takes one of them in turn, so that
    the standard error over targets is known. paper: one target face an emotion."""
    targets_per_emotion: int | None = None
    """People who show each emotion; default: 16 with ground truth, else 1."""
    emotions: tuple[str, ...] = ()
    """Only these targets."""
    inverters: tuple[InverterName, ...] = ("psp", "hyperstyle")
    """Inverters to evaluate."""
    normalisers: tuple[Normaliser, ...] = ()
    """Normalisers to evaluate, see emojax transfer; default: reinvert, none, subspace, and means
    where the directions have mean codes."""
    k: float = K
    """The step to the neutral face, for reinvert and none."""
    passes: int = 5
    """Passes of HyperStyle."""
    steps: InversionSteps = None
    """Steps of an optimisation, see emojax invert."""
    directions: Path | None = None
    """A directions file (.npz) in place of the bundle's."""
    compare_directions: tuple[Path, ...] = ()
    """Directions files (.npz) in place of the bundle's, to be compared: rows of the table then bear
    their names, as subspace-svr of svr.npz."""
    crop: Crop = "face"
    """What the classifier sees: the face of an aligned picture, or the full picture."""
    batch: int = 8
    """Pictures at a time."""
    block: int = 32
    """Sources whose results are kept in one file; an interrupted run loses at most one file."""
    bfloat16: bool = False
    """Compute convolutions in bfloat16: faster on GPUs and TPUs, less exact."""
    out: str = "evaluation"
    """Folder of the results, or an address such as s3://BUCKET/FOLDER or gs://BUCKET/FOLDER."""

    def check(self) -> None:
        """Refuse what no network is needed to see.

        Raises:
            UserError: a number is out of range, flags exclude each other, a file, the bundle or one
                of its parts is missing, or an emotion is unknown.
        """
        self._check_numbers()
        for name in ("inverters", "normalisers"):
            chosen = getattr(self, name)
            if (name == "inverters" and not chosen) or len(set(chosen)) < len(chosen):
                raise UserError(f"--{name} is {' '.join(chosen)!r}, wanted one or more, each once")
        if self.sources and self.tfds:
            raise UserError("both --sources and --tfds are given: wanted one of them")
        if self.directions and self.compare_directions:
            raise UserError(
                "both --directions and --compare-directions are given: wanted one of them"
            )
        check_directions_files(self.directions, self.compare_directions)
        if self.sources:
            inputs.source_files(self.sources)
        self._check_bundle()

    @property
    def people(self) -> int:
        """How many people show each emotion."""
        pictures = self.sources or self.tfds or self.targets
        default = 1 if pictures or self.protocol == "paper" else TARGETS
        return min(self.targets_per_emotion or default, self.samples)

    def _check_numbers(self) -> None:
        least = {"samples": 2, "passes": 1, "batch": 1, "block": 1, "seed": 0}
        for name, bound in least.items():
            if not bound <= getattr(self, name) < 2**31:
                raise UserError(
                    f"--{name} is {getattr(self, name)}, wanted {bound} or more, and less than 2³¹"
                )
        check_inversion_steps(self.steps)
        if self.targets_per_emotion is not None:
            at_least("--targets-per-emotion", self.targets_per_emotion, 1)
            if self.protocol == "paper" and self.targets_per_emotion > 1:
                raise UserError(
                    f"--protocol paper has one target an emotion and --targets-per-emotion is "
                    f"{self.targets_per_emotion}: leave one of them out"
                )

    def _check_bundle(self) -> None:
        """Check the parts of the bundle, the emotions, and the targets' names."""
        bundle = bundles.find(self.bundle)
        inverters = [part for name in self.inverters for part in INVERTER_PARTS[name]]
        bundle.check(GENERATOR, *inverters, EMOTION)
        if not (self.sources or self.tfds):
            ground_truth.look_up(bundle, self.ground_truth)
        classes = [name.lower() for name in bundle.classes(EMOTION)]
        for name in self.emotions:
            if name.lower() not in classes:
                raise UserError(
                    f"no emotion {name!r}: the bundle's classifier knows {', '.join(classes)}"
                )
        if self.targets:
            wanted = [name.lower() for name in self.emotions]
            inputs.target_files(self.targets, classes, wanted, self.people)
