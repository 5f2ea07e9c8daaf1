"""Routes by the name and the protocols in a ClientHello."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.client_hello import ClientHello
from balancer.core.route_spec import RouteSpec
from balancer.core.sni import (
    MISSING_EXTENSION,
    NO_APPLICATION_PROTOCOL,
    UNRECOGNIZED_NAME,
    SniTable,
    shadowed_names,
)


def hello(name: str, *protocols: str, encrypted: bool = False) -> ClientHello:
    return ClientHello(name.encode(), tuple(map(str.encode, protocols)), encrypted)


def route(to: str, *sni: str, alpn: tuple[str, ...] = ()) -> RouteSpec:
    return RouteSpec(sni=sni, alpn=alpn, to=to)


TABLE = SniTable(
    [
        route("any"),
        route("wild", "*.example.com"),
        route("h2", "*.example.com", alpn=("h2",)),
        route("deep", "*.a.example.com"),
        route("exact", "www.example.com", "Shop.Example.COM."),
        route("nameless", ""),
        route("acme", alpn=("acme-tls/1",)),
    ]
)


class TableTests(SynchronousTestCase):
    """Which route it is."""

    def taken(self, name: str, *protocols: str) -> str | None:
        found = TABLE.match(hello(name, *protocols))
        return found.spec.to if found else None

    def test_precedence(self) -> None:
        """Exact, then the longest wildcard, then any; with protocols before without."""
        self.assertEqual(self.taken("www.example.com", "h2"), "exact")
        self.assertEqual(self.taken("shop.example.com"), "exact")
        self.assertEqual(self.taken("x.example.com"), "wild")
        self.assertEqual(self.taken("x.y.example.com", "http/1.1"), "wild")
        self.assertEqual(self.taken("x.example.com", "http/1.1", "h2"), "h2")
        self.assertEqual(self.taken("x.a.example.com", "h2"), "deep")
        self.assertEqual(self.taken("example.com"), "any")
        self.assertEqual(self.taken("elsewhere.test", "acme-tls/1"), "acme")

    def test_no_name(self) -> None:
        """Clients without a name have a route of their own, or those for any."""
        self.assertEqual(self.taken(""), "nameless")
        self.assertIsNone(SniTable([route("a", "a.example")]).match(hello("")))

    def test_odd_names(self) -> None:
        """A name that is only a suffix, or begins with a dot, is no label before it."""
        self.assertEqual(self.taken(".example.com"), "any")
        self.assertEqual(self.taken("." * 255), "any")

    def test_names_of_routes(self) -> None:
        """What a route is called where it was not named."""
        self.assertEqual(
            [r.name for r in TABLE.routes][:4], ["*", "*.example.com", "*.example.com h2", "*.a.example.com"]
        )
        self.assertEqual(
            [r.name for r in TABLE.routes][4:], ["www.example.com,Shop.Example.COM.", '""', "* acme-tls/1"]
        )
        self.assertEqual(repr(TABLE), "<SniTable of 7 routes>")


LABELS = st.sampled_from(("a", "b", "c"))
NAMES = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PROTOCOLS = st.lists(st.sampled_from(("h2", "x")), max_size=2, unique=True).map(tuple)
ROUTES = st.lists(
    st.tuples(st.lists(NAMES | NAMES.map("*.".__add__) | st.just(""), max_size=2).map(tuple), PROTOCOLS), max_size=8
)


def plainly(routes: list[tuple[tuple[str, ...], tuple[str, ...]]], name: str, offered: tuple[str, ...]) -> int | None:
    """The rules word by word: the best of all that match."""

    def rank(sni: str | None) -> int | None:
        """How exact a name is, the smallest first."""
        if sni is None:
            return 1000
        if sni == name:
            return 0
        return 500 - len(sni) if sni.startswith("*.") and name.endswith(sni[1:]) else None

    matching = [
        (place, not protocols, index)
        for index, (names, protocols) in enumerate(routes)
        if not protocols or set(protocols) & set(offered)
        for place in map(rank, names or (None,))
        if place is not None
    ]
    return min(matching)[2] if matching else None


class LawTests(SynchronousTestCase):
    """The table and the rules."""

    @given(ROUTES, NAMES | st.just(""), PROTOCOLS)
    def test_the_table_is_the_rules(
        self, routes: list[tuple[tuple[str, ...], tuple[str, ...]]], name: str, offered: tuple[str, ...]
    ) -> None:
        """Whatever the routes, a client meets the one that the rules name."""
        specs = [route(str(index), *names, alpn=protocols) for index, (names, protocols) in enumerate(routes)]
        found = SniTable(specs).match(hello(name, *offered))
        expected = plainly(routes, name, offered)
        self.assertEqual(found.spec.to if found else None, None if expected is None else str(expected))


class RefusalTests(SynchronousTestCase):
    """What a client is told that no route takes."""

    table = SniTable([route("a", "a.example", alpn=("h2",))])

    def test_no_such_name(self) -> None:
        """unrecognized_name; with ECH it is said that the name is the outer one."""
        self.assertIsNone(self.table.match(hello("b.example", "h2")))
        self.assertEqual(
            self.table.refusal(hello("b.example")), (UNRECOGNIZED_NAME, 'no route for the server name "b.example"')
        )
        self.assertIn("outer", self.table.refusal(hello("b.example", encrypted=True))[1])

    def test_no_name(self) -> None:
        """missing_extension."""
        self.assertEqual(self.table.refusal(hello(""))[0], MISSING_EXTENSION)

    def test_other_protocols(self) -> None:
        """no_application_protocol, where the name alone would be right."""
        self.assertIsNone(self.table.match(hello("a.example", "http/1.1")))
        alert, words = self.table.refusal(hello("a.example", "http/1.1"))
        self.assertEqual(alert, NO_APPLICATION_PROTOCOL)
        self.assertIn('"a.example" takes the protocols that are offered: http/1.1', words)
        only = SniTable([route("a", alpn=("h2",))])
        self.assertIn("clients without a server name", only.refusal(hello(""))[1])


class SpecTests(SynchronousTestCase):
    """The keys."""

    def test_names_are_checked(self) -> None:
        """What is no name is refused, with what is allowed."""
        for wrong in ("*", "a.*.b", "*.", "a:443", "a b", "-x.example", "[::1]"):
            error = self.assertRaises(ValueError, route, "a", wrong)
            self.assertIn("is not a server name", str(error))
        self.assertRaises(ValueError, route, "a", "b", alpn=("",))

    def test_shadowed(self) -> None:
        """A name with the same protocols in an earlier route never gets there."""
        specs = [
            route("a", "x", "y"),
            route("b", "Y."),
            route("c", "y", alpn=("h2",)),
            route("d"),
            route("e"),
            route("f", ""),
        ]
        self.assertEqual(shadowed_names(specs), [(1, 0), (4, 3)])
