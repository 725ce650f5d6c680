"""The folder of uploads and results."""

import os

import pytest

from emojax.page.disk import Disk
from emojax.runtime.errors import UserError


def test_old_files_are_deleted_and_young_ones_counted(tmp_path):
    for name in ("a/old.png", "b/young.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(bytes(600))
    os.utime(tmp_path / "a/old.png", (0, 0))
    Disk(tmp_path, 1000).make_room()
    assert not (tmp_path / "a/old.png").exists()
    assert (tmp_path / "b/young.png").exists()
    with pytest.raises(UserError, match="try again in an hour"):
        Disk(tmp_path, 600).make_room()
