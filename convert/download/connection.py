"""One answer of a server: redirects followed, refusals in words."""

import contextlib
from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

import requests

from convert.download.addresses import host, joined
from convert.download.problems import Hitch, Problem
from emojax import __version__

MOST_REDIRECTS = 10
TIMEOUT = (10.0, 30.0)
"""Seconds for a connection, and for its next bytes."""

LATER = (408, 425, 429, 500, 502, 503, 504)
"""Statuses that may be another a moment later."""

LONGEST_WAIT = 120.0
"""Seconds that a server may ask for."""

REFUSALS = {
    401: "the server asks for a password (401)",
    403: "the server refuses it (403)",
    404: "it is not at its address any more (404)",
    410: "it is not at its address any more (410)",
}


class Session(requests.Session):
    """Connections that are kept open, and what servers want remembered."""

    def get_redirect_target(self, resp: requests.Response) -> None:
        """Return None: `answer` follows redirects itself, without reading their bodies."""
        del resp


@contextlib.contextmanager
def answer(
    session: Session, address: str, headers: Mapping[str, str]
) -> Iterator[requests.Response]:
    """Open an address and give the answer, 200, 206 or 416, its body not read yet.

    Redirects are followed, at most `MOST_REDIRECTS`, and never from https to http.

    Raises:
        Problem: the server refuses, redirects without end, or cannot be trusted.
        Hitch: it cannot be reached, or has a fault, for now.
    """
    try:
        with _followed(session, address, headers) as found:
            _check_status(found)
            if found.headers.get("Content-Encoding", "identity") != "identity":
                raise Problem("the server compresses the file, which was not asked for")
            yield found
    except requests.exceptions.SSLError as error:
        raise Problem(f"the certificate of {host(address)} is not valid ({error})") from error
    except requests.exceptions.Timeout as error:
        raise Hitch(f"{host(address)} does not answer") from error
    except requests.exceptions.ChunkedEncodingError as error:
        raise Hitch("the connection was cut") from error
    except requests.exceptions.ConnectionError as error:
        raise Hitch(_unreachable(address, error)) from error
    except requests.exceptions.RequestException as error:
        raise Problem(f"{address} cannot be asked for ({error})") from error


def _followed(session: Session, address: str, headers: Mapping[str, str]) -> requests.Response:
    """Return the first answer that is no redirect."""
    asked = {"Accept-Encoding": "identity", "User-Agent": f"emojax/{__version__}", **headers}
    for _ in range(MOST_REDIRECTS + 1):
        found = session.get(
            address, headers=asked, stream=True, allow_redirects=False, timeout=TIMEOUT
        )
        if not found.is_redirect:
            return found
        found.close()
        target = joined(address, found.headers["Location"])
        if urlsplit(target).scheme not in ("https", urlsplit(address).scheme):
            raise Problem(f"{host(address)} redirects to {target:.200}, which is not protected")
        address = target
    raise Problem(f"{host(address)} redirects more than {MOST_REDIRECTS} times")


def _check_status(found: requests.Response) -> None:
    status = found.status_code
    if status in (200, 206, 416):
        return
    if status in LATER:
        raise Hitch(f"{host(found.url)} answers {status}", _wanted_wait(found))
    raise Problem(REFUSALS.get(status, f"{host(found.url)} answers {status}"))


def _wanted_wait(found: requests.Response) -> float | None:
    """Return the seconds in Retry-After; None where there are none (or a date)."""
    try:
        return min(max(float(found.headers.get("Retry-After", "")), 0.0), LONGEST_WAIT)
    except ValueError:
        return None


def _unreachable(address: str, error: Exception) -> str:
    text = str(error)
    if "NameResolutionError" in text or "getaddrinfo" in text:
        return f"{host(address)} is not found: is there a network connection?"
    if "refused" in text:
        return f"{host(address)} refuses the connection"
    if "unreachable" in text:
        return f"{host(address)} cannot be reached: is there a network connection?"
    return "the connection was cut"
