"""Which route takes a request."""

import re
from collections import Counter
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.paths import readings
from balancer.core.route_spec import HeaderPattern, RouteSpec
from balancer.core.routing import FieldLookup, RouteTable, host_key, shadowed
from balancer.errors import RequestRefused


def fields(**values: list[bytes]) -> FieldLookup:
    """A request's fields, by name with ``_`` for ``-``."""
    found = {name.replace("_", "-").encode(): value for name, value in values.items()}
    return lambda name: found.get(name, [])


NONE = fields()


class Asked:
    """A table and what it answers, by name of the upstream."""

    def __init__(self, *specs: RouteSpec) -> None:
        self.table = RouteTable(specs)

    def __call__(
        self, path: bytes = b"/", host: bytes = b"example.com", method: bytes = b"GET", lookup: FieldLookup = NONE
    ) -> str | None:
        route = self.table.match(method, host, path, lookup)
        return None if route is None else route.choose(Random(1))


class HostTests(SynchronousTestCase):
    def test_exact_before_longer_wildcard_before_any(self) -> None:
        """The most exact host wins, whatever the order of the file."""
        ask = Asked(
            RouteSpec(to="any"), RouteSpec(host="*.com", to="com"), RouteSpec(host="*.example.com", to="wild"),
            RouteSpec(host="a.example.com", to="exact"), RouteSpec(host="*.b.example.com", to="longer"),
        )  # fmt: skip
        for host, upstream in (
            (b"a.example.com", "exact"), (b"c.example.com", "wild"), (b"x.y.example.com", "wild"),
            (b"x.b.example.com", "longer"), (b"b.example.com", "wild"), (b"example.com", "com"), (b"com", "any"),
            (b"", "any"), (b"example.org", "any"),
        ):  # fmt: skip
            self.assertEqual(ask(host=host), upstream, host)

    def test_a_wildcard_is_never_the_name_itself(self) -> None:
        """``*.example.com`` stands for one or more labels before example.com, not for none."""
        ask = Asked(RouteSpec(host="*.example.com", to="wild"))
        self.assertIsNone(ask(host=b"example.com"))
        self.assertIsNone(ask(host=b"notexample.com"))
        self.assertEqual(ask(host=b"a.b.example.com"), "wild")

    def test_port_and_trailing_dot_do_not_count(self) -> None:
        """Spellings of one host take one route."""
        ask = Asked(RouteSpec(host="Example.com.", to="name"), RouteSpec(host="[2001:db8:0::1]", to="v6"),
                    RouteSpec(host="192.0.2.1", to="v4"))  # fmt: skip
        for host in (b"example.com", b"example.com:8080", b"example.com.", b"example.com.:80"):
            self.assertEqual(ask(host=host), "name", host)
        for host in (b"[2001:db8::1]", b"[2001:db8::1]:80", b"[2001:0db8:0:0::1]:80"):
            self.assertEqual(ask(host=host), "v6", host)
        self.assertEqual(ask(host=b"192.0.2.1:80"), "v4")
        self.assertEqual(host_key(b"[nonsense]:1"), b"[nonsense]:1")

    def test_a_host_of_its_own_does_not_hide_the_routes_without_one(self) -> None:
        """What no route of the host takes falls to the next less exact one."""
        ask = Asked(RouteSpec(host="a.com", path="/x", to="exact"), RouteSpec(host="*.com", path="/y", to="wild"),
                    RouteSpec(to="any"))  # fmt: skip
        self.assertEqual([ask(path, b"a.com") for path in (b"/x", b"/y", b"/z")], ["exact", "wild", "any"])

    def test_a_host_longer_than_any_name_costs_nothing(self) -> None:
        """A Host beyond 255 octets is looked up once and not label by label."""
        ask = Asked(RouteSpec(host="*.com", to="wild"), RouteSpec(to="any"))
        self.assertEqual(ask(host=b"a." * 4000 + b"com"), "any")


