"""The HTTP engine with a cache, in memory and on a virtual clock (:mod:`balancer.testing.http`)."""

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from zope.interface import implementer

from balancer.cache.policy import CachePolicy
from balancer.cache.purges import Purge
from balancer.cache.stored import Stored
from balancer.errors import StoreError
from balancer.http.cache import Cache
from balancer.interfaces import ICacheStore, ICacheWriter
from balancer.testing.http import EPOCH, Bench, Party


@implementer(ICacheStore)
class PlainStore:
    """A store that keeps everything and does nothing by itself, for tests of what uses one.

    :ivar refusing: new responses are not wanted.
    :ivar failing: writing fails.
    :ivar stopped: writers are given up: they take nothing, and only who reads already may read on.
    :ivar readers: bodies being written that are read now.
    :ivar full: writers are full after each write; ``resumes`` is what lets each go on.
    """

    def __init__(self) -> None:
        self.serial = 0
        self.counters: Mapping[str, int] = {}
        self.kept: dict[bytes, list[Stored]] = {}
        self.purges: list[Purge] = []
        self.refusing = self.failing = self.full = self.stopped = False
        self.readers = 0
        self.resumes: list[Callable[[], None]] = []

    def start(self) -> None:
        """Nothing to open."""

    def stop(self) -> None:
        """Nothing to close."""

    def get(self, key: bytes) -> Sequence[Stored]:
        """See :class:`ICacheStore`."""
        return tuple(self.kept.get(key, ()))

    def begin(self, key: bytes, stored: Stored, size: int, resume: Callable[[], None]) -> ICacheWriter | None:
        """See :class:`ICacheStore`."""
        writer: Any = None if self.refusing else _Writer(self, key, stored)
        self.resumes.append(resume)
        return writer  # type: ignore[no-any-return]  # a class that implements it

    def put(self, key: bytes, stored: Stored) -> None:
        """See :class:`ICacheStore`."""
        self.kept[key] = [stored, *(old for old in self.kept.get(key, ()) if old.nominated != stored.nominated)]

    def drop(self, key: bytes, stored: Stored) -> None:
        """See :class:`ICacheStore`."""
        self.kept[key] = [old for old in self.kept.get(key, ()) if old is not stored]

    def remove(self, uri: bytes, soft: bool) -> int:
        """See :class:`ICacheStore`; hard whatever is asked."""
        keys = [key for key in self.kept if key.partition(b"\n")[0] == uri]
        return sum(len(self.kept.pop(key)) for key in keys)

    def purge(self, purge: Purge) -> None:
        """Only remembered."""
        self.purges.append(purge)
        self.serial += 1


@implementer(ICacheWriter)
class _Writer:
    def __init__(self, store: PlainStore, key: bytes, stored: Stored) -> None:
        self._store = store
        self._key = key
        self._stored = stored
        self.body = _Body(store, bytearray())

    def write(self, data: bytes) -> bool:
        if self._store.failing or self._store.stopped:
            raise StoreError("no room")
        self.body.data.extend(data)
        return not self._store.full

    def commit(self) -> None:
        if self._store.stopped:
            raise StoreError("given up")
        self._store.put(self._key, self._stored.with_body(bytes(self.body.data)))

    def abort(self) -> None:
        """Nothing was kept."""


class _Body:
    def __init__(self, store: PlainStore, data: bytearray) -> None:
        self._store = store
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    @property
    def file(self) -> None:
        return None

    def open(self) -> "_Body":
        if self._store.stopped:
            raise StoreError("given up")
        self._store.readers += 1
        return self

    def read(self, offset: int, size: int) -> bytes:
        return bytes(self.data[offset : offset + size])

    def close(self) -> None:
        self._store.readers -= 1


class CacheBench(Bench):
    """A listener whose upstream ``web`` has a cache.

    :param store: a :class:`PlainStore` where none is given.
    """

    def __init__(self, backends: Any = 1, *, cache: CachePolicy | None = None, store: Any = None, **more: Any) -> None:
        self.store = PlainStore() if store is None else store
        self.chance = Random(1)
        self.cache = Cache("pages", cache or CachePolicy(), self.store, self.wall, self.chance)
        super().__init__(
            backends, caches={"pages": self.cache}, upstream_caches={"web": "pages"}, wall=self.wall, **more
        )
        self._accepted = 0
        self._idle: list[Party] = []
        self._skew = 0.0

    def wall(self) -> float:
        """The wall clock."""
        return float(EPOCH + self.reactor.seconds() + self._skew)

    def set_clock(self, seconds: float) -> None:
        """Move the wall clock alone."""
        self._skew += seconds

    def get(self, path: bytes = b"/", *fields: bytes, method: bytes = b"GET", client: Party | None = None) -> Party:
        """A client's request (on a connection of its own, where none is given)."""
        lines = b"".join(b"%b\r\n" % field for field in (b"Host: test", *fields))
        data = b"%b %b HTTP/1.1\r\n%b\r\n" % (method, path, lines)
        if client is None:
            return self.client(data)
        client.received = b""
        self.send(client, data)
        return client

    def origin(self) -> Party:
        """The backend's connection with the request that came last, of which there must be one; what it received is
        there to be looked at."""
        for party in self._idle:
            if party.received:
                return party
        while self._accepted < len(self.connects):
            party = self.accept(self._accepted)
            self._accepted += 1
            self._idle.append(party)
            if party.received:
                return party
        raise AssertionError("no request came to a backend")

    @property
    def asked(self) -> int:
        """Requests that wait at backends, or on the way to them."""
        while self._accepted < len(self.connects):
            self._idle.append(self.accept(self._accepted))
            self._accepted += 1
        return sum(bool(party.received) for party in self._idle)

    def answer(self, *fields: bytes, body: bytes = b"", status: bytes = b"200 OK", sized: bool = True) -> bytes:
        """The backend answers; the request it had."""
        party = self.origin()
        request, party.received = party.received, b""
        lines = b"".join(b"%b\r\n" % field for field in fields)
        length = b"Content-Length: %d\r\n" % len(body) if sized else b""
        self.send(party, b"HTTP/1.1 %b\r\n%b%b\r\n%b" % (status, lines, length, body))
        return request

    def date(self, ago: float = 0.0) -> bytes:
        """A Date field."""
        from email.utils import formatdate

        return b"Date: " + formatdate(self.wall() - ago, usegmt=True).encode("ascii")
