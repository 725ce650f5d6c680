"""README and documentation pages: their Python runs, their commands parse, the first one works."""

import os
import subprocess
import sys
import tomllib

import pytest
from PIL import Image

from emojax.runtime import compile_cache
from tests.docs import blocks
from tests.docs.blocks import PAGES, ROOT
from tests.support import style_set

SAMPLES = ROOT / "checkpoints/demo/samples"
OTHERS = {
    ".",
    "emojax",
    "export",
    "lint-imports",
    "mkdocs",
    "pip",
    "pyright",
    "pytest",
    "python",
    "python3",
    "ruff",
}
"""First words of commands that are not ours."""


@pytest.fixture
def folder(tmp_path):
    """A reader's folder with two pictures."""
    for file, name in {"source": "me", "target": "friend"}.items():
        with Image.open(SAMPLES / f"{file}.png") as picture:
            picture.save(tmp_path / f"{name}.jpg", quality=95)
    return tmp_path


def run(folder, *arguments):
    """Run Python as a reader would: another folder, no settings of the tests' own."""
    kept = {name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
    environment = {**kept, "PYTHONPATH": str(ROOT), "EMOJAX_HOME": str(folder / "home")}
    environment |= compile_cache.variables(folder / "programs")
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_python_blocks_run(folder):
    # index.md repeats the README's; tests/page runs those of web.md, which talk to a page
    codes = {blocks.python(page) for page in PAGES if page.name != "web.md"} - {""}
    style_set.write_bundle(folder / "home/checkpoints/cartoon")  # which one page stylises with
    for code in codes:
        run(folder, "-c", code)
    with Image.open(folder / "result.png") as result:
        assert result.size == (128, 128)


@pytest.mark.slow
def test_first_command_writes_what_readme_says(folder):
    run(folder, "-m", "emojax", "transfer")
    assert (folder / "transferred/sheet.png").is_file()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_parse(page, capsys):
    for words in blocks.commands(page):
        if words[0] == "srun":
            words = words[words.index("emojax") :]
        if words[0].startswith("examples/"):
            assert os.access(ROOT / words[0], os.X_OK), words
            continue
        found = blocks.module_of(words)
        if found is None:
            assert words[0] in OTHERS or "=" in words[0], words
            continue
        try:
            blocks.parse(*found)
        except SystemExit as end:
            if end.code == 0:  # --help
                continue
            pytest.fail(f"{page.name}: {' '.join(words)}\n{capsys.readouterr()}")


def test_parsing_notices_an_unknown_flag(capsys):
    with pytest.raises(SystemExit):
        blocks.parse("emojax.transfer", ["--sauce", "me.jpg"])
    assert "--sauce" in capsys.readouterr().err


def test_install_commands_name_extras_that_exist():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for page in PAGES:
        for words in blocks.commands(page):
            for word in words if words[:2] == ["pip", "install"] else []:
                _, bracket, extras = word.partition("[")
                for extra in extras.rstrip("]").split(",") if bracket else []:
                    assert extra in project["optional-dependencies"], (page.name, word)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_exist(page):
    """Links within the repository; mkdocs checks anchors and generated pages itself."""
    generated = {"quickstart.md", "commands.md", "changelog.md", "contributing.md", "security.md"}
    for link in blocks.LINK.findall(page.read_text()):
        if "://" not in link and link not in generated:
            assert (page.parent / link).is_file(), (page.name, link)
