"""Who is the peer: the address that requests are counted by, and whether a request comes from this machine.

What a proxy says of the client is believed where FORWARDED_ALLOW_IPS names the proxy, and nowhere else.

Granian, which `main.py` runs, hands over the connection's own address, and all of this is decided here. A plain
`uvicorn src.main:app` reads the environment variable of the same name itself, by default `127.0.0.1`: for such a peer
it has put what `X-Forwarded-For` says (whatever that is: an address or any other text) in the place of the client, and
`X-Forwarded-Proto` in that of the scheme, before the application is called. The headers stay, so such a request is
never taken for one of this machine; walking the list again ends at the same address when both have the same setting.
`--no-proxy-headers` leaves the decision to us.
"""

import re
from collections import Counter
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address

from starlette.types import Scope

UNKNOWN = "unknown"
"""The address of a peer that has none: on a Unix socket, or called something that is no address."""

# The longest address has 45 characters, and a zone. Longer texts are none, and do not fill the caches.
MAX_ADDRESS_CHARACTERS = 64
MAX_HOST_BYTES = 260

# By these a proxy says for whom it asks, or that it is one. All names that begin with `x-forwarded-` count too.
FORWARDING = frozenset(
    (
        *(b"forwarded", b"via", b"x-real-ip", b"x-client-ip", b"x-cluster-client-ip", b"x-original-forwarded-for"),
        *(b"cf-connecting-ip", b"true-client-ip", b"fastly-client-ip", b"x-envoy-external-address"),
    )
)

_match_node = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([0-9.]+))(?::[0-9A-Za-z._-]+)?").fullmatch
_match_host = re.compile(rb"(?:\[([0-9a-f:.]+)\]|([a-z0-9.-]+))(?::[0-9]*)?").fullmatch


class TrustedProxies:
    """The proxies whose word is believed; an empty one is false, and trusts nobody."""

    def __init__(self, networks: Iterable[IPv4Network | IPv6Network] = ()) -> None:
        self._networks = tuple(networks)
        self.trusts = lru_cache(maxsize=4096)(self._contains)

    def __bool__(self) -> bool:
        return bool(self._networks)

    def _contains(self, address: str) -> bool:
        return address != UNKNOWN and any(ip_address(address) in network for network in self._networks)


NOBODY = TrustedProxies()


def client_address(scope: Scope, trusted: TrustedProxies) -> str:
    """The address of the client in its shortest form, without a port; that of the connection unless a proxy is trusted.

    Each proxy adds on the right the address that it was asked from. So the list is read from there as long as who
    wrote it is trusted; an entry that is no address ends it, and the request counts for the proxy that passed it on.

    A proxy that writes one of `Forwarded` (RFC 7239) and `X-Forwarded-For` may pass on the other as its client made
    it up. Where both are there and say different things, neither is believed.
    """
    peer = peer_address(scope)
    if not trusted or not trusted.trusts(peer):
        return peer
    written, listed = _header(scope, b"forwarded"), _header(scope, b"x-forwarded-for")
    by_custom = _walk(peer, map(_node_address, reversed(listed.split(","))), trusted)
    if not written:
        return by_custom
    by_standard = _walk(peer, map(_for_of, reversed(written.split(","))), trusted)
    return by_standard if not listed or by_standard == by_custom else peer


def request_scheme(scope: Scope, trusted: TrustedProxies) -> str:
    """`https` where the connection is, or where a trusted proxy says that the client's was; else `http`."""
    if scope.get("scheme") == "https":
        return "https"
    if not trusted or not trusted.trusts(peer_address(scope)):
        return "http"
    # Where several proxies wrote, the first one spoke with the client.
    custom, standard = (_header(scope, name).partition(",")[0] for name in (b"x-forwarded-proto", b"forwarded"))
    said = custom.strip() or _parameters(standard).get("proto", "")
    return "https" if said.lower() == "https" else "http"


