"""The server of these tests."""

import pytest

from tests.convert.download.one_served_file import BYTES, NAME
from tests.support.file_server import FileServer


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    (folder / NAME).write_bytes(BYTES)
    with FileServer(folder) as server:
        yield server


@pytest.fixture
def server(served, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served.plan.clear()
    served.asked.clear()
    return served
