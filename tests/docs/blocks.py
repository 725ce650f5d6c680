"""Code blocks of Markdown files, and the commands in them."""

import importlib
import inspect
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import tyro

from emojax.__main__ import CONVERTERS, OF_CONVERT, WEIGHTS

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"(?<!`)`((?:emojax|python -m) [^`]+)`(?!`)")
LINK = re.compile(r"(?:\]\(|src=\")([^)#\"]+)")
PLACES = re.compile(r"NAME|FOLDER|COMMAND")
"""Placeholders in a command that stand for no fixed text."""


def python(page: Path) -> str:
    """Return the Python blocks of a page, one after the other."""
    return "\n".join(code for kind, code in BLOCK.findall(page.read_text()) if kind == "python")


def commands(page: Path) -> Iterator[list[str]]:
    """Yield every command of a page as its words: the lines of blocks, and those in the text.

    A command that the text only names, without arguments, is followed by --help.
    """
    text = page.read_text()
    shell = [code for kind, code in BLOCK.findall(text) if kind == "sh"]
    lines = [part for code in shell for line in code.split("\n") for part in line.split("&&")]
    spans = [span for span in SPAN.findall(BLOCK.sub("", text)) if not PLACES.search(span)]
    for line in lines:
        if words := shlex.split(line, comments=True):
            yield words
    for span in spans:
        words = span.split()
        found = module_of(words)
        yield [*words, "--help"] if found and not found[1] else words


def module_of(words: list[str]) -> tuple[str, list[str]] | None:
    """Return the module that a command line of ours runs, and its arguments; None for others'."""
    match words:
        case ["emojax"] | ["emojax", "convert"]:
            return None
        case ["emojax", "convert", name, *rest] if name in CONVERTERS:
            return f"convert.{name}", rest
        case ["emojax", "convert", *rest]:
            return "convert.file_set", rest
        case ["emojax", *rest] if tuple(rest[:2]) == WEIGHTS:
            return "convert.export", rest[2:]
        case ["emojax", name, *rest] if name in OF_CONVERT:
            return f"convert.{name}", rest
        case ["emojax", name, *rest]:
            return f"emojax.{name}", rest
        case ["python", "-m", name, *rest] if name.split(".")[0] in ("emojax", "convert"):
            return name, rest
    return None


def parse(module: str, arguments: list[str]) -> object:
    """Parse arguments as a command does, and return its options; raises SystemExit when refused."""
    main = importlib.import_module(module).main
    (options,) = inspect.signature(main).parameters.values()
    return tyro.cli(options.annotation, args=arguments)
