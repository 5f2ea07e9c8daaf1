"""Which keys there are under a URI, without a list of them for each URI.

A key is a URI and a rest, and nearly all keys of a store have one of a few rests (one for each cache). So a few common
rests are counted, and the keys of a URI are found by trying each of them; only keys with other rests are listed. It
never keeps a response.
"""

from collections.abc import Container
from typing import Final

from balancer.cache.purges import uri_of_key

MAX_COMMON: Final = 32
"""Rests that are tried for each URI."""

MAX_LISTED: Final = 4096
"""Keys that are listed for one URI (one for each body of a QUERY, for example). For one more the oldest has to leave,
so that an invalidation, which removes all of them at once, takes some 20 ms at most."""

LISTED_COST: Final = 400
"""Bytes that a key takes which is listed: most of it is the two tables it is in, where it is alone there."""


class Uris:
    """See the module."""

    __slots__ = ("_common", "_listed")

    def __init__(self) -> None:
        self._common: dict[bytes, int] = {}
        self._listed: dict[bytes, dict[bytes, None]] = {}

    def add(self, key: bytes) -> int:
        """There is a new key; bytes of memory that takes."""
        uri = uri_of_key(key)
        rest = key[len(uri) :]
        count = self._common.get(rest, 0)
        if count or len(self._common) < MAX_COMMON:
            self._common[rest] = count + 1
            return 0
        self._listed.setdefault(uri, {})[key] = None
        return LISTED_COST

    def excess(self, key: bytes) -> bytes:
        """The key that has to leave, after this one was added; empty for none."""
        listed = self._listed.get(uri_of_key(key)) if self._listed else None
        return next(iter(listed)) if listed is not None and len(listed) > MAX_LISTED else b""

    def discard(self, key: bytes) -> None:
        """A key is not there any more."""
        uri = uri_of_key(key)
        if self._listed:
            listed = self._listed.get(uri)
            if listed is not None and key in listed:
                del listed[key]
                if not listed:
                    del self._listed[uri]
                return
        rest = key[len(uri) :]
        count = self._common[rest] - 1
        if count:
            self._common[rest] = count
        else:
            del self._common[rest]

    def keys(self, uri: bytes, there: Container[bytes]) -> list[bytes]:
        """The keys under a URI, of those that are there."""
        tried = [uri + rest for rest in self._common]
        return [key for key in tried if key in there] + list(self._listed.get(uri, ()))
