"""What a backend is told about the client, and whom we believe about it.

``X-Forwarded-*``, RFC 7239 ``Forwarded``, ``Via`` and the request's id. From a peer that is not a trusted
proxy every such field is removed, in any spelling a backend could take for it, before ours are set; from a
trusted one they are continued. The policy is compiled once (:class:`Forwarding`), what is constant for a
client's connection once per connection (:class:`Peer`), and a request costs one pass over its fields.

Nothing here reads a socket, a clock or a source of randomness of its own.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from random import Random
from typing import Protocol

from balancer.core.addresses import TrustedProxies, parsed
from balancer.core.forwarded_policy import ForwardedPolicy
from balancer.core.headers import (
    FOLD,
    FORWARDED_PREFIX,
    HOP_COUNTED,
    Fields,
    Verdicts,
    add_upgrade,
    goes_to_backend,
    hops_left,
    kept,
    one_hop_less,
    with_host,
    without,
)

PEERS = 1024
"""Addresses remembered with what is constant for them: clients come back, and each costs a quarter of a KiB."""

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_REQUEST_ID = re.compile(rb"[\x21-\x7e]{1,200}")  # 200: three times the longest in use, and a log line stays a line

_IDS = 64  # made at one time
_ABOUT_THE_CLIENT = frozenset({b"forwarded", b"x-real-ip", b"x-request-id"})
_TOLD_OF_TARGET = frozenset({
    b"forwarded", b"x-forwarded-proto", b"x-forwarded-host", b"x-forwarded-port", b"x-forwarded-prefix",
    b"x-forwarded-ssl", b"x-forwarded-scheme", b"x-original-url", b"x-rewrite-url", b"x-original-host",
})  # fmt: skip
_OF_TARGET = re.compile(rb"""(?i)(?:host|proto)\s*=\s*(?:"[^"]*"|[^;,\s]*)""")


class ReceivedRequest(Protocol):
    """What of a request's head is read here (``http1``'s RequestHead has it)."""

    @property
    def method(self) -> bytes: ...
    @property
    def fields(self) -> Fields: ...
    @property
    def connection(self) -> frozenset[bytes]: ...
    @property
    def target(self) -> bytes: ...
    @property
    def host(self) -> bytes: ...
    @property
    def minor(self) -> int: ...


class BackendRequest:
    """The fields of one request as they go to a backend.

    :ivar fields: everything but the framing: the engine adds ``Transfer-Encoding`` if it sends chunks.
    :ivar client: the client's address, as far as it can be known; for logs, limits and hashing.
    :ivar request_id: the id the backend sees; empty if the policy sends none.
    :ivar needs_host: the engine has to set the Host to the backend's name for each attempt
        (:func:`balancer.core.headers.with_host`): the policy says so, or the client sent none.
    """

    __slots__ = ("client", "fields", "needs_host", "request_id")

    def __init__(self, fields: Fields, client: str, request_id: bytes, needs_host: bool) -> None:
        self.fields = fields
        self.client = client
        self.request_id = request_id
        self.needs_host = needs_host


