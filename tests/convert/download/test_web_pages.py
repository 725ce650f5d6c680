"""Addresses of Google Drive, and what its pages say."""

import time

import pytest

from convert import published
from convert.download import addresses, one_file, web_pages
from tests.support import file_server

ID = "1bMTNWkh5LArlaWSc_wa8VKyq2V42T2z0"


def test_drives_addresses_become_those_that_browsers_end_at():
    wanted = f"https://drive.usercontent.google.com/download?id={ID}&export=download&confirm=t"
    for ending in ("", "/view", "/view?usp=sharing"):
        assert addresses.download_address(f"https://drive.google.com/file/d/{ID}{ending}") == wanted
    assert addresses.download_address("https://x.invalid/a.pt") == "https://x.invalid/a.pt"


def test_the_table_names_a_file_and_a_mirror_replaces_its_server():
    for file in published.read("ffhq").files:
        assert file.wanted("").address.startswith("https://")
        mirrored = file.wanted("https://mirror.invalid/weights/")
        assert mirrored.address == f"https://mirror.invalid/weights/{file.name}"


def test_a_form_gives_the_confirmed_address():
    page = file_server.CONFIRMATION.format(action=addresses.DOWNLOAD, name="ID")
    found = web_pages.confirmed_address(page, "https://drive.google.com/uc?id=ID")
    assert found == f"{addresses.DOWNLOAD}?id=ID&export=download&confirm=t&uuid=0f1e"
    assert (
        web_pages.confirmed_address("<form action='/search'></form>", "https://a.invalid") is None
    )


@pytest.mark.parametrize(
    ("content_type", "first", "page"),
    [
        ("text/html; charset=utf-8", b"PK\x03\x04", True),
        ("application/octet-stream", b"\n  <!DOCTYPE html>", True),
        ("application/octet-stream", b"\xef\xbb\xbf<HTML>", True),
        ("application/octet-stream", b"PK\x03\x04", False),
        ("", b"\x80\x02}", False),
    ],
)
def test_a_page_is_told_by_its_type_or_its_first_bytes(content_type, first, page):
    assert web_pages.is_page(content_type, first) is page


@pytest.mark.parametrize(
    "part",
    [
        "<title",
        "<title>",
        "<!",
        "<!--",
        "<form ",
        "<form action=",
        "<input name='",
        "<a",
        "&",
        "<?",
        "</",
    ],
)
def test_a_page_made_to_take_long_takes_a_moment(part):
    page = part * (one_file.LONGEST_PAGE // len(part))
    start = time.process_time()
    web_pages.meaning(page)
    web_pages.confirmed_address(page, "https://drive.google.com/")
    assert time.process_time() - start < 5


def test_titles_cannot_act_on_a_terminal():
    assert "\x1b" not in web_pages.meaning("<title>\x1b[2Jgone</title>")
