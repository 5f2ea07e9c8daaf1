"""Which route takes a request: host, path, method, fields, in a fixed order of precedence.

1. host: exact, then the longest ``*.`` suffix, then routes without a host;
2. path: exact, then the longest prefix, then regular expressions in file order, then any;
3. of those for one host and path, the one with more conditions (methods count as one, each field as one);
4. the order of the file.

The first route in this order *all* of whose conditions hold takes the request; a host of its own does not
hide the routes without one. Host and path are looked up in dictionaries, so a request costs the same with
ten routes and with a thousand; only regular expressions of one host, and routes that differ in nothing but
method and fields, are tried one after the other.

Nothing here changes a path, reads configuration or knows an upstream: names go in, a name comes out.
"""

import operator
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from ipaddress import IPv6Address
from itertools import accumulate
from random import Random

from balancer.core.paths import readings
from balancer.core.route_spec import HeaderCondition, HeaderPattern, RouteSpec, checked_field_name, checked_host
from balancer.errors import RequestRefused

FieldLookup = Callable[[bytes], Sequence[bytes]]
"""From a field's name in lower case to its values, in order; empty when there is none."""

_LONGEST_HOST = 255  # octets of a domain name (RFC 1035 section 2.3.4); a longer one only meets routes without a host


def host_key(host: bytes) -> bytes:
    """Return a Host's value, already in lower case, as routes compare it: no port, no trailing dot.

    An IPv6 literal keeps its brackets and gets its shortest form (RFC 5952).
    """
    if host.startswith(b"["):
        literal = host[1 : host.find(b"]")]
        try:
            return b"[%b]" % str(IPv6Address(literal.decode("ascii"))).encode("ascii")
        except ValueError:
            return host
    return host.partition(b":")[0].removesuffix(b".")


def _condition(wanted: HeaderCondition) -> Callable[[Sequence[bytes]], bool]:
    if isinstance(wanted, HeaderPattern):
        return partial(_any_matches, re.compile(wanted.regex.encode("ascii"), re.DOTALL))
    if isinstance(wanted, str):
        return partial(_any_equals, wanted.encode("utf-8"))
    return bool if wanted else operator.not_


def _any_equals(wanted: bytes, values: Sequence[bytes]) -> bool:
    return wanted in values


def _any_matches(pattern: re.Pattern[bytes], values: Sequence[bytes]) -> bool:
    return any(pattern.fullmatch(value) is not None for value in values)


class Route:
    """A compiled route.

    :ivar spec: the settings it was made from.
    :ivar name: the name for logs and metrics.
    :ivar conditions: how many conditions it has beyond host and path.
    """

    __slots__ = ("_bounds", "_headers", "_methods", "_names", "conditions", "name", "spec")

    def __init__(self, spec: RouteSpec) -> None:
        self.spec = spec
        self.name = spec.name or str(spec)
        self._methods = frozenset(method.encode("ascii") for method in spec.methods)
        self._headers = tuple(
            (checked_field_name(name).encode("ascii"), _condition(wanted)) for name, wanted in spec.headers.items()
        )
        self.conditions = bool(self._methods) + len(self._headers)
        self._names = spec.upstreams
        self._bounds = list(accumulate(spec.split.values()))

    def __repr__(self) -> str:
        return f"<Route {self.name!r} to {', '.join(self._names)}>"

    def accepts(self, method: bytes, lookup: FieldLookup) -> bool:
        """Whether the conditions beyond host and path hold."""
        if self._methods and method not in self._methods:
            return False
        for name, holds in self._headers:  # noqa: SIM110 - most routes have none, and a generator costs a frame
            if not holds(lookup(name)):
                return False
        return True

    @property
    def draws(self) -> bool:
        """Whether :meth:`choose` draws among several."""
        return bool(self._bounds)

    def choose(self, random: Random) -> str:
        """Return the name of the upstream for one request, drawn by weight if there are several."""
        if not self._bounds:
            return self._names[0]
        return self._names[bisect_right(self._bounds, random.randrange(self._bounds[-1]))]


class _Segment:
    """A node of the tree of prefixes: one path segment, its routes in order, and what may follow."""

    __slots__ = ("following", "routes")

    def __init__(self) -> None:
        self.routes: list[Route] = []
        self.following: dict[bytes, _Segment] = {}

    def grow(self, path: bytes) -> "_Segment":
        node = self
        for segment in path.split(b"/")[1:]:
            node = node.following.setdefault(segment, _Segment())
        return node

    def depth(self) -> int:
        return max((1 + node.depth() for node in self.following.values()), default=0)


