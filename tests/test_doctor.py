"""What `emojax doctor` says of an installation and of its bundles."""

import json
import subprocess
import sys

import jax
import pytest

from convert import stylegan
from emojax import __version__, doctor
from tests.support import oracles

TINY = oracles.DATA / "files" / "ros_tiny.pt"


def report(capsys):
    doctor.main(doctor.Options(json=True))
    return json.loads(capsys.readouterr().out)


def test_versions_device_and_the_embedded_bundle(here, capsys):
    found = report(capsys)
    assert found["emojax"] == __version__
    assert found["packages"]["jax"] == jax.__version__
    assert found["devices"] == {"backend": "cpu", "devices": ["cpu"] * jax.local_device_count()}
    assert found["home"]["folder"] == str(here.parent / "home")
    assert found["home"]["free"] > 0
    assert found["bundles"]["demo"]["missing"] == {}
    assert found["settings"]["EMOJAX_COMPILE_CACHE"] == "off"


@pytest.mark.parametrize(
    ("name", "command"), [("ffhq", "emojax fetch ffhq"), ("mine", "emojax fetch ffhq --name mine")]
)
def test_missing_parts_have_a_command(here, capsys, name, command):
    stylegan.main(stylegan.Options(TINY, name=name))
    capsys.readouterr()
    found = report(capsys)["bundles"][name]
    assert found["parts"] == {"generator": "ros_tiny.pt"}
    assert found["missing"]["hyperstyle"] == command
    assert found["missing"]["directions"].startswith(f"emojax score --bundle {name} ")
    doctor.main(doctor.Options())
    said = capsys.readouterr().out
    parts = (
        "psp, w_encoder, hyperstyle, emotion, inception, identity, alexnet, lpips_alexnet, vgg16"
    )
    assert f"{parts}, lpips_vgg16: {command}\n" in said
    assert "no other bundle" not in said


def test_interrupted_downloads_are_mentioned(here, capsys):
    folder = here.parent / "home/checkpoints/.downloads"
    folder.mkdir(parents=True)
    (folder / ".lock").touch()
    assert report(capsys)["downloads"] == {}
    (folder / "psp.pt.part").write_bytes(bytes(20_000))
    assert report(capsys)["downloads"] == {str(folder): 20_000}
    doctor.main(doctor.Options())
    assert f"20 kB in {folder}: 'emojax fetch ffhq' goes on" in capsys.readouterr().out


def test_a_damaged_part_is_named(here, capsys):
    stylegan.main(stylegan.Options(TINY, name="ffhq"))
    file = here.parent / "home/checkpoints/ffhq/generator/metadata.json"
    file.write_text("{")
    capsys.readouterr()
    assert "damaged: " in report(capsys)["bundles"]["ffhq"]["parts"]["generator"]


def test_a_terminal_gets_lines_and_the_first_step(here, capsys):
    doctor.main(doctor.Options())
    said = capsys.readouterr().out
    assert "'emojax fetch ffhq' gets the published weights" in said
    assert f"device             cpu: {jax.local_device_count()} × cpu" in said  # noqa: RUF001


def test_it_takes_less_than_two_seconds_beside_jax(here):
    code = (
        "import jax, time; jax.devices(); start = time.process_time(); "
        "from emojax.doctor import Options, main; main(Options()); "
        "print(time.process_time() - start)"
    )
    line = [sys.executable, "-c", code]
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    assert float(said.splitlines()[-1]) < 2