class Forwarding:
    """A compiled policy; one for each listener.

    :ivar response_via: the value for ``response_fields(via=...)``, by the minor version of the *response*.
    """

    def __init__(self, policy: ForwardedPolicy, new_id: Callable[[], bytes]) -> None:
        """:param new_id: makes an id for a request (:func:`random_ids`)."""
        self.policy = policy
        self.new_id = new_id
        self.trusted = TrustedProxies(policy.trusted_proxies)
        name = policy.via.encode("ascii")
        self.via = (b"1.0 " + name, b"1.1 " + name) if name else (b"", b"")
        self.response_via = self.via if policy.via_response else (b"", b"")
        self.id_name = policy.request_id.encode("ascii")
        self._of_client = {b"forwarded", b"x-forwarded-for", b"x-real-ip", b"x-request-id", self.id_name.lower()}
        self._removed = _ABOUT_THE_CLIENT | {name.encode("ascii").translate(FOLD) for name in policy.remove_untrusted}
        self._removed |= {self.id_name.translate(FOLD)}
        self.from_anyone = Verdicts(self._passes_from_anyone)
        self.from_trusted = Verdicts(self._passes_from_trusted)
        self._peers = lru_cache(PEERS)(partial(Peer, self))

    def varies_by_client(self, vary: list[bytes]) -> bool:
        """Whether a response varies by what servers are told of the client, which no request of a client says.

        :param vary: the values of its Vary fields.
        """
        return any(name.strip().lower() in self._of_client for value in vary for name in value.split(b","))

    def peer(self, address: str, scheme: bytes) -> "Peer":
        """Return what is constant for one client connection, or for several from one address.

        :param address: the peer's IP address as the socket tells it; empty for a UNIX socket.
        :param scheme: ``http``, or ``https`` for a listener with TLS.
        """
        return self._peers(address, scheme)

    def told_of_anyone(self, head: ReceivedRequest) -> tuple[Fields, Fields] | None:
        """The fields of a request from a peer that is no trusted proxy, as far as they are the same whoever it is.

        :returns: those before :attr:`Peer.lines` and those after; the request's id comes last. ``None`` where some
            depend on the peer or the backend otherwise, and for heads that :meth:`Peer.request` changes in more ways.
        """
        policy = self.policy
        if (
            head.method in HOP_COUNTED
            or policy.forwarded
            or policy.host == "backend"
            or not head.host
            or head.minor == 0
            or head.target[:1] != b"/"
        ):
            return None
        after = [(b"X-Forwarded-Host", head.host)] if policy.x_forwarded else []
        if policy.via:
            after.append((b"Via", self.via[head.minor]))
        return kept(head.fields, self.from_anyone, head.connection), after

    def _passes_from_anyone(self, name: bytes) -> bool:
        folded = name.translate(FOLD)
        return goes_to_backend(name) and folded not in self._removed and not folded.startswith(FORWARDED_PREFIX)

    def _passes_from_trusted(self, name: bytes) -> bool:
        """All that passes from anyone, and the fields we do not write ourselves in their one right spelling."""
        folded = name.translate(FOLD)
        if self._passes_from_anyone(name):
            return True
        written = {self.id_name.lower()}
        written |= {b"x-forwarded-for"} if self.policy.x_forwarded else set()
        written |= {b"forwarded"} if self.policy.forwarded else set()
        return goes_to_backend(name) and folded == name.lower() and folded not in written


