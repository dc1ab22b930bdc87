"""HTTP as it is used here: two schemes, careful redirects, the environment's proxies, and words for what goes wrong.

Built on the standard library's urllib. Knows nothing of files.
"""

import http.client
import ipaddress
import re
import socket
import ssl
from collections.abc import Mapping
from string import punctuation
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urljoin, urlsplit
from urllib.request import (
    HTTPDefaultErrorHandler,
    HTTPErrorProcessor,
    HTTPHandler,
    HTTPRedirectHandler,
    HTTPSHandler,
    OpenerDirector,
    ProxyHandler,
    Request,
    UnknownHandler,
    getproxies,
)

from sequencing_np import __version__
from sequencing_np.errors import DataError

OURS = {
    "User-Agent": f"sequencing/{__version__}",
    "Accept": "*/*",
    "Accept-Encoding": "identity",  # the bytes of the file, which sizes and sums are of
}
FAILURES = (HTTPError, URLError, http.client.HTTPException, OSError, ValueError)  # what the standard library raises

ADVICE = {
    401: "it wants a password; get the file by hand",
    403: "the server refuses it; get the file with a browser",
    404: "there is no such file; are the languages right? Else the address has changed: look for a newer catalogue",
    406: "the server does not like this program; get the file with a browser",
    407: "the proxy wants a password; set it in the environment (https_proxy)",
    410: "the file is not there any more; look for a newer catalogue",
    429: "the server has too many requests of yours; wait",
    451: "the server may not give it out; get the file by hand",
}
BY_HAND = (401, 403, 406, 451)  # where a person may have more luck
AGAIN = (408, 425, 429, 500, 502, 503, 504)  # that may be otherwise in a minute


class Passing(DataError):
    """What may be otherwise in a minute."""


class Redirects(HTTPRedirectHandler):
    """Follows redirects to http and https, and never from https to http."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str
    ) -> Request | None:
        old, new = urlsplit(req.full_url).scheme, urlsplit(newurl).scheme
        if old == "https" and new != "https":
            raise DataError(f"{req.full_url}: leads to {shown(newurl)}, which is not https; it is not followed")
        return super().redirect_request(req, fp, code, msg, headers, newurl)

    def http_error_302(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage
    ) -> http.client.HTTPResponse | None:
        location = quote(headers.get("location") or headers.get("uri") or "", encoding="latin-1", safe=punctuation)
        fault = fault_of_location(req.full_url, location)
        if fault:
            fp.close()
            raise DataError(f"{req.full_url}: leads to {shown(location)}, which is not followed: an address {fault}")
        return super().http_error_302(req, fp, code, msg, headers)

    http_error_301 = http_error_303 = http_error_307 = http_error_308 = http_error_302


class Proxies(ProxyHandler):
    """The environment's proxies, but none on the way to this very machine."""

    def proxy_open(self, req: Request, proxy: str, type: str) -> Any:
        return None if is_loopback(req.host) else super().proxy_open(req, proxy, type)


def is_loopback(host: str) -> bool:
    """Whether HOST or HOST:PORT is this machine."""
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def fault_of_address(address: str) -> str:
    """Why an address cannot be fetched, in words; empty where it can."""
    try:
        parts = urlsplit(address)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError as error:
        return f"makes no sense ({error})"
    rules = (
        (not known, "must begin with https://HOST/ or http://HOST/"),
        ("@" in parts.netloc, "must hold no user name or password"),
        (re.search(r"[\x00-\x20\x7f-\U0010ffff]", address) is not None, "must be ASCII without spaces (%20)"),
    )
    return next((words for broken, words in rules if broken), "")


def fault_of_location(address: str, location: str) -> str:
    """Why the address that another one leads to cannot be fetched, in words; empty where it can."""
    try:
        return fault_of_address(urljoin(address, location))
    except ValueError as error:
        return f"makes no sense ({error})"


def open_address(address: str, headers: Mapping[str, str], timeout: float) -> Any:
    """The server's answer, headers read; raises one of FAILURES."""
    fault = fault_of_address(address)
    if fault:
        raise DataError(f"{address}: cannot be fetched: an address {fault}")
    request = Request(address, headers={**OURS, **headers})  # noqa: S310 (http or https)
    opener = OpenerDirector()  # without the handlers of files, FTP and data
    handlers = (Proxies(), UnknownHandler(), HTTPHandler(), HTTPSHandler(), HTTPDefaultErrorHandler(), Redirects())
    for handler in (*handlers, HTTPErrorProcessor()):
        opener.add_handler(handler)
    ask = opener.open
    return ask(request, timeout=timeout)


def explained(error: Exception, address: str) -> Exception:
    """What to tell the user of a failure, Passing if it may be otherwise in a minute."""
    if isinstance(error, HTTPError):
        error.close()
        advice = ADVICE.get(error.code, "")
        words = f"{address}: the server answers {error.code} ({str(error.reason)[:80]})"
        kind = Passing if error.code in AGAIN else DataError
        return kind(f"{words}; {advice}" if advice else words)
    cause = error.reason if isinstance(error, URLError) else error
    for cause_kind, said in CAUSES:
        if isinstance(cause, cause_kind):
            return Passing(f"{address}: {said}{through_proxy(address)}")
    if isinstance(cause, ssl.SSLCertVerificationError):
        advice = "look at the clock of this machine and at its certificates (SSL_CERT_FILE)"
        return DataError(f"{address}: its certificate cannot be trusted ({cause.verify_message}); {advice}")
    if isinstance(cause, ValueError):
        return DataError(f"{address}: this address, or the one that it leads to, makes no sense ({cause})")
    return Passing(f"{address}: the connection failed ({cause}){through_proxy(address)}")


CAUSES: tuple[tuple[type[BaseException], str], ...] = (
    (socket.gaierror, "its host is not known here; is there a network?"),
    (TimeoutError, "the server does not answer (--timeout)"),
    (ConnectionRefusedError, "the connection is refused"),
    (http.client.RemoteDisconnected, "the server hung up without an answer"),
    (ConnectionResetError, "the server broke the connection off"),
)


def through_proxy(address: str) -> str:
    """Which proxy the environment sets for an address, without its password."""
    parts = urlsplit(address)
    proxy = getproxies().get(parts.scheme)
    if not proxy or is_loopback(parts.netloc):
        return ""
    return (
        f" (through the proxy {urlsplit(proxy if '//' in proxy else f'//{proxy}').hostname}, as the environment says)"
    )


def shown(address: str) -> str:
    """An address that a server made up, fit for a message."""
    return repr(re.sub("//[^/]*@", "//", address.partition("?")[0])[:200])