class PathTests(SynchronousTestCase):
    def test_exact_before_longer_prefix_before_regex_before_any(self) -> None:
        """The most exact path wins, whatever the order of the file; regular expressions go by file order."""
        ask = Asked(
            RouteSpec(to="any"), RouteSpec(path_regex="/r/.*", to="regex"), RouteSpec(path_regex="/r/a", to="later"),
            RouteSpec(path_prefix="/api", to="short"), RouteSpec(path_prefix="/api/v2/", to="long"),
            RouteSpec(path="/api/v2/x", to="exact"), RouteSpec(path_regex="/api/.*", to="regex under prefix"),
        )  # fmt: skip
        for path, upstream in (
            (b"/api/v2/x", "exact"), (b"/api/v2/y", "long"), (b"/api/v2", "long"), (b"/api/v2/", "long"),
            (b"/api/v22", "short"), (b"/api", "short"), (b"/api/", "short"), (b"/apix", "any"), (b"/ap", "any"),
            (b"/r/a", "regex"), (b"/r", "any"), (b"/", "any"), (b"*", "any"), (b"/API", "any"),
        ):  # fmt: skip
            self.assertEqual(ask(path), upstream, path)

    def test_a_regex_has_to_match_the_whole_path(self) -> None:
        """Neither a part of the path nor a line of it is enough."""
        ask = Asked(RouteSpec(path_regex=r"/[a-z]+\.png", to="images"))
        self.assertEqual(ask(b"/cat.png"), "images")
        self.assertIsNone(ask(b"/x/cat.png"))
        self.assertIsNone(ask(b"/cat.png.php"))

    def test_the_prefix_of_everything_is_no_condition(self) -> None:
        """A prefix of "/" ranks like no path at all, behind the regular expressions."""
        ask = Asked(RouteSpec(path_prefix="/", to="root"), RouteSpec(path_regex="/r", to="regex"))
        self.assertEqual([ask(b"/r"), ask(b"/x"), ask(b"*")], ["regex", "root", "root"])

    def test_escapes_are_read_before_the_path_is_compared(self) -> None:
        """A route is written decoded and meets every spelling of its characters."""
        ask = Asked(RouteSpec(path_prefix="/caf\u00e9", to="cafe"), RouteSpec(path="/v1/x:run", to="run"),
                    RouteSpec(path_prefix="/admin", to="admin"), RouteSpec(to="any"))  # fmt: skip
        for path, upstream in ((b"/caf%C3%A9/x", "cafe"), (b"/caf%c3%a9", "cafe"), (b"/v1/x%3Arun", "run"),
                               (b"/%61dmin/x", "admin"), (b"/%61%64min", "admin"), (b"/caf%E9", "any")):  # fmt: skip
            self.assertEqual(ask(path), upstream, path)

    def test_a_path_that_belongs_to_two_routes_is_refused(self) -> None:
        """No escape, parameter, backslash or empty segment gets a request past the route that guards its path."""
        ask = Asked(RouteSpec(path_prefix="/public", to="public"), RouteSpec(path_prefix="/admin", to="admin"),
                    RouteSpec(path="/login", to="login"), RouteSpec(to="any"))  # fmt: skip
        for path in (
            b"//admin", b"/;/admin", b"/;x/admin/y", b"/admin;x", b"/%2Fadmin", b"/%2fadmin/x", b"/admin%2fx",
            b"/admin%5cx", b"/login;jsessionid=1", b"//login", b"/%2561dmin", b"/%3b/admin", b"/x/../admin",
            b"/public/..%2fadmin", b"/public/%2e%2e/admin", b"/public/..;/admin", b"/public%2f../admin",
        ):  # fmt: skip
            refusal = self.assertRaises(RequestRefused, ask, path)
            self.assertEqual(refusal.status, 400, path)

    def test_an_unusual_path_that_belongs_to_one_route_is_served(self) -> None:
        """Parameters, empty segments and encoded slashes are no reason to refuse by themselves."""
        ask = Asked(RouteSpec(path_prefix="/public", to="public"), RouteSpec(path_prefix="/admin", to="admin"),
                    RouteSpec(to="any"))  # fmt: skip
        for path, upstream in (
            (b"/public//x", "public"), (b"/public/a;v=1/b", "public"), (b"/public/a%2Fb", "public"),
            (b"/@scope%2Fname", "any"), (b"/projects/group%2Fadmin", "any"), (b"/a%252Fb", "any"), (b"//x", "any"),
            (b"/admin//", "admin"), (b"/search/50%25%20off", "any"), (b"/public/a%5Cb", "public"),
        ):  # fmt: skip
            self.assertEqual(ask(path), upstream, path)

    def test_a_path_of_very_many_segments_is_looked_up_no_deeper_than_the_prefixes(self) -> None:
        """A path of thousands of segments, all equal to a prefix's, still finds its route."""
        ask = Asked(RouteSpec(path_prefix="/a/a/a", to="deep"))
        self.assertEqual(ask(b"/a" * 4000), "deep")
        self.assertIsNone(ask(b"/a/a"))


