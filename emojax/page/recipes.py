"""What is on the screen, as a command line, as Python and as JSON."""

import dataclasses
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from emojax import Pipeline
from emojax.runtime.choices import DEFAULT_BUNDLE, Normaliser
from emojax.runtime.flags import PipelineFlags


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where a face comes from.

    Attributes:
        name: of the photograph's file; "" for a generated face.
        face: which face of the photograph: "only", or its number from the left, from 1.
        sample: "source" or "target" where it is the bundle's own photograph, else None.
        seed: of a generated face, else None.
        truncation: of a generated face.
        style: seed of the face whose codes some layers have, else None.
        style_layers: the layers that have them.
        sha256: of the photograph's file.
    """

    name: str = ""
    face: str = "only"
    sample: str | None = None
    seed: int | None = None
    truncation: float = 0.7
    style: int | None = None
    style_layers: tuple[int, int] = (0, 0)
    sha256: str | None = None

    @property
    def about(self) -> dict[str, Any]:
        """The origin for a JSON report, without what does not apply."""
        every = dataclasses.asdict(self)
        if self.seed is None:
            return {key: every[key] for key in ("name", "face", "sha256")}
        kept = ("seed", "truncation", *(("style", "style_layers") if self.style else ()))
        return {key: every[key] for key in kept}


@dataclasses.dataclass(frozen=True)
class Edit:
    """An edit: how far along which directions.

    Attributes:
        origin: of the face.
        k: {direction: k in units of "norm"}, without those that are 0.
        layers: first layer, and the one behind the last; None: all.
        pasted: whether the whole photograph is shown.
    """

    origin: Origin
    k: Mapping[str, float]
    layers: tuple[int, int] | None = None
    pasted: bool = False

    def command(self, flags: PipelineFlags) -> str:
        """Return the command line that writes the same picture."""
        if self.origin.seed is not None:
            return _drawn(self.origin, flags, is_edited=bool(self.k))
        if not self.k:
            return _line("emojax invert", _file(self.origin), *_face(self.origin), flags=flags)
        words = [_file(self.origin), "--emotion", ",".join(self.k)]
        # one word: a number that begins with a minus would be taken for a flag
        words.append(f"--k={','.join(map(number, self.k.values()))}")
        if self.layers:
            words += ["--layers", "{}:{}".format(*self.layers)]
        words += _face(self.origin) + ["--paste"] * self.pasted
        return _line("emojax edit", *words, flags=flags)

    def python(self, flags: PipelineFlags) -> str:
        """Return the Python lines that make the same picture."""
        lines = [*_opening(flags), *_python_face("me", self.origin)]
        if not self.k:
            return "\n".join([*lines, 'me.image.save("face.png")'])
        words = [f"{name}={number(k)}" for name, k in self.k.items()]
        if not all(name.isidentifier() for name in self.k):
            words = [repr({name: float(number(k)) for name, k in self.k.items()})]
        if self.layers:
            words.append("layers=slice({}, {})".format(*self.layers))
        made = f"pipe.edit(me, {', '.join(words)}){_saved(self.pasted, 'edited.png')}"
        return "\n".join([*lines, made])


@dataclasses.dataclass(frozen=True)
class Transfer:
    """A transfer of one face's expression to another.

    Attributes:
        source: whose face.
        target: whose expression.
        alpha: Equation 4's.
        normaliser: what the base is.
        pasted: whether the whole photograph is shown.
    """

    source: Origin
    target: Origin
    alpha: float
    normaliser: Normaliser
    pasted: bool = False

    def command(self, flags: PipelineFlags) -> str:
        """Return the command line that writes the same picture."""
        if self.source.seed is not None or self.target.seed is not None:
            return "# a generated face has no photograph: see the Python lines"
        words = []
        for name, origin in (("source", self.source), ("target", self.target)):
            if origin.sample != name:
                words += [f"--{name}", _file(origin)]
            words += _face(origin, f"--{name}-face")
        words += ["--alpha", number(self.alpha), "--normaliser", self.normaliser]
        words += ["--paste"] * self.pasted
        return _line("emojax transfer", *words, flags=flags)

    def python(self, flags: PipelineFlags) -> str:
        """Return the Python lines that make the same picture."""
        lines = [*_opening(flags), *_python_face("me", self.source)]
        lines += _python_face("friend", self.target)
        options = f'alpha={number(self.alpha)}, normaliser="{self.normaliser}"'
        made = f"pipe.transfer(me, friend, {options}){_saved(self.pasted, 'result.png')}"
        return "\n".join([*lines, made])


def report(made: Edit | Transfer, pipe: Pipeline, said: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as JSON-able numbers that reproduce it.

    Args:
        made: what was made.
        pipe: with which networks.
        said: what the classifier says of the pictures, by their names.
    """
    flags, about = pipe.settings, pipe.about()
    about["directions"].pop("file")  # a path of the server's
    if isinstance(made, Edit):
        what = {
            "face": made.origin.about,
            "k": dict(made.k),
            "unit": "norm",
            "layers": "{}:{}".format(*made.layers) if made.layers else None,
        }
    else:
        what = {
            "source": made.source.about,
            "target": made.target.about,
            "alpha": made.alpha,
            "normaliser": made.normaliser,
        }
    lines = {"command": made.command(flags), "python": made.python(flags)}
    return {**what, "predictions": dict(said), **lines, **about}


