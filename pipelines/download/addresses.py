"""Addresses on the web: cleaned, redirected, and whether they lead to a private network."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

_HOST = re.compile(r"[0-9a-z_-]+(\.[0-9a-z_-]+)*\.?|[0-9a-f.]*:[0-9a-f:.]*", re.ASCII)
_NAT64 = IPv6Network("64:ff9b::/96")


class WebProblem(Exception):
    """The reason why an address gave nothing, as a phrase that follows the address.

    temporary: asking again may help. status: the server's, where it gave one. wait: seconds it asked for.
    """

    def __init__(self, reason: str, *, temporary: bool = False, status: int | None = None, wait: float = 0) -> None:
        super().__init__(reason)
        self.temporary, self.status, self.wait = temporary, status, wait


def clean_url(url: str) -> str:
    """Return ``url`` as it can be sent: an http or https address, escaped where it must be, without a fragment.

    Raises:
        WebProblem: it is no such address.
    """
    try:
        parts = urlsplit(url.strip())
        host, port = (parts.hostname or "").encode("idna").decode(), parts.port
    except ValueError as problem:
        raise WebProblem("is not a valid address") from problem
    if parts.scheme not in ("http", "https"):
        raise WebProblem(f"is not an http or https address but {parts.scheme or 'without a scheme'}")
    if not _HOST.fullmatch(host) or "@" in parts.netloc:
        raise WebProblem("is not a valid address")
    place = (f"[{host}]" if ":" in host else host) + (f":{port}" if port is not None else "")
    path, query = (quote(part, safe="%/:=&?~+!$,;'@()*[]|") for part in (parts.path or "/", parts.query))
    return urlunsplit((parts.scheme, place, path, query, ""))


def redirected(url: str, location: str | None) -> str:
    """Return where a redirect of ``url`` leads.

    Raises:
        WebProblem: nowhere, to another kind of address, or from https to http.
    """
    if not location:
        raise WebProblem("redirects to nowhere")
    try:
        target = clean_url(urljoin(url, location))
    except (WebProblem, ValueError) as problem:
        raise WebProblem(f"redirects to {location[:200]!r}, which is not an http or https address") from problem
    if url.startswith("https:") and not target.startswith("https:"):
        raise WebProblem(f"redirects from https to {target}, which is not encrypted")
    return target


def private_name(url: str) -> str | None:
    """Return a phrase on the host of ``url`` if its name says that it is private."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith((".localhost", ".local", ".internal")):
        return f"is on {host}, a machine of a private network"
    try:
        return private_address(host)
    except ValueError:
        return None


def private_address(address: str) -> str | None:
    """Return a phrase on an IP address that is this machine's, a private network's or otherwise special.

    Raises:
        ValueError: it is not an IP address.
    """
    ip = ip_address(address)
    if isinstance(ip, IPv6Address):
        # Addresses that stand for one of IPv4.
        ip = (IPv4Address(int(ip) % 2**32) if ip in _NAT64 else ip.ipv4_mapped or ip.sixtofour) or ip
    return None if ip.is_global and not ip.is_multicast else f"is at {address}, an address of a private network"