class ConditionTests(SynchronousTestCase):
    def test_more_conditions_come_first_then_the_file(self) -> None:
        """Of routes for one host and path the one with more conditions is asked first, then file order decides."""
        ask = Asked(
            RouteSpec(path_prefix="/api", to="plain"), RouteSpec(path_prefix="/api", methods=("POST",), to="post"),
            RouteSpec(path_prefix="/api", headers={"x-canary": "1"}, to="canary"),
            RouteSpec(path_prefix="/api", methods=("POST",), headers={"x-canary": "1"}, to="both"),
        )  # fmt: skip
        canary = fields(x_canary=[b"1"])
        self.assertEqual(ask(b"/api"), "plain")
        self.assertEqual(ask(b"/api", method=b"POST"), "post")
        self.assertEqual(ask(b"/api", lookup=canary), "canary")
        self.assertEqual(ask(b"/api", method=b"POST", lookup=canary), "both")

    def test_a_more_exact_path_beats_conditions(self) -> None:
        """Conditions only order routes of the same path, and a regular expression used twice is one path."""
        ask = Asked(
            RouteSpec(path_regex="/r.*", to="first"), RouteSpec(path_regex="/r/x", methods=("GET",), to="second"),
            RouteSpec(path_regex="/r.*", methods=("PUT",), to="put"), RouteSpec(headers={"x": True}, to="any"),
        )  # fmt: skip
        x = fields(x=[b""])
        self.assertEqual(ask(b"/r/x", lookup=x), "first")
        self.assertEqual(ask(b"/r/x", method=b"PUT"), "put")
        self.assertEqual(ask(b"/", lookup=x), "any")

    def test_a_route_whose_conditions_fail_leaves_the_request_to_the_next(self) -> None:
        """An exact path for another method does not hide a prefix."""
        ask = Asked(RouteSpec(path="/a", methods=("PUT",), to="put"), RouteSpec(path_prefix="/a", to="rest"))
        self.assertEqual(ask(b"/a"), "rest")
        self.assertEqual(ask(b"/a", method=b"PUT"), "put")
        self.assertEqual(ask(b"/a", method=b"put"), "rest")

    def test_each_kind_of_header_condition(self) -> None:
        """Present, absent, equal and matching as a whole; one of repeated values is enough."""
        for wanted, held, failed in (
            (True, [[b""], [b"x"]], [[]]), (False, [[]], [[b"x"]]),
            ("1", [[b"1"], [b"0", b"1"]], [[], [b"11"], [b"1 "]]), ("true", [[b"true"]], [[b"x"]]),
            (HeaderPattern(r"v\d+"), [[b"v12"], [b"", b"v1"]], [[], [b"v"], [b"v1x"], [b"xv1"]]),
        ):  # fmt: skip
            ask = Asked(RouteSpec(headers={"X-V": wanted}, to="a"))
            self.assertEqual([ask(lookup=fields(x_v=values)) for values in held], ["a"] * len(held), wanted)
            self.assertEqual([ask(lookup=fields(x_v=values)) for values in failed], [None] * len(failed), wanted)


class SplitTests(SynchronousTestCase):
    def test_a_split_draws_by_weight(self) -> None:
        """Over many requests each upstream gets its share, and one of weight 0 gets none."""
        route = RouteTable([RouteSpec(split={"a": 90, "none": 0, "b": 10})]).routes[0]
        random = Random(7)
        drawn = Counter(route.choose(random) for _ in range(5000))
        self.assertEqual(set(drawn), {"a", "b"})
        self.assertLess(abs(drawn["a"] / 5000 - 0.9), 0.02)  # nearly five standard deviations

    def test_a_route_without_a_split_draws_nothing(self) -> None:
        """With one upstream no random number is used up."""
        random = Random(7)
        state = random.getstate()
        self.assertEqual(RouteTable([RouteSpec(to="a")]).routes[0].choose(random), "a")
        self.assertEqual(random.getstate(), state)


HOSTS = [None, "a.com", "*.com", "*.a.com", "b.a.com"]
PATHS = [None, "/", "/a", "/a/b", "/a/b/c", "/b"]
REGEXES = ["/a.*", "/[ab]", "/a/b"]


@st.composite
def specs(draw: st.DrawFn) -> RouteSpec:
    kind = draw(st.sampled_from(["path", "path_prefix", "path_regex", "none"]))
    path = {} if kind == "none" else {kind: draw(st.sampled_from(REGEXES if kind == "path_regex" else PATHS))}
    return RouteSpec(
        host=draw(st.sampled_from(HOSTS)), to="a",
        methods=draw(st.sampled_from([(), ("GET",), ("GET", "PUT")])),
        headers=draw(st.sampled_from([{}, {"x": True}, {"x": "1", "y": False}])), **path,
    )  # fmt: skip


