"""The settings of a route."""

from pydantic import TypeAdapter, ValidationError
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.route_spec import HeaderPattern, Match, RouteSpec

adapter = TypeAdapter(RouteSpec)


class SettingsTests(SynchronousTestCase):
    def rejected(self, **keys: object) -> str:
        error = self.assertRaises(ValidationError, adapter.validate_python, keys)
        return str(error)

    def test_a_table_of_a_file_becomes_a_spec(self) -> None:
        """Every key of a route in a file arrives, hosts and field names in lower case."""
        spec = adapter.validate_python({
            "name": "canary", "host": "API.Example.com.", "path_prefix": "/api", "methods": ["GET", "HEAD"],
            "headers": {"X-Canary": "1", "x-a": True, "x-b": False, "x-v": {"regex": r"2\..*"}},
            "split": {"api": 90, "api-canary": 10},
        })  # fmt: skip
        self.assertEqual(
            spec,
            RouteSpec(
                name="canary", host="api.example.com", path_prefix="/api", methods=("GET", "HEAD"),
                headers={"x-canary": "1", "x-a": True, "x-b": False, "x-v": HeaderPattern(r"2\..*")},
                split={"api": 90, "api-canary": 10},
            ),
        )  # fmt: skip
        self.assertEqual(spec.upstreams, ("api", "api-canary"))
        self.assertEqual(RouteSpec(to="api").upstreams, ("api",))

    def test_a_header_condition_that_is_a_text_stays_a_text(self) -> None:
        """The text "true" and the truth value true are different conditions."""
        spec = adapter.validate_python({"to": "a", "headers": {"x": "true", "y": True}})
        self.assertEqual(spec.headers, {"x": "true", "y": True})
        self.assertIs(spec.headers["y"], True)

    def test_ipv6_hosts_are_compared_in_one_spelling(self) -> None:
        """An IPv6 host is stored in its shortest form."""
        self.assertEqual(adapter.validate_python({"to": "a", "host": "[2001:DB8:0::1]"}).host, "[2001:db8::1]")

    def test_mistakes_are_named_with_what_is_allowed(self) -> None:
        """Each wrong value is rejected with a message that says what is wrong with it."""
        for key, value, said in (
            ("host", "example.com:80", "without a port"), ("host", "*", "is not a host"),
            ("host", "a.*.com", "is not a host"), ("host", "[::x]", "IPv6"), ("host", "caf\u00e9.example", "xn--"),
            ("host", "", "is not a host"), ("path", "api", 'start with "/"'), ("path", "/a?b", "written decoded"),
            ("path", "/a%20b", "written decoded"), ("path_prefix", "/a/../b", "written decoded"),
            ("path_prefix", "/a//b", "written decoded"), ("path_prefix", "/a;b", "written decoded"),
            ("path_regex", "/(", "not a regular expression"), ("path_regex", "/caf\u00e9", "beyond ASCII"),
            ("methods", ["get"], "case counts"), ("methods", ["G T"], "is not a method"),
            ("headers", {"x y": True}, "the name of a field"), ("headers", {"x": {"regex": "["}}, "regular expression"),
            ("headers", {"x": {"regexp": "a"}}, "regexp"), ("split", {"b": -1}, "split"), ("pth", "/a", "pth"),
        ):  # fmt: skip
            self.assertIn(said, self.rejected(**{"to": "a", key: value}), (key, value))

    def test_keys_that_exclude_each_other_are_rejected(self) -> None:
        """There is one path condition at most, and exactly one of "to" and "split"."""
        self.assertIn("only one of", self.rejected(to="a", path="/a", path_prefix="/b"))
        self.assertIn("either", self.rejected(path="/a"))
        self.assertIn("either", self.rejected(to="a", split={"b": 1}))
        self.assertIn("no weight above 0", self.rejected(split={"a": 0, "b": 0}))

    def test_specs_made_in_python_are_checked_as_well(self) -> None:
        """A spec that was not read from a file meets the same checks."""
        for keys in ({"host": "a b"}, {"path": "a"}, {"path_regex": "("}, {"methods": ("get",)}, {"headers": {"": ""}}):
            self.assertRaises(ValueError, Match, **keys)
        self.assertRaises(ValueError, HeaderPattern, "(")
        self.assertRaises(ValueError, RouteSpec, split={"a": -1})

    def test_str_says_what_is_matched(self) -> None:
        """A route without a name is called what it matches, in one line."""
        spec = RouteSpec(host="*.example.com", path_prefix="/api/", methods=("GET",), headers={"x-a": True}, to="a")
        self.assertEqual(str(spec), "*.example.com /api/* GET x-a")
        self.assertEqual(str(RouteSpec(to="a")), "* /*")
        self.assertEqual(str(RouteSpec(path="/x", to="a")), "* /x")
