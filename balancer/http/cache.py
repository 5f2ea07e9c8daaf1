"""One cache: its settings and store, what is being fetched for it, what turned out not to be worth waiting for.

Here requests for the same thing meet. What a request is answered is told in :mod:`balancer.http.cached`, how the origin
is asked in :mod:`balancer.http.fetch`, and all that HTTP says about caching is decided in :mod:`balancer.cache`. It
never sends anything.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from random import Random
from typing import TYPE_CHECKING

from balancer.cache.keys import KeyMaker
from balancer.cache.policy import CachePolicy
from balancer.cache.purges import Purge
from balancer.cache.status import hit
from balancer.http.part import Parts
from balancer.interfaces import ICacheStore

if TYPE_CHECKING:
    from twisted.internet.defer import Deferred

    from balancer.cache.asked import Asked
    from balancer.http.fetch import Fetch
    from balancer.http1.heads import RequestHead

PASSED = 10000
"""Keys remembered of which the response may not be stored; what is forgotten is collapsed once more."""

EXAMINED = 32
"""Fetches of one key, the latest, that a request may join: a URL that varies much may have thousands under way."""

REASONS = 64
"""Reasons counted apart; there are fewer, so this only bounds a mistake."""


class Counters:
    """What happened so far.

    :ivar hits: fresh responses sent from the store.
    :ivar bytes_saved: bytes of bodies that came from no server.
    :ivar others: everything else by name: ``stale``, ``collapsed``, ``revalidated``, ``miss: uri-miss``, …
    """

    __slots__ = ("bytes_saved", "hits", "others")

    def __init__(self) -> None:
        self.hits = 0
        self.bytes_saved = 0
        self.others: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"<Counters {self.figures()}>"

    def hit(self, size: int) -> None:
        """A fresh response of that size was sent."""
        self.hits += 1
        self.bytes_saved += size

    def save(self, size: int) -> None:
        """So many bytes came from no server."""
        self.bytes_saved += size

    def count(self, name: str) -> None:
        """Once more."""
        if name == "hit":
            self.hits += 1
            return
        others = self.others
        if name not in others and len(others) >= REASONS:
            name = "other"
        others[name] = others.get(name, 0) + 1

    def figures(self) -> dict[str, int]:
        """All of them by name."""
        return {"hit": self.hits, "bytes saved": self.bytes_saved, **self.others}


class Cache:
    """See the module.

    :param name: as configured: it is a part of the keys.
    :param wall: seconds since the epoch.
    :param counters: those of the cache it replaces.
    :ivar counters: what happened so far.
    :ivar secret: what the boundaries of multipart answers are made from.
    :ivar parts: what is held of partial responses on their way.
    :ivar sharing: all caches of the same store, this one included: a purge is of the store.
    :ivar label: its name as Cache-Status has it; empty where that field is left out.
    """

    __slots__ = (
        "_fetches", "_keys", "_passed", "counters", "label", "name", "parts", "policy", "random", "secret", "sharing",
        "store", "wall",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        policy: CachePolicy,
        store: ICacheStore,
        wall: Callable[[], float],
        random: Random,
        counters: Counters | None = None,
    ) -> None:
        self.name = name
        self.policy = policy
        self.label = hit(policy.name, 0).partition(b"; hit")[0] if policy.name else b""
        self.store = store
        self.wall = wall
        self.random = random
        self.secret = random.randbytes(16)
        self.counters = Counters() if counters is None else counters
        self.sharing: Sequence[Cache] = (self,)
        self.parts = Parts()
        self._keys: dict[bytes, KeyMaker] = {}
        self._fetches: dict[bytes, dict[Fetch, None]] = {}
        self._passed: dict[bytes, float] = {}

    def __repr__(self) -> str:
        return f"<Cache {self.name} in {self.policy.store} fetches={len(self._fetches)}>"

    @property
    def fetching(self) -> int:
        """Things that are being fetched now."""
        return sum(len(fetches) for fetches in self._fetches.values())

    def keys(self, scheme: bytes) -> KeyMaker:
        """What makes the keys of requests that come by this scheme."""
        maker = self._keys.get(scheme)
        if maker is None:
            maker = self._keys[scheme] = KeyMaker(self.policy.key, self.name.encode("ascii"), scheme)
        return maker

    # -- what is being fetched ----------------------------------------------------------------------------------------

    def under_way(self, key: bytes, asked: "Asked", head: "RequestHead") -> "Fetch | None":
        """A fetch that may answer this request too."""
        limit = self.policy.followers
        fetches = self._fetches.get(key)
        if fetches is None:
            return None
        for fetch in islice(reversed(fetches), EXAMINED):
            if (not limit or fetch.followers <= limit) and fetch.may_answer(asked, head):
                return fetch
        return None

    def alone(self, key: bytes, asked: "Asked", now: float) -> bool:
        """Whether such a request waits for nobody and nobody for it."""
        if not self.policy.collapse or asked.authorized:
            return True
        until = self._passed.get(key)
        if until is None:
            return False
        if now < until:
            return True
        del self._passed[key]
        return False

    def began(self, fetch: "Fetch") -> None:
        """It may be joined."""
        self._fetches.setdefault(fetch.key, {})[fetch] = None

    def ended(self, fetch: "Fetch") -> None:
        """It may be joined no more; nothing happens where it could not be."""
        fetches = self._fetches.get(fetch.key)
        if fetches is not None and fetch in fetches:
            del fetches[fetch]
            if not fetches:
                del self._fetches[fetch.key]

    def pass_by(self, key: bytes, now: float, seconds: float) -> None:
        """The response may not be stored: for a while nobody waits for another's (hit-for-miss, as in Varnish)."""
        if seconds:
            self._passed.pop(key, None)
            while len(self._passed) >= PASSED:
                del self._passed[next(iter(self._passed))]
            self._passed[key] = now + seconds

    def stored(self, key: bytes) -> None:
        """The response could be stored."""
        self._passed.pop(key, None)

    # -- purging ------------------------------------------------------------------------------------------------------

    def purge_url(self, uri: bytes, soft: bool = False) -> "int | Deferred[int]":
        """Remove everything stored under this URI (``scheme://host/path?query``), at once.

        :param soft: it becomes stale instead: it is validated before it is used, and may be sent where servers fail.
        :returns: how many responses there were.
        """
        uri = self.keys(uri.partition(b"://")[0].lower()).normal(uri)
        for cache in self.sharing:
            for key in [key for key in cache._fetches if key.partition(b"\n")[0] == uri]:
                cache._spoil(key)
        self.counters.count("purge")
        removed: int | Deferred[int] = self.store.remove(uri, soft)
        return removed

    def purge_prefix(self, prefix: bytes, soft: bool = False) -> None:
        """Purge every URI that begins like this."""
        self._purge(Purge(kind="prefix", what=prefix, soft=soft))

    def purge_host(self, host: bytes, soft: bool = False) -> None:
        """Purge everything of a host (lower case; with its port, where that is not the scheme's default)."""
        self._purge(Purge(kind="host", what=host, soft=soft))

    def purge_tags(self, *tags: bytes, soft: bool = False) -> None:
        """Purge every response with one of these surrogate keys."""
        for tag in tags:
            self._purge(Purge(kind="tag", what=tag, soft=soft))

    def purge_all(self, soft: bool = False) -> None:
        """Purge everything in the store, that of other caches in it included."""
        self._purge(Purge(kind="all", soft=soft))

    def _purge(self, purge: Purge) -> None:
        """What is under way began before it: nobody joins it any more, and the store does not keep what it meets."""
        self.counters.count("purge")
        for cache in self.sharing:
            cache._fetches.clear()
        self.store.purge(purge)

    def invalidate(self, uris: "Sequence[bytes]") -> None:
        """An unsafe method changed what is there (RFC 9111 section 4.4)."""
        for uri in uris:
            self.counters.count("invalidated")
            self.purge_url(uri)

    def _spoil(self, key: bytes) -> None:
        for fetch in self._fetches.pop(key, ()):
            fetch.spoil()

    def figures(self) -> Mapping[str, int]:
        """The counters of the cache and, with ``store: `` before them, those of its store."""
        return {**self.counters.figures(), **{f"store: {name}": value for name, value in self.store.counters.items()}}