def rank(
    place: int, spec: RouteSpec, among: list[RouteSpec], host: str, path: str, method: str, lookup: FieldLookup
) -> tuple[object, ...] | None:
    """The documented order said plainly: None if the route does not match, else smaller is first."""
    if spec.host is None:
        by_host = (2, 0)
    elif spec.host.startswith("*."):
        by_host = (1, -len(spec.host))
        if not host.endswith(spec.host[1:]) or len(host) == len(spec.host) - 1:
            return None
    else:
        by_host = (0, 0)
        if host != spec.host:
            return None
    by_path = (3, 0)
    if spec.path is not None:
        by_path = (0, 0)
        if path != spec.path:
            return None
    elif spec.path_prefix not in (None, "/"):
        by_path = (1, -len(spec.path_prefix))
        if path != spec.path_prefix and not path.startswith(spec.path_prefix + "/"):
            return None
    elif spec.path_regex is not None:
        same = [p for p, s in enumerate(among) if (s.host, s.path_regex) == (spec.host, spec.path_regex)]
        by_path = (2, same[0])
        if re.fullmatch(spec.path_regex, path) is None:
            return None
    if spec.methods and method not in spec.methods:
        return None
    for name, wanted in spec.headers.items():
        values = lookup(name.encode())
        if (wanted is True and not values) or (wanted is False and values):
            return None
        if isinstance(wanted, str) and wanted.encode() not in values:
            return None
    return by_host, by_path, -(bool(spec.methods) + len(spec.headers)), place


class LawTests(SynchronousTestCase):
    @settings(max_examples=400, deadline=None)
    @given(
        st.lists(specs(), max_size=8), st.sampled_from(["a.com", "com", "b.a.com", "c.b.a.com", "x.com", "org"]),
        st.sampled_from(["/", "/a", "/a/", "/a/b", "/a/b/c/d", "/ab", "/b", "/c"]),
        st.sampled_from(["GET", "PUT", "X"]),
        st.sampled_from([NONE, fields(x=[b"1"]), fields(x=[b"2"], y=[b""])]),
    )  # fmt: skip
    def test_the_table_is_the_documented_order(
        self, routes: list[RouteSpec], host: str, path: str, method: str, lookup: FieldLookup
    ) -> None:
        """The compiled table finds the route that trying all of them in the documented order finds."""
        ranked = [(rank(place, spec, routes, host, path, method, lookup), place) for place, spec in enumerate(routes)]
        matching = sorted(entry for entry in ranked if entry[0] is not None)
        table = RouteTable(routes)
        found = table.match(method.encode(), host.encode(), path.encode(), lookup)
        self.assertIs(found, table.routes[matching[0][1]] if matching else None)

    @settings(max_examples=300, deadline=None)
    @given(
        st.lists(specs(), max_size=6),
        st.lists(st.sampled_from([b"a", b"b", b"/", b"%2f", b";", b"%61", b"%25", b"..", b"%5c"]), max_size=8),
    )
    def test_a_request_takes_the_route_of_every_reading_of_its_path(
        self, routes: list[RouteSpec], pieces: list[bytes]
    ) -> None:
        """A path is refused, or every way a server in use may read it takes the route that was returned."""
        path = b"/" + b"".join(pieces)
        table = RouteTable(routes)
        try:
            found = table.match(b"GET", b"b.a.com", path, NONE)
        except RequestRefused as refusal:
            self.assertEqual(refusal.status, 400)
            return
        for reading in readings(path):
            ranked = [
                (rank(place, spec, routes, "b.a.com", reading.decode("latin-1"), "GET", NONE), place)
                for place, spec in enumerate(routes)
            ]
            matching = sorted(entry for entry in ranked if entry[0] is not None)
            self.assertIs(found, table.routes[matching[0][1]] if matching else None, reading)


class ShadowTests(SynchronousTestCase):
    def test_routes_that_match_the_same_are_found(self) -> None:
        """Of two routes that match the same requests, the later one is reported with the earlier one."""
        routes = [
            RouteSpec(path_prefix="/a", to="a"), RouteSpec(path="/a", to="a"), RouteSpec(path_prefix="/a/", to="b"),
            RouteSpec(to="c"), RouteSpec(path_prefix="/", to="d"), RouteSpec(headers={"x": HeaderPattern("1")}, to="d"),
            RouteSpec(headers={"X": HeaderPattern("1")}, to="e"), RouteSpec(headers={"x": "1"}, to="e"),
        ]  # fmt: skip
        self.assertEqual(shadowed(routes), [(2, 0), (4, 3), (6, 5)])

    def test_repr_names_route_and_upstream(self) -> None:
        """A route and a table say what they are."""
        table = RouteTable([RouteSpec(path="/a", split={"x": 1, "y": 2})])
        self.assertEqual(repr(table.routes[0]), "<Route '* /a' to x, y>")
        self.assertEqual(repr(table), "<RouteTable of 1 routes>")