class Peer:
    """One client connection's peer: its address, whether it is believed, and the fields that never change.

    :ivar address: normalised address, ``unknown`` for a UNIX socket (RFC 7239 section 6.2).
    :ivar trusted: whether it is one of the trusted proxies.
    :ivar lines: the lines of the fields that tell of it, where it is not.
    """

    __slots__ = ("_constant", "_forwarding", "_id_name", "_verdicts", "address", "lines", "scheme", "trusted")

    def __init__(self, forwarding: Forwarding, address: str, scheme: bytes) -> None:
        self._forwarding = forwarding
        self.scheme = scheme
        self.trusted = False
        self.address = address or "unknown"
        if forwarding.trusted or ":" in address:
            known = parsed(address)
            self.address = str(known) if known is not None else self.address
            self.trusted = forwarding.trusted.trusts(known)
        self._id_name = forwarding.id_name
        self._verdicts = forwarding.from_trusted if self.trusted else forwarding.from_anyone
        name = self.address.encode("ascii", "replace")
        self._constant = [(b"X-Forwarded-For", name), (b"X-Forwarded-Proto", scheme)]
        told = forwarding.policy.x_forwarded
        self.lines = b"X-Forwarded-For: %b\r\nX-Forwarded-Proto: %b\r\n" % (name, scheme) if told else b""

    def __repr__(self) -> str:
        return f"<Peer {self.address} {'trusted' if self.trusted else 'not trusted'}>"

    def client(self, head: ReceivedRequest) -> str:
        """The client's address, as far as this peer is believed."""
        if not self.trusted:
            return self.address
        path = [value for name, value in head.fields if name.lower() == b"x-forwarded-for"]
        return self._forwarding.trusted.client(self.address, path)

    def scheme_of(self, head: ReceivedRequest) -> bytes:
        """The scheme by which the client asked, as far as this peer is believed about it."""
        if self.trusted:
            for name, value in head.fields:
                if name.lower() == b"x-forwarded-proto" and value.lower() in (b"http", b"https"):
                    return value.lower()
        return self.scheme

    def told(self, head: ReceivedRequest) -> bytes:
        """What trusted proxies say of what the client asked for, and servers believe: scheme, host and the like. Two
        requests of which it differs are for different things. Empty where they say nothing, or are not believed."""
        if not self.trusted:
            return b""
        said = [(name.lower(), value) for name, value in head.fields if name.lower() in _TOLD_OF_TARGET]
        said = [(name, b",".join(_OF_TARGET.findall(value)) if name == b"forwarded" else value) for name, value in said]
        return b"\n".join(b"%b: %b" % field for field in sorted(said))

    def request(self, head: ReceivedRequest, upgrade: bytes | None = None) -> BackendRequest:
        """Return the fields of a request as they go to a backend.

        ``Expect`` of an HTTP/1.0 client is dropped here (RFC 9110 section 10.1.1); any other goes on, and the
        engine that answers 100 itself drops it with :func:`balancer.core.headers.without`.

        :param upgrade: the protocol, if the engine would tunnel it (:func:`balancer.core.headers.may_upgrade`).
        """
        forwarding = self._forwarding
        policy = forwarding.policy
        fields = kept(head.fields, self._verdicts, head.connection)
        if head.method in HOP_COUNTED and hops_left(fields):
            fields = one_hop_less(fields)
        if head.target[:1] not in b"/*":
            fields = with_host(fields, head.host)
        if head.minor == 0:
            fields = without(fields, (b"expect",))
        if self.trusted:
            client, request_id = self._continued(head, fields)
        else:
            client, request_id = self._started(head, fields)
        if policy.via:
            fields.append((b"Via", forwarding.via[head.minor]))
        if request_id:
            fields.append((self._id_name, request_id))
        if upgrade is not None:
            add_upgrade(fields, upgrade)
        return BackendRequest(fields, client, request_id, policy.host == "backend" or not head.host)

    def _started(self, head: ReceivedRequest, fields: Fields) -> tuple[str, bytes]:
        """Begin the client's record: the peer is the client, and nothing it said about itself is left."""
        policy = self._forwarding.policy
        if policy.x_forwarded:
            fields += self._constant
            if head.host:
                fields.append((b"X-Forwarded-Host", head.host))
        if policy.forwarded:
            fields.append((b"Forwarded", self._element(head.host)))
        return self.address, self._forwarding.new_id() if self._id_name else b""

    def _continued(self, head: ReceivedRequest, fields: Fields) -> tuple[str, bytes]:
        """Append to what a trusted proxy said; its scheme and host are the client's, so they stay."""
        policy = self._forwarding.policy
        said: dict[bytes, list[bytes]] = {}
        for name, value in head.fields:
            said.setdefault(name.lower(), []).append(value)
        path = said.get(b"x-forwarded-for", [])
        if policy.x_forwarded:
            name, address = self._constant[0]
            fields.append((name, b", ".join([*path, address])))
            if b"x-forwarded-proto" not in said:
                fields.append(self._constant[1])
            if b"x-forwarded-host" not in said and head.host:
                fields.append((b"X-Forwarded-Host", head.host))
        if policy.forwarded:
            elements = [*said.get(b"forwarded", []), self._element(head.host)]
            fields.append((b"Forwarded", b", ".join(elements)))
        request_id = said.get(self._id_name.lower(), [b""])[0]
        if self._id_name and _REQUEST_ID.fullmatch(request_id) is None:
            request_id = self._forwarding.new_id()
        return self._forwarding.trusted.client(self.address, path), request_id

    def _element(self, host: bytes) -> bytes:
        """Our element of ``Forwarded`` (RFC 7239 section 4): who asked, for which host, how."""
        address = self.address.encode("ascii", "replace")
        node = b'"[%b]"' % address if b":" in address else address
        if not host:
            return b"for=%b;proto=%b" % (node, self.scheme)
        return b"for=%b;host=%b;proto=%b" % (node, quoted(host), self.scheme)


def quoted(value: bytes) -> bytes:
    """Return a token as it is and anything else as a quoted string (RFC 9110 section 5.6.4)."""
    if _TOKEN.fullmatch(value) is not None:
        return value
    return b'"%b"' % value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def random_ids(random: Random) -> Callable[[], bytes]:
    """Return a source of request ids: 128 random bits as 32 hexadecimal digits."""

    def ids() -> Iterator[bytes]:
        while True:  # many at one time, for writing a number takes longer than cutting a text
            digits = random.getrandbits(128 * _IDS).to_bytes(16 * _IDS, "big").hex().encode("ascii")
            for start in range(0, len(digits), 32):
                yield digits[start : start + 32]

    return ids().__next__
