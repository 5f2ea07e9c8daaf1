"""The system's resolver on twisted.names: the hosts file, ``localhost``, then the name servers of resolv.conf with
its search list. It never caches (whoever asks keeps to the TTL) and leaves nothing behind in the reactor when idle.

Sources: resolv.conf(5); RFC 6761 section 6.3 (localhost).
"""

import os
from dataclasses import dataclass
from typing import Any

from twisted.internet.defer import Deferred
from twisted.names import client, common, dns, hosts
from twisted.names.error import DNSNameError, DomainError

from balancer.core.model import is_literal

TRIES = (1.0, 2.0, 4.0)
"""Seconds each name server is waited for, in as many rounds. One lost datagram costs a second, and a dead first
server too; what it comes to is bounded by ``ResolvePolicy.timeout``."""

MAX_SERVERS = 3
"""Name servers taken from resolv.conf, as the C library does (MAXNS)."""

NOTHING: tuple[tuple[Any, ...], ...] = ((), (), ())
"""An answer without records: the name exists and has none of the kind."""

LOCAL_TTL = 300
"""Seconds an answer that needs no name server holds; then the hosts file is read again."""


@dataclass(frozen=True, slots=True)
class ResolvConf:
    """What resolv.conf says.

    :ivar servers: name servers' addresses.
    :ivar search: domains to complete a name with.
    :ivar ndots: a name with fewer dots is completed before it is taken as it is.
    """

    servers: tuple[str, ...] = ("127.0.0.1",)
    search: tuple[str, ...] = ()
    ndots: int = 1

    @classmethod
    def parse(cls, text: str) -> "ResolvConf":
        """Read the file's text; what it does not say, or says wrongly, is as if there were no file."""
        servers: list[str] = []
        search: tuple[str, ...] = ()
        ndots = cls().ndots
        for line in text.splitlines():
            key, *values = line.split() or [""]
            if key == "nameserver" and values and is_literal(values[0]):
                servers.append(values[0])
            elif key in ("search", "domain") and values:
                search = tuple(value.strip(".") for value in values if value.strip("."))
            elif key == "options":
                counts = [value[6:] for value in values if value.startswith("ndots:") and value[6:].isdecimal()]
                ndots = min(int(counts[-1]), 15) if counts else ndots  # 15 as in the C library (RES_MAXNDOTS)
        return cls(tuple(servers[:MAX_SERVERS]) or cls().servers, search, ndots)

    def candidates(self, name: str) -> tuple[str, ...]:
        """The names to ask for, in order. One that ends in a dot is absolute: it is asked for alone."""
        if name.endswith("."):
            return (name[:-1],)
        completed = tuple(f"{name}.{domain}" for domain in self.search)
        return (name, *completed) if name.count(".") >= self.ndots else (*completed, name)


class SystemResolver(common.ResolverBase):
    """Answers as the machine would, without a thread. Both files are read again when they change.

    :param reactor: for sockets and timeouts.
    """

    def __init__(self, reactor: object, resolv_conf: str, hosts_file: str, port: int = dns.PORT) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # twisted.names has no annotations here
        self._reactor = reactor
        self._resolv_conf = resolv_conf
        self._port = port
        self._hosts: Any = hosts.Resolver(os.fsencode(hosts_file), ttl=LOCAL_TTL)
        self._modified: float | None = -1.0  # no file was modified then: the first look reads it
        self._conf = ResolvConf()
        self._client: Any = None

    def __repr__(self) -> str:
        return f"<SystemResolver {self._conf}>"

    def stop(self) -> None:
        """Close the connections that long answers left open."""
        for protocol in list(self._client.connections) if self._client else ():
            protocol.transport.abortConnection()

    def _lookup(self, name: bytes, cls: int, type: int, timeout: object) -> "Deferred[Any]":
        """Called by every lookup method of :class:`common.ResolverBase`, which promises :class:`IResolver`."""
        return Deferred.fromCoroutine(self._answer(name, cls, type))

    async def _answer(self, name: bytes, cls: int, kind: int) -> Any:
        local = await self._local(name.rstrip(b"."), kind)
        return local if local is not None else await self._ask(name.decode("ascii"), cls, kind)

    async def _local(self, name: bytes, kind: int) -> Any:
        """What needs no name server. A name that the hosts file has is answered by it alone, for both families."""
        found = {}
        for family, lookup in ((dns.A, self._hosts.lookupAddress), (dns.AAAA, self._hosts.lookupIPV6Address)):
            try:
                found[family] = await lookup(name)
            except DomainError:
                continue
        if found:
            return found.get(kind, NOTHING)
        if name.lower() == b"localhost" or name.lower().endswith(b".localhost"):
            record = dns.RRHeader(name, dns.A, dns.IN, LOCAL_TTL, dns.Record_A("127.0.0.1", LOCAL_TTL))
            return ((record,), (), ()) if kind == dns.A else NOTHING
        return None

    async def _ask(self, name: str, cls: int, kind: int) -> Any:
        """Go through the search list: a name that is not there, or has no address at all, leads on to the next. One
        that has addresses of the other family is the one that is meant: both families must be of one host."""
        asked = self._current()
        empty: Any = None
        missing: DNSNameError | None = None
        for candidate in self._conf.candidates(name):
            try:
                result = await asked.query(dns.Query(candidate.encode("ascii"), kind, cls))
            except DNSNameError as error:
                missing = missing or error
                continue
            if result[0] or await self._has_other(asked, candidate, cls, kind):
                return result
            empty = empty or result
        if empty is None and missing is not None:
            raise missing
        return empty or NOTHING

    async def _has_other(self, asked: Any, candidate: str, cls: int, kind: int) -> bool:
        """Whether the name has addresses of the other family. (While that is asked for as well, and it mostly is,
        the client sends no second question.)"""
        other = {dns.A: dns.AAAA, dns.AAAA: dns.A}.get(kind)
        if other is None or len(self._conf.candidates(candidate)) == 1:
            return False
        try:
            return bool((await asked.query(dns.Query(candidate.encode("ascii"), other, cls)))[0])
        except DNSNameError:
            return False

    def _current(self) -> Any:
        """The client for the name servers that resolv.conf names now."""
        try:
            modified: float | None = os.stat(self._resolv_conf).st_mtime
        except OSError:
            modified = None  # no file, or none for us: resolv.conf(5) says what is then
        if modified != self._modified or self._client is None:
            self._modified = modified
            self._conf = self._read() if modified is not None else ResolvConf()
            self.stop()
            servers = [(address, self._port) for address in self._conf.servers]
            self._client = client.Resolver(servers=servers, timeout=TRIES, reactor=self._reactor)
        return self._client

    def _read(self) -> ResolvConf:
        try:
            with open(self._resolv_conf, encoding="ascii", errors="replace") as file:
                return ResolvConf.parse(file.read())
        except OSError:
            return ResolvConf()


def make_resolver(
    reactor: object, resolv_conf: str = "/etc/resolv.conf", hosts_file: str = "/etc/hosts", port: int = dns.PORT
) -> SystemResolver:
    """A resolver like the system's; neither file needs to exist.

    :param reactor: provides ``IReactorTime``, ``IReactorUDP`` and ``IReactorTCP``.
    :param port: where the name servers listen.
    """
    return SystemResolver(reactor, resolv_conf, hosts_file, port)
