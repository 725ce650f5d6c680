"""Web pages that arrive in the place of a file: what they say, and Google Drive's form in them.

Drive answers a request for a large file with a page that asks for confirmation, and, when many have
asked before, with a page about its quota; both with status 200. Pages are read as text only.
"""

import re
from html.parser import HTMLParser
from urllib.parse import urlencode, urlsplit

from convert.download.addresses import joined

SIGN_IN = re.compile(r"accounts\.google\.com|ServiceLogin", re.IGNORECASE)
TITLE = re.compile(r"<title[^>]{0,200}>(.{0,500}?)</title>", re.IGNORECASE | re.DOTALL)
QUOTA = re.compile(
    r"quota exceeded|exceeded (?:the|its) quota|too many users have (?:viewed|downloaded)"
    r"|download quota",
    re.IGNORECASE,
)


def is_page(content_type: str, first: bytes) -> bool:
    """Whether an answer is a web page, by its declared type and its first bytes."""
    declared = content_type.partition(";")[0].strip().lower()
    start = first.removeprefix(b"\xef\xbb\xbf").lstrip()[:15].lower()
    return declared in ("text/html", "application/xhtml+xml") or start.startswith(
        (b"<!doctype", b"<html", b"<head", b"<?xml")
    )


def confirmed_address(page: str, address: str) -> str | None:
    """Return the address that Drive's confirmation form leads to; None where there is no form.

    Args:
        page: the page's text.
        address: where the page came from.
    """
    form = _Form()
    form.feed(page)
    if form.action is None or "confirm" not in form.fields:
        return None
    target = urlsplit(joined(address, form.action))
    return target._replace(query=urlencode(form.fields), fragment="").geturl()


def meaning(page: str) -> str:
    """Return what a page says, as the reason why there is no file."""
    if QUOTA.search(page):
        return "Google Drive's quota for this file is used up for now"
    if SIGN_IN.search(page):
        return "the server asks to sign in"
    title = TITLE.search(page)
    named = f" ({' '.join(title[1].split())!r:.80})" if title else ""
    return f"the server sent a web page{named} in the place of the file"


class _Form(HTMLParser):
    """The first form of a page: its action and its hidden fields."""

    def __init__(self) -> None:
        super().__init__()
        self.action: str | None = None
        self.fields: dict[str, str] = {}
        self.inside = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        held = dict(attrs)
        if tag == "form" and self.action is None:
            self.action, self.inside = held.get("action") or "", True
        elif tag == "input" and self.inside and (name := held.get("name")):
            self.fields[name] = held.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "form"
