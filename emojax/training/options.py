"""Flags of `emojax train`, and what can be checked of them without networks; needs no jax."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from emojax.faces import images
from emojax.faces.data_sets import TFDS, split_name
from emojax.runtime.choices import DEFAULT_BUNDLE, Crop
from emojax.runtime.errors import UserError
from emojax.runtime.flags import Hosts, PhotoFlags
from emojax.store import bundle as bundles
from emojax.store.parts import EMOTION, GENERATOR, HYPERSTYLE, PSP, STYLEGAN2, W_ENCODER, Part
from emojax.store.place import is_address

_MOST = 2**31


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training(PhotoFlags):
    """Flags of every kind of training."""

    photos: str
    """Folder of photographs, or a prepared data set as tfds:NAME:SPLIT. Square pictures of the
    network's or the generator's size count as aligned faces; of others the largest face is cut
    out."""
    out: str
    """Name or folder of the bundle that gets the result. A new one gets the other parts of --bundle
    too, so that it can be used like that one."""
    bundle: str = DEFAULT_BUNDLE
    """Name, folder or address (s3://..., gs://...) of the bundle whose networks are used."""
    replace: bool = False
    """Replace the part of this kind that --out has."""
    work: Path = Path("training")
    """Folder of aligned faces, checkpoints, logs and the page; a stopped run is gone on with."""
    steps: int = 2000
    """Number of updates."""
    batch: int = 8
    """Pictures of an update, on all devices together."""
    rate: float = 1e-4
    """Highest learning rate: it rises over the first 2 % of the steps, then falls to 0."""
    optimiser: Literal["adam", "muon"] = "adam"
    """muon: for matrices and kernels; Adam for the rest."""
    average: float | None = None
    """Decay of the moving average of the weights, which is the result; 0: the last weights are.
    Default: 1 - 10 / steps, at most 0.999."""
    held_out: float = 0.05
    """Share of the photographs that is not trained on, and measured before and after."""
    seed: int = 0
    """Of everything random."""
    save_every: float = 120.0
    """Seconds between two checkpoints, at least; they come every 50 steps."""
    bfloat16: bool = False
    """Compute convolutions in bfloat16: faster on GPUs and TPUs, less exact."""
    data_dir: Path | None = None
    """Folder of prepared data sets; default: TFDS's own."""
    distributed: bool = False
    """Train with the other processes of a cluster; --work is a folder that all see."""
    hosts: Hosts = dataclasses.field(default_factory=Hosts)
    """Where jax does not know the cluster."""

    kind = ""
    """Name of the kind, and of its folder in --work."""

    @property
    def part(self) -> Part[Any, Any]:
        """The part that is trained."""
        raise NotImplementedError

    @property
    def needed(self) -> tuple[Part[Any, Any], ...]:
        """The parts that the bundle must have."""
        raise NotImplementedError

    @property
    def made(self) -> int:
        """Generated faces of a batch."""
        return 0

    @property
    def decay(self) -> float:
        """Decay of the moving average."""
        return max(0.0, min(0.999, 1 - 10 / self.steps)) if self.average is None else self.average

    def check(self) -> None:
        """Refuse what no network is needed to see.

        Raises:
            UserError: a number is out of range, flags exclude each other, there are no photographs,
                the bundle or one of its parts is missing, or the result would replace a part.
        """
        super().check()
        self._check_numbers()
        if not self.distributed and self.hosts != Hosts():
            raise UserError("--hosts is given without --distributed: give both")
        if self.photos.startswith(TFDS):
            split_name(self.photos)
        else:
            self.check_folder(Path(self.photos))
        place = bundles.find(self.bundle)
        for part in self.needed:
            place.network_of(part)
        self._check_out()

    def check_folder(self, folder: Path) -> None:
        """Refuse a folder without photographs.

        Raises:
            UserError: there are none, or the folder is missing.
        """
        if not folder.is_dir():
            raise UserError(
                f"no folder {folder}: --photos wants a folder of photographs or tfds:NAME:SPLIT"
            )
        images.find([folder])

    def _check_numbers(self) -> None:
        for name, least in {"steps": 1, "batch": 1, "seed": 0}.items():
            if not least <= getattr(self, name) < _MOST:
                raise UserError(
                    f"--{name} is {getattr(self, name)}, wanted {least} or more, and less than 2³¹"
                )
        if not 0 < self.rate <= 1:
            raise UserError(f"--rate is {self.rate:g}, wanted more than 0 and at most 1")
        if self.average is not None and not 0 <= self.average < 1:
            raise UserError(f"--average is {self.average:g}, wanted 0 or more and less than 1")
        if not self.save_every >= 0:
            raise UserError(f"--save-every is {self.save_every:g}, wanted 0 or more")
        if not 0 < self.held_out < 1:
            raise UserError(f"--held-out is {self.held_out:g}, wanted more than 0 and less than 1")

    def _check_out(self) -> None:
        """Refuse a bundle that the result cannot be written into."""
        if bundles.is_embedded(self.out):
            raise UserError(
                f"--out is {bundles.DEFAULT}, the embedded bundle, whose networks belong together: "
                "choose another name"
            )
        if is_address(self.out):
            raise UserError(f"--out is {self.out}, an address: wanted a name or a folder")
        there, part = bundles.look_up(bundles.destination(self.out).absolute()), self.part
        if there.has(part) and not self.replace:
            raise UserError(
                f"bundle {self.out} has a {part.name} already: choose another --out, or give "
                "--replace"
            )
        if STYLEGAN2 not in self.needed or not there.has(GENERATOR):
            return
        ours = bundles.find(self.bundle).sha256(GENERATOR)
        if there.sha256(GENERATOR) != ours:
            raise UserError(
                f"bundle {self.out} has another generator than {self.bundle}: choose another --out"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class InverterTraining(Training):
    """Flags of the kinds that train an inverter."""

    generated: float = 0.25
    """Share of generated faces in a batch, whose codes are known; 0: photographs only."""
    l2: float = 1.0
    """Weight of the squared error of pixels."""
    lpips: float | None = None
    """Weight of the perceptual distance. Default: 0.8 with LPIPS, 0.05 where the bundle has a
    feature network of its own in its place."""
    identity: float = 0.1
    """Weight of 1 - identity similarity, by ArcFace."""
    scratch: bool = False
    """Start from the beginning, not from the bundle's own network."""

    @property
    def made(self) -> int:
        """Generated faces of a batch."""
        return round(self.generated * self.batch)

    def _check_numbers(self) -> None:
        super()._check_numbers()
        if not 0 <= self.generated < 1:
            raise UserError(f"--generated is {self.generated:g}, wanted 0 or more, less than 1")
        if self.made >= self.batch:
            raise UserError(
                f"--generated {self.generated:g} of --batch {self.batch} leaves no photographs: "
                "give a larger batch or a smaller share"
            )
        for name in ("l2", "lpips", "identity", "average_code", "code"):
            value = getattr(self, name, 0.0)
            if value is not None and not 0 <= value < 1e6:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} is {value:g}, wanted 0 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Psp(InverterTraining):
    """Flags of `emojax train psp`."""

    code: float = 0.1
    """Weight of the distance from the known codes of generated faces, in variances of codes."""
    average_code: float = 0.0
    """Weight of the codes' distance from the average code: pSp's w-norm, 0.005 for tasks other than
    inversion."""

    kind = "psp"

    @property
    def part(self) -> Part[Any, Any]:
        """The part that is trained."""
        return PSP

    @property
    def needed(self) -> tuple[Part[Any, Any], ...]:
        """The parts that the bundle must have."""
        return (STYLEGAN2,) if self.scratch else (STYLEGAN2, PSP)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hyperstyle(InverterTraining):
    """Flags of `emojax train hyperstyle`."""

    kind = "hyperstyle"

    @property
    def part(self) -> Part[Any, Any]:
        """The part that is trained."""
        return HYPERSTYLE

    @property
    def needed(self) -> tuple[Part[Any, Any], ...]:
        """The parts that the bundle must have."""
        return (STYLEGAN2, W_ENCODER) if self.scratch else (STYLEGAN2, W_ENCODER, HYPERSTYLE)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Emotion(Training):
    """Flags of `emojax train emotion`."""

    batch: int = 32
    """Pictures of an update, on all devices together."""
    rate: float = 1e-3
    """Highest learning rate: it rises over the first 2 % of the steps, then falls to 0. For --whole
    about 1e-4."""
    whole: bool = False
    """Train all layers; otherwise the last one alone."""
    crop: Crop = "face"
    """What the classifier sees: the face of an aligned picture, or the full picture."""

    kind = "emotion"

    @property
    def part(self) -> Part[Any, Any]:
        """The part that is trained."""
        return EMOTION

    @property
    def needed(self) -> tuple[Part[Any, Any], ...]:
        """The parts that the bundle must have."""
        return (EMOTION,)

    def check_folder(self, folder: Path) -> None:
        """Refuse a folder that holds no folder of pictures for each of two emotions or more.

        Raises:
            UserError: as said, or a folder is named after no emotion.
        """
        if not folder.is_dir():
            raise UserError(
                f"no folder {folder}: --photos wants a folder with a folder of photographs for "
                "each emotion, or tfds:NAME:SPLIT"
            )
        labelled_files(folder, bundles.find(self.bundle).classes(EMOTION))


def labelled_files(folder: Path, classes: tuple[str, ...]) -> list[tuple[Path, int]]:
    """Return pictures with the numbers of their classes, from a folder for each class.

    Args:
        folder: holds happiness/, anger/, ...
        classes: the classifier's.

    Raises:
        UserError: a folder is named after no class or holds no picture, or they are fewer than two.
    """
    known = [name.lower() for name in classes]
    inside = sorted(each for each in folder.iterdir() if each.is_dir() and each.name[0] != ".")
    for each in inside:
        if each.name.lower() not in known:
            raise UserError(
                f"{folder} holds the folder {each.name}: wanted folders named after emotions, of "
                f"{', '.join(known)}"
            )
    if len(inside) < 2:
        raise UserError(
            f"{folder} holds {len(inside)} folders of photographs: wanted one for each emotion, "
            f"such as {known[0]}/ and {known[-1]}/"
        )
    return [
        (file, known.index(each.name.lower())) for each in inside for file in images.find([each])
    ]