class _Paths:
    """The routes of one host, by path."""

    __slots__ = ("_depth", "_exact", "_patterns", "_prefixes")

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact: dict[bytes, list[Route]] = {}
        self._prefixes = _Segment()  # the root's own routes are those for any path
        patterns: dict[str, list[Route]] = {}
        for route in routes:
            spec = route.spec
            if spec.path is not None:
                self._exact.setdefault(spec.path.encode("utf-8"), []).append(route)
            elif spec.path_regex is not None:
                patterns.setdefault(spec.path_regex, []).append(route)
            else:
                self._prefixes.grow((spec.path_prefix or "").rstrip("/").encode("utf-8")).routes.append(route)
        self._patterns = [(re.compile(text.encode("ascii"), re.DOTALL), found) for text, found in patterns.items()]
        self._depth = self._prefixes.depth()

    def find(self, method: bytes, path: bytes, lookup: FieldLookup) -> Route | None:
        """Return the first route in order of precedence whose conditions hold."""
        for route in self._exact.get(path, ()):
            if route.accepts(method, lookup):
                return route
        node = self._prefixes
        longest_first = []
        # No deeper than the deepest prefix, so a path of a thousand segments costs no more than a short one.
        for segment in path.split(b"/", self._depth + 1)[1 : self._depth + 1]:
            following = node.following.get(segment)
            if following is None:
                break
            node = following
            longest_first.append(node)
        for node in reversed(longest_first):
            for route in node.routes:
                if route.accepts(method, lookup):
                    return route
        for pattern, routes in self._patterns:
            if pattern.fullmatch(path) is not None:
                for route in routes:
                    if route.accepts(method, lookup):
                        return route
        for route in self._prefixes.routes:
            if route.accepts(method, lookup):
                return route
        return None


class RouteTable:
    """The routes of one listener, compiled; it never changes, a new configuration makes a new one."""

    def __init__(self, specs: Iterable[RouteSpec]) -> None:
        """:param specs: the routes in the order of the file."""
        self.routes = tuple(Route(spec) for spec in specs)
        by_host: dict[str | None, list[Route]] = {}
        for route in self.routes:
            host = route.spec.host
            by_host.setdefault(None if host is None else checked_host(host), []).append(route)
        self._any = _Paths(_ranked(by_host.pop(None, [])))
        self._exact: dict[bytes, _Paths] = {}
        self._wild: dict[bytes, _Paths] = {}
        for name, routes in by_host.items():
            assert name is not None
            hosts = self._wild if name.startswith("*.") else self._exact
            hosts[name.removeprefix("*.").encode("ascii")] = _Paths(_ranked(routes))

    def __repr__(self) -> str:
        return f"<RouteTable of {len(self.routes)} routes>"

    def match(self, method: bytes, host: bytes, path: bytes, lookup: FieldLookup) -> Route | None:
        """Return the route that takes the request, or None.

        :param host: the Host in lower case, with or without a port; empty if there was none.
        :param path: the path as received and as it will be forwarded, without the query.
        :param lookup: the request's fields by lower-case name (``RequestHead.get_all``).
        :raises RequestRefused: 400; servers in use would read the path in ways that take different routes.
        """
        candidates = self._hosts(host)
        first, *others = readings(path)
        route = _find(candidates, method, first, lookup)
        for other in others:
            if _find(candidates, method, other, lookup) is not route:
                raise RequestRefused(
                    400,
                    "the path is ambiguous: read with its escapes, parameters or empty segments resolved, "
                    "it belongs to another route",
                    "RFC 3986 section 6.2.2",
                )
        return route

    def _hosts(self, host: bytes) -> list[_Paths]:
        """The tables for a host, most exact first."""
        tables = []
        if self._exact or self._wild:
            name = host_key(host)
            exact = self._exact.get(name)
            if exact is not None:
                tables.append(exact)
            if self._wild and len(name) <= _LONGEST_HOST:
                dot = name.find(b".")
                while dot >= 0:
                    wild = self._wild.get(name[dot + 1 :])
                    if wild is not None and dot > 0:
                        tables.append(wild)
                    dot = name.find(b".", dot + 1)
        tables.append(self._any)
        return tables


def _ranked(routes: list[Route]) -> list[Route]:
    """More conditions first; the sort is stable, so equals keep the order of the file.

    Regular expressions are the exception between *different* ones, which file order decides.
    """
    first_use: dict[str | None, int] = {}
    for place, route in enumerate(routes):
        first_use.setdefault(route.spec.path_regex, place)
    return sorted(routes, key=lambda route: (first_use[route.spec.path_regex], -route.conditions))


def _find(candidates: list[_Paths], method: bytes, path: bytes, lookup: FieldLookup) -> Route | None:
    for paths in candidates:
        route = paths.find(method, path, lookup)
        if route is not None:
            return route
    return None


def shadowed(specs: Sequence[RouteSpec]) -> list[tuple[int, int]]:
    """Return ``(later, earlier)`` index pairs of routes that match the same, so that the later never gets a request."""
    seen: dict[object, int] = {}
    pairs = []
    for index, spec in enumerate(specs):
        prefix = None if spec.path_prefix is None else spec.path_prefix.rstrip("/") or None
        headers = frozenset((name.lower(), wanted) for name, wanted in spec.headers.items())
        host = None if spec.host is None else checked_host(spec.host)
        key = (host, spec.path, prefix, spec.path_regex, frozenset(spec.methods), headers)
        if key in seen:
            pairs.append((index, seen[key]))
        seen.setdefault(key, index)
    return pairs
