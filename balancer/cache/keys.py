"""What a stored response is found by: the URI that purges name, and whatever else requests are told apart by.

A key is finer than what a backend sees or equal to it, never coarser, save where the settings say so: escapes, case
and empty segments of a path stay as received. Of arguments that the settings leave out of the key, those stay in it
that some backends would read as another one. It never looks anything up.
"""

from hashlib import blake2b
from typing import Final
from urllib.parse import unquote_to_bytes

from balancer.cache.messages import Request
from balancer.cache.policy import KeyPolicy
from balancer.core.headers import FOLD

_PORTS: Final = {b"http": b":80", b"https": b":443"}
_CONTENT_FIELDS: Final = (b"content-type", b"content-encoding", b"content-language")


def uri_of(scheme: bytes, host: bytes, path: bytes, query: bytes | None) -> bytes:
    """A URI as keys, purges and invalidations have it.

    :param host: lower case, perhaps with a port; the scheme's own is left out.
    :param path: as received; an empty one is ``/``.
    """
    port = _PORTS.get(scheme)
    if port is not None and host.endswith(port):
        host = host[: -len(port)]
    uri = scheme + b"://" + host + (path or b"/")
    if query is not None:
        uri += b"?" + query
    # A key's URI ends at the first line feed. The gate lets none through; a program's request may have one.
    return uri if b"\n" not in uri else uri.replace(b"\n", b"%0A")


class KeyMaker:
    """Makes the keys of one cache.

    :param namespace: the cache's name: several caches share a store.
    :param scheme: of the URIs that the listener's requests ask for.
    """

    __slots__ = ("_cookies", "_exclude", "_headers", "_host", "_include", "_query", "_rest", "_scheme", "_sort")

    def __init__(self, policy: KeyPolicy, namespace: bytes, scheme: bytes) -> None:
        self._scheme = scheme
        self._rest = b"\n" + namespace
        self._host = policy.host
        self._query = policy.query
        self._sort = policy.sort_query
        self._include = NamePatterns(tuple([_folded_pattern(name) for name in policy.include_query]))
        self._exclude = NamePatterns(policy.exclude_query)
        self._headers = [name.encode("ascii") for name in policy.headers]
        self._cookies = [name.encode("utf-8") for name in policy.cookies]

    def uri(self, request: Request) -> bytes:
        """The URI a request asks for, with only what counts of its query; purges name it so."""
        return self._uri(self._scheme, request.host, request.path, request.query)

    def normal(self, uri: bytes) -> bytes:
        """A whole URI (of a purge or an invalidation) as :meth:`uri` would have it."""
        scheme, _, rest = uri.partition(b"://")
        before, mark, query = rest.partition(b"?")
        host, slash, path = before.partition(b"/")
        return self._uri(scheme.lower(), host.lower(), slash + path, query if mark else None)

    def key(self, request: Request, content: bytes = b"") -> bytes:
        """The key a request's responses are stored under.

        :param content: the content of a QUERY, which is part of what it asks for.
        """
        key = self.uri(request) + self._rest
        if self._headers:
            for name in self._headers:
                key += _told(request.get_all(name))
        if self._cookies:
            cookies = cookie_pairs(request)
            for name in self._cookies:
                key += _told([value for other, value in cookies if other == name])
        if request.method == b"QUERY":
            key += b"\nQUERY " + _digest(request, content)
        return key

    def _uri(self, scheme: bytes, host: bytes, path: bytes, query: bytes | None) -> bytes:
        if query is not None and (not self._query or self._include or self._exclude or self._sort):
            query = self._counted(query)
        return uri_of(scheme, host if self._host else b"", path, query)

    def _counted(self, query: bytes) -> bytes | None:
        """What counts of a query; ``None`` where nothing does."""
        if not self._query:
            return None
        counted = [argument for argument in query.split(b"&") if self._counts(argument)]
        if self._sort:
            counted.sort(key=argument_name)
        return b"&".join(counted) if counted else None

    def _counts(self, argument: bytes) -> bool:
        if not self._include and not self._exclude:
            return True
        # Some servers end an argument at ";" too, so this may be several.
        if b";" in argument:
            return True
        name = argument_name(argument)
        if self._exclude.match(name):
            return False
        return not self._include or self._include.match(_folded(name))


class NamePatterns:
    """Names, some of which end in ``*`` and stand for all that begin so. Case counts."""

    __slots__ = ("_names", "_prefixes")

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._names = frozenset(name.encode("utf-8") for name in patterns if not name.endswith("*"))
        self._prefixes = tuple(name[:-1].encode("utf-8") for name in patterns if name.endswith("*"))

    def __bool__(self) -> bool:
        return bool(self._names) or bool(self._prefixes)

    def match(self, name: bytes) -> bool:
        """Whether this is one of them."""
        return name in self._names or (bool(self._prefixes) and name.startswith(self._prefixes))


def cookie_pairs(request: Request) -> list[tuple[bytes, bytes]]:
    """Name and value of every cookie a request brings, in order (RFC 6265 section 5.4)."""
    return [
        (name.strip(b" \t"), value.strip(b" \t"))
        for line in request.get_all(b"cookie")
        for name, _, value in [pair.partition(b"=") for pair in line.split(b";")]
    ]


def argument_name(argument: bytes) -> bytes:
    """The name of one argument of a query, decoded."""
    name = argument.partition(b"=")[0]
    return unquote_to_bytes(name.replace(b"+", b" ")) if b"%" in name or b"+" in name else name


def _folded(name: bytes) -> bytes:
    """A name as careless servers read it: without case, white space around it, an index (PHP's ``id[x]``) or what
    follows a zero, with one character for all that is no letter or digit. What may be one of the names is."""
    return name.partition(b"[")[0].partition(b"\x00")[0].strip().translate(FOLD)


def _folded_pattern(name: str) -> str:
    beginning = name.removesuffix("*")
    return _folded(beginning.encode("utf-8")).decode("ascii") + name[len(beginning) :]


def _told(values: list[bytes]) -> bytes:
    """Values so that no two lists of them look the same."""
    return b"\n" + b"".join([b"%d:%b" % (len(value), value) for value in values])


def _digest(request: Request, content: bytes) -> bytes:
    """Of a QUERY's content and what it is to be read by."""
    digest = blake2b(digest_size=32)
    for name in _CONTENT_FIELDS:
        digest.update(_told(request.get_all(name)))
    digest.update(b"\n")
    digest.update(content)
    return digest.hexdigest().encode("ascii")
