"""Which route takes a TLS client, by the name (SNI) and the protocols (ALPN) in its ClientHello.

1. name: exact, then the longest ``*.`` suffix, then routes without ``sni``; clients without a name meet those with
   ``sni = [""]``, then those without ``sni``;
2. of those for one name: routes with ``alpn``, then routes without;
3. the order of the file.

A wildcard stands for one *or more* labels, as in routes of mode http: a certificate's stands for one (RFC 6125 section
6.4.3), but a route only chooses who is to show a certificate. Names are looked up in dictionaries, so that a client
costs the same with ten routes and with a thousand. Nothing here reads a ClientHello or knows an upstream.
"""

from collections.abc import Iterable, Sequence

from balancer.core.client_hello import ClientHello
from balancer.core.route_spec import RouteSpec, checked_sni
from balancer.core.routing import Route

UNRECOGNIZED_NAME = 112
"""An alert (RFC 6066 section 3): there is no server of that name here."""

MISSING_EXTENSION = 109
"""An alert (RFC 8446 section 9.2): a name has to be asked for."""

NO_APPLICATION_PROTOCOL = 120
"""An alert (RFC 7301 section 3.2): the name is known, and for other protocols."""


class _Choice:
    """A route and the protocols it is for; none for all."""

    __slots__ = ("protocols", "route")

    def __init__(self, route: Route) -> None:
        self.route = route
        self.protocols = frozenset(name.encode("ascii") for name in route.spec.alpn)

    def takes(self, offered: Sequence[bytes]) -> bool:
        return not self.protocols or not self.protocols.isdisjoint(offered)


class SniTable:
    """The routes of one listener, compiled; it never changes, a new configuration makes a new one.

    :param specs: the routes in the order of the file.
    """

    def __init__(self, specs: Iterable[RouteSpec]) -> None:
        self._any: list[_Choice] = []
        self._exact: dict[bytes, list[_Choice]] = {}
        self._wild: dict[bytes, list[_Choice]] = {}
        self.routes = tuple(Route(spec) for spec in specs)
        # The sort is stable, so that equals keep the order of the file.
        for route in sorted(self.routes, key=lambda route: not route.spec.alpn):
            choice = _Choice(route)
            if not (route.spec.name or route.spec.sni or route.spec.alpn):
                route.name = "*"
            if not route.spec.sni:
                self._any.append(choice)
            for name in map(checked_sni, route.spec.sni):
                table = self._wild if name.startswith("*.") else self._exact
                table.setdefault(name.removeprefix("*.").encode("ascii"), []).append(choice)

    def __repr__(self) -> str:
        return f"<SniTable of {len(self.routes)} routes>"

    def match(self, hello: ClientHello) -> Route | None:
        """Return the route that takes the client, or None."""
        for choices in self._choices(hello.name):
            for choice in choices:
                if choice.takes(hello.protocols):
                    return choice.route
        return None

    def refusal(self, hello: ClientHello) -> tuple[int, str]:
        """The alert and the words for a client that no route takes, where nobody else does."""
        outer = " (the outer name of an Encrypted Client Hello)" if hello.encrypted else ""
        name = hello.name.decode("ascii")
        if any(self._choices(hello.name)):
            offered = ", ".join(protocol.decode("ascii", "backslashreplace") for protocol in hello.protocols) or "none"
            whom = f'"{name}"{outer}' if name else "clients without a server name"
            return NO_APPLICATION_PROTOCOL, f"no route for {whom} takes the protocols that are offered: {offered}"
        if not name:
            return MISSING_EXTENSION, "the client asks for no server name, and no route takes such clients"
        return UNRECOGNIZED_NAME, f'no route for the server name "{name}"{outer}'

    def _choices(self, name: bytes) -> list[list[_Choice]]:
        """What there is for a name, most exact first."""
        found = []
        exact = self._exact.get(name)
        if exact is not None:
            found.append(exact)
        if self._wild:
            dot = name.find(b".")
            while dot >= 0:
                wild = self._wild.get(name[dot + 1 :])
                if wild is not None and dot > 0:
                    found.append(wild)
                dot = name.find(b".", dot + 1)
        if self._any:
            found.append(self._any)
        return found


def shadowed_names(specs: Sequence[RouteSpec]) -> list[tuple[int, int]]:
    """Return ``(later, earlier)`` index pairs of routes with a name of which the later never gets a client."""
    seen: dict[object, int] = {}
    pairs = []
    for index, spec in enumerate(specs):
        keys: list[tuple[str | None, frozenset[str]]]
        keys = [(name, frozenset(spec.alpn)) for name in map(checked_sni, spec.sni)] or [(None, frozenset(spec.alpn))]
        taken = next((seen[key] for key in keys if key in seen), None)
        if taken is not None:
            pairs.append((index, taken))
        for key in keys:
            seen.setdefault(key, index)
    return pairs