def counted_address(address: str) -> str:
    """What limits count instead of an address: of IPv6 its /64, all of which one client may use as it likes."""
    return _network_of(address) if ":" in address else address


def peer_address(scope: Scope) -> str:
    """The address of the connection's other end in its shortest form, or `UNKNOWN`."""
    client = scope.get("client")
    return _canonical(client[0]) if client and len(client[0]) <= MAX_ADDRESS_CHARACTERS else UNKNOWN


def why_not_local(scope: Scope) -> str:
    """Why a request may come from elsewhere than this machine, as a clause; empty when it cannot.

    A proxy on this machine asks over loopback for others, so a request that went through one is not local. Nor is one
    whose Host is a name of the internet: a web page may let its own name resolve to 127.0.0.1 and read what is there
    (DNS rebinding); browsers always send it, and such a name has a dot. Starlette's test client is local: no name of a
    server's peer is `testclient` without a proxy's header.
    """
    host = b""
    for name, value in scope["headers"]:
        if name in FORWARDING or b"x-forwarded-" <= name < b"x-forwarded.":
            return f"it came through a proxy, by its header {name.decode('latin-1')[:40]}"
        if name == b"host":
            # Whoever sends two is believed neither.
            host = b"," if host else value
    client = scope.get("client")
    if not client:
        return "it came over a connection without an address"
    if client[0] != "testclient" and not _is_loopback(peer_address(scope)):
        return "it came from another address than this machine's own"
    if len(host) > MAX_HOST_BYTES or not _names_this_machine(host):
        return "its Host is not a name of this machine"
    return ""


def _walk(peer: str, entries: Iterable[str], trusted: TrustedProxies) -> str:
    """Follow the addresses, nearest first, up to the first one that is not trusted."""
    address = peer
    for entry in entries:
        if entry == UNKNOWN or not trusted.trusts(address):
            break
        address = entry
    return address


def _header(scope: Scope, name: bytes) -> str:
    """The values of a header as one list."""
    return ",".join([value.decode("latin-1") for key, value in scope["headers"] if key == name])


def _for_of(element: str) -> str:
    """The address in one element of `Forwarded`, such as `for="[2001:db8::1]:4711";proto=https`."""
    return _node_address(_parameters(element).get("for", ""))


def _parameters(element: str) -> dict[str, str]:
    """The pairs of one element of `Forwarded`, without quotes. One that is there twice is left out."""
    pairs = [pair.partition("=") for pair in element.split(";")]
    names = [name.strip().lower() for name, _, _ in pairs]
    # One look at all of them: clients may write thousands.
    times = Counter(names)
    return {
        name: value.strip().strip('"') for name, (_, _, value) in zip(names, pairs, strict=True) if times[name] == 1
    }


def _node_address(node: str) -> str:
    """The address of a node as proxies write it, with or without a port: `192.0.2.1:80`, `[2001:db8::1]:80`."""
    node = node.strip()
    if len(node) > MAX_ADDRESS_CHARACTERS:
        return UNKNOWN
    match = _match_node(node)
    return _canonical((match[1] or match[2]) if match else node)


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    try:
        address = ip_address(text)
    except ValueError:
        return UNKNOWN
    # A socket for both kinds shows IPv4 peers as `::ffff:192.0.2.1`.
    return str(getattr(address, "ipv4_mapped", None) or address)


@lru_cache(maxsize=4096)
def _network_of(address: str) -> str:
    return f"{IPv6Address(int(IPv6Address(address)) >> 64 << 64)}/64"


@lru_cache(maxsize=256)
def _is_loopback(address: str) -> bool:
    return address != UNKNOWN and ip_address(address).is_loopback


@lru_cache(maxsize=256)
def _names_this_machine(host: bytes) -> bool:
    match = _match_host(host.lower())
    if not match:
        return not host
    name = (match[1] or match[2]).decode().removesuffix(".")
    return name.endswith(".localhost") or _is_loopback(_canonical(name)) or not ("." in name or ":" in name)