def film_command(film: str, change: Sequence[str], flags: PipelineFlags) -> str:
    """Return the command line that edits a film by the flags of a change."""
    return _line("emojax video", film, *change, "--preview", flags=flags)


def number(value: float) -> str:
    """Return a number as it is written on a command line."""
    return f"{round(value, 4) + 0.0:g}"


def _line(command: str, *words: str, flags: PipelineFlags) -> str:
    return " ".join([command, *map(shlex.quote, words), *_networks(flags)])


def _networks(flags: PipelineFlags) -> list[str]:
    """Return the flags that name the networks, where they are not the default ones."""
    default, words = PipelineFlags(), []
    for name in ("bundle", "inverter", "passes", "directions", "crop"):
        value = getattr(flags, name)
        if value != getattr(default, name):
            words += [f"--{name}", shlex.quote(str(value))]
    return words


def _face(origin: Origin, flag: str = "--face") -> list[str]:
    return [] if origin.face == "only" else [flag, origin.face]


def _file(origin: Origin) -> str:
    return origin.name or "photo.jpg"


def _drawn(origin: Origin, flags: PipelineFlags, *, is_edited: bool) -> str:
    """Return the command that draws a generated face; edits of one are for Python."""
    if origin.style is not None or is_edited:
        return "# edits of a generated face are made in Python: see the Python lines"
    bundle = [] if flags.bundle == DEFAULT_BUNDLE else ["--bundle", shlex.quote(flags.bundle)]
    words = ["--seeds", str(origin.seed), "--truncation", number(origin.truncation), *bundle]
    return " ".join(["emojax sample", *words, "--out", "faces/"])


def _saved(pasted: bool, name: str) -> str:
    """Return how a result is saved: the face, or the photograph with it."""
    return '.pasted.save("photograph.png")' if pasted else f'.image.save("{name}")'


def _opening(flags: PipelineFlags) -> list[str]:
    """Return the lines that open the bundle."""
    default, words = PipelineFlags(), [repr(flags.bundle)]
    names = {"inverter": "inverter", "passes": "passes", "directions": "directions_file"}
    for name, given in {**names, "crop": "crop", "bfloat16": "bfloat16"}.items():
        value = getattr(flags, name)
        if value != getattr(default, name):
            words.append(f"{given}={str(value) if name == 'directions' else value!r}")
    opened = f"pipe = emojax.load({', '.join(words)})".replace("'", '"')
    return ["import emojax", "", opened]


def _python_face(name: str, origin: Origin) -> list[str]:
    """Return the lines that bring one face."""
    if origin.seed is None:
        photo = (
            f'pipe.sample_photo("{origin.sample}")' if origin.sample else json.dumps(_file(origin))
        )
        face = "" if origin.face == "only" else f', face="{origin.face}"'
        return [f"{name} = pipe.invert({photo}{face})"]
    drawn = f"pipe.sample({{}}, truncation={number(origin.truncation)})"
    lines = [f"{name} = {drawn.format(origin.seed)}"]
    if origin.style is not None:
        first, last = origin.style_layers
        style = drawn.format(origin.style)
        lines.append(f"{name} = {name}.mixed({style}, slice({first}, {last}))")
    return lines
