"""Addresses of published files: Google Drive's, and those that one address refers to."""

import re
from urllib.parse import urlencode, urljoin, urlsplit

from convert.download.problems import Problem

DRIVE = re.compile(r"https://drive\.google\.com/file/d/([\w-]+)(?:/.*)?")
DOWNLOAD = "https://drive.usercontent.google.com/download"
"""Where browsers end after Drive's confirmation."""


def download_address(address: str) -> str:
    """Return the address that gives a file's bytes, for one that a person opens."""
    drive = DRIVE.fullmatch(address)
    if not drive:
        return address
    asked = {"id": drive[1], "export": "download", "confirm": "t"}
    return f"{DOWNLOAD}?{urlencode(asked)}"


def host(address: str) -> str:
    """Return the host of an address, for messages."""
    return urlsplit(address).hostname or address


def joined(address: str, other: str) -> str:
    """Return the address that a server at one address refers to.

    Raises:
        Problem: it is none.
    """
    try:
        target = urljoin(address, other)
        urlsplit(target)
    except ValueError as error:
        raise Problem(f"{host(address)} leads to {other[:100]!r}, which is no address") from error
    return target
