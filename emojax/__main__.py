"""The `emojax` command: `emojax COMMAND ...`, also as `python -m emojax COMMAND ...`."""

import importlib
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence

from emojax.runtime.cli import call, leave, run_command
from emojax.runtime.errors import UserError

COMMANDS = {
    "transfer": "give one face the expression of another",
    "edit": "change the emotion of a face",
    "stylize": "draw a face in the style of an artistic portrait",
    "video": "change the emotion of a face in a video",
    "web": "open a page in the browser: photographs, sliders, faces",
    "invert": "turn photographs into codes, and back into pictures",
    "sample": "draw generated faces from seeds",
    "score": "score the emotions of generated faces",
    "directions": "fit emotion directions to scored faces",
    "evaluate": "measure transfers to many faces: Table I",
    "figures": "draw the paper's figures, and a page that shows them",
    "train": "train an encoder, HyperStyle or the classifier on your own photographs",
    "fid": "Fréchet and kernel distance between two sets of pictures",
    "export": "write a stage as a program, or a part's weights, for other tools",
    "fetch": "get the published networks by name, as one bundle",
    "doctor": "what is installed, which bundles exist, what they lack",
    "convert": "make a bundle of published PyTorch files",
}

OF_CONVERT = ("fetch",)
"""Commands whose module lies beside the converters, which stand on top of emojax."""

WEIGHTS = ("export", "weights")
"""The beginning of a command whose module lies there too: the rest of `emojax export` needs jax."""

CONVERTERS = {
    "stylegan": "a StyleGAN2 generator (.pt, .pkl)",
    "stylegan1": "a StyleGAN generator (the first)",
    "pggan": "a ProgressiveGAN generator",
    "dcgan": "a DCGAN generator",
    "psp": "a pSp or e4e encoder",
    "hyperstyle": "HyperStyle with its W encoder",
    "hfgi": "HFGI: an e4e encoder and what its codes leave out",
    "dualstylegan": "DualStyleGAN: generator, encoder, style codes, sampler",
    "emotion": "an HSEmotion classifier",
    "inception": "the Inception network of FID",
    "arcface": "ArcFace's IR-SE-50: identity similarity",
    "lpips": "AlexNet, VGG16 or the weights of LPIPS: perceptual distance",
    "directions": "published directions",
}


def main() -> None:
    """Run the command that the first argument names."""
    leave(run_command(lambda: dispatch(sys.argv[1:])))


def dispatch(arguments: Sequence[str]) -> None:
    """Run a command line without the program's name.

    Raises:
        UserError: there is no such command.
    """
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return
    if arguments[0] == "--version":
        from emojax import __version__

        print(f"emojax {__version__}")
        return
    name, *rest = arguments
    if name == "convert":
        _convert(rest)
        return
    if name not in COMMANDS:
        raise UserError(f"no command {name!r}: wanted one of {', '.join(COMMANDS)}")
    package, prog = "emojax", f"emojax {name}"
    if (name, *rest[:1]) == WEIGHTS:
        package, rest, prog = "convert", rest[1:], " ".join(["emojax", *WEIGHTS])
    elif name in OF_CONVERT:
        package = "convert"
    if package == "convert":
        _ignore_namesakes(package)
    call(_main_of(f"{package}.{name}"), rest, prog=prog)


def _convert(arguments: Sequence[str]) -> None:
    """Run one converter, or the one that recognises files of every kind."""
    if not arguments:
        usage = "usage: emojax convert FILE ... --name NAME\n       emojax convert KIND FILE ..."
        print(_list(usage, CONVERTERS, "emojax convert --help, emojax convert KIND --help"))
        return
    kind, *rest = arguments
    _ignore_namesakes("convert")
    if kind in CONVERTERS:
        call(_main_of(f"convert.{kind}"), rest, prog=f"emojax convert {kind}")
        return
    if not kind.startswith("-") and not os.path.exists(kind):
        raise UserError(
            f"no file {kind!r} and no converter of that name: wanted published files, or one of "
            f"{', '.join(CONVERTERS)}"
        )
    call(_main_of("convert.file_set"), arguments, prog="emojax convert")


def _ignore_namesakes(package: str) -> None:
    """Keep a file of the user's, such as ./convert.py, from being taken for one of our packages.

    `python -m emojax` puts the current folder in front of all others; no command needs it there.
    """
    spec = importlib.util.find_spec(package)
    if spec is not None and spec.submodule_search_locations:
        return
    here = os.path.realpath(os.curdir)
    sys.path[:] = [each for each in sys.path if each and os.path.realpath(each) != here]
    sys.modules.pop(package, None)


def _main_of(module: str) -> Callable[..., None]:
    return importlib.import_module(module).main


def _overview() -> str:
    about = "Facial emotion editing and transfer with pretrained networks.\n\n"
    example = "Try it on the embedded demo: emojax transfer\n"
    listed = _list("usage: emojax COMMAND ...", COMMANDS, "emojax COMMAND --help")
    return f"{about}{listed}\n{example}"


def _list(usage: str, rows: dict[str, str], more: str) -> str:
    width = max(map(len, rows)) + 2
    lines = [f"  {name:<{width}}{line}" for name, line in rows.items()]
    return "\n".join([usage, "", *lines, "", f"More about each: {more}", ""])


if __name__ == "__main__":
    main()
