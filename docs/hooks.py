"""What `mkdocs build` makes of the code: command reference, library reference, notebook, formulas.

Nothing is fetched: commands are asked for their own `--help`, modules are listed by their files,
the notebook's stored outputs are shown, and formulas become MathML, which browsers draw themselves.
"""

import ast
import base64
import json
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from latex2mathml import converter
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from emojax.__main__ import COMMANDS, CONVERTERS, WEIGHTS

ROOT = Path(__file__).parent.parent
DEMO = ("train", "report", "faces", "film", "dataset")
"""The commands of the embedded demo."""
TRAINED = ("psp", "hyperstyle", "emotion")
"""What `emojax train` trains."""
BLOCK = re.compile(r"^```math\n(.*?)\n```$", re.DOTALL | re.MULTILINE)
INLINE = re.compile(r"\$`(.+?)`\$")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are generated."""
    pages: dict[str, str | bytes] = {
        "commands.md": commands(),
        **library(),
        "changelog.md": '--8<-- "CHANGELOG.md"\n',
        "contributing.md": '--8<-- "CONTRIBUTING.md"\n',
        "security.md": '--8<-- "SECURITY.md"\n',
        **notebook(ROOT / "docs/quickstart.ipynb"),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas, written as GitHub takes them, into MathML."""
    del page, config, files
    markdown = BLOCK.sub(
        lambda found: f'<div class="math">{converter.convert(found[1], display="block")}</div>',
        markdown,
    )
    # a line that begins with <math> would be taken for a block of HTML, one with <span> is not
    return INLINE.sub(lambda found: f"<span>{converter.convert(found[1])}</span>", markdown)


def commands() -> str:
    """Return the command reference: every command's own help."""
    lines = [["emojax", name] for name in COMMANDS]
    lines += [["emojax", *WEIGHTS]]
    lines += [["emojax", "train", name] for name in TRAINED]
    lines += [["emojax", "convert", name] for name in CONVERTERS]
    lines += [[f"emojax.demo.{name}"] for name in DEMO]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        helps = pool.map(command_help, lines)
    head = (
        "# Commands\n\nEvery command prints this with `--help`. `emojax NAME` and "
        "`python -m emojax.NAME` are the same, and so are `emojax convert NAME` and "
        "`python -m convert.NAME`, `emojax convert` and `python -m convert.file_set`, "
        "`emojax fetch` and "
        "`python -m convert.fetch`.\n"
    )
    return "\n".join([head, *helps])


def command_help(line: list[str]) -> str:
    """Return one command's section; `line` is what follows `python -m`.

    Raises:
        RuntimeError: the command has no help to show.
    """
    environment = {**os.environ, "COLUMNS": "96", "NO_COLOR": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", *line, "--help"],
        capture_output=True,
        text=True,
        env=environment,
        cwd=ROOT,
    )
    about, box, flags = done.stdout.partition("╭─")
    if done.returncode or not box:
        raise RuntimeError(f"{' '.join(line)} --help failed:\n{done.stdout}{done.stderr}")
    usage, _, text = about.strip().partition("\n\n")
    title = " ".join(line if line[0] == "emojax" else ["python -m", *line])
    usage = usage.removeprefix("usage: ")
    text = re.sub(r"\n{3,}", "\n\n", text.strip())
    return f"## {title}\n\n{text}\n\n```text\n{usage}\n\n{box}{flags.rstrip()}\n```\n"


def library() -> dict[str, str]:
    """Return the library reference: a page for each folder with all modules in it."""
    pages = {}
    for folder in layers():
        files = sorted((ROOT / "emojax" / folder).glob("*.py"))
        about = ast.get_docstring(ast.parse((ROOT / "emojax" / folder / "__init__.py").read_text()))
        text = [f"# emojax.{folder}\n\n{about}\n"]
        text += [f"::: emojax.{folder}.{file.stem}\n" for file in files if file.stem[0] != "_"]
        pages[f"library/{folder}.md"] = "\n".join(text)
    return pages


def layers() -> Iterator[str]:
    """Yield the library's folders, highest layer first; `api.md` has the pipeline."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]
    for layer in contracts["contracts"][0]["layers"]:
        for name in layer.split(" | "):
            if (ROOT / "emojax" / name).is_dir() and name not in ("demo", "page", "pipeline"):
                yield name


def notebook(file: Path) -> dict[str, str | bytes]:
    """Return a notebook as a Markdown page and the pictures among its stored outputs."""
    text, pictures = [], {}
    for cell in json.loads(file.read_text())["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            text.append(source)
            continue
        text.append(f"```python\n{source}\n```")
        for output in cell["outputs"]:
            data = output.get("data", {})
            if "image/png" in data:
                name = f"{file.stem}_{len(pictures)}.png"
                pictures[name] = base64.b64decode(data["image/png"])
                text.append(f"![Output of the lines above]({name})")
            elif shown := data.get("text/plain", output.get("text")):
                text.append("```text\n" + "".join(shown).rstrip() + "\n```")
    return {f"{file.stem}.md": "\n\n".join(text) + "\n", **pictures}
