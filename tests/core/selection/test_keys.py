"""What hash selectors take from a request."""

from collections.abc import Callable, Sequence

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.selection import keys
from balancer.core.traits import NOTHING_KNOWN
from balancer.testing.selectors import Asked


def asked(path: bytes | None = b"/", query: bytes | None = None, **fields: bytes) -> Asked:
    named = {name.replace("_", "-").encode(): value for name, value in fields.items()}
    return Asked(target_path=path, target_query=query, fields=named)


class KeyTests(SynchronousTestCase):
    def refused(self, reader: Callable[[Sequence[str]], object], *arguments: str) -> str:
        with self.assertRaises(ValueError) as caught:
            reader(arguments)
        return str(caught.exception)

    def test_plain_ones(self) -> None:
        """source, method, host, path and query are what the request says."""
        found = [keys.PARTS[name](())(Asked()) for name in ("source", "method", "host", "path", "query")]
        self.assertEqual(found, [b"192.0.2.1", b"GET", b"example.org", b"/a/b/c", b"user=7&page=2"])

    def test_nothing_known(self) -> None:
        """Of a connection that tells nothing no key has anything."""
        arguments = {"hdr": ("a",), "cookie": ("a",), "url_param": ("a",)}
        for name, read in keys.PARTS.items():
            self.assertIsNone(read(arguments.get(name, ()))(NOTHING_KNOWN), name)
        self.assertIsNone(keys.joined(("host + path + source",))(NOTHING_KNOWN))

    def test_uri(self) -> None:
        """uri is the path; whole adds the query, depth cuts after directories, len after bytes (as HAProxy's)."""
        request = asked(b"/a/b/c", b"x=1")
        for arguments, expected in (
            ((), b"/a/b/c"),
            (("whole",), b"/a/b/c?x=1"),
            (("depth=1",), b"/a"),
            (("depth=2",), b"/a/b"),
            (("depth=9",), b"/a/b/c"),
            (("len=3",), b"/a/"),
            (("whole", "len=8"), b"/a/b/c?x"),
            (("depth=1", "whole"), b"/a?x=1"),
        ):
            self.assertEqual(keys.uri(arguments)(request), expected, arguments)
        self.assertEqual(keys.uri(("whole",))(asked(b"/a", None)), b"/a")
        self.assertEqual(keys.uri(("whole",))(asked(b"/a", b"")), b"/a?")
        for bad in ("length=3", "len", "len=", "len=x", "len=0", "depth=-1", "all"):
            self.assertRegex(self.refused(keys.uri, bad), "whole, len=N, depth=N|whole number from 1")

    def test_header(self) -> None:
        """hdr is a field's value, its name in any case; a name that cannot be one is refused."""
        self.assertEqual(keys.header(("X-Tenant",))(asked(x_tenant=b"blue")), b"blue")
        self.assertIsNone(keys.header(("x-tenant",))(asked(x_other=b"blue")))
        for bad in ((), ("a", "b"), ("a b",), ("",), ("h\u00e4",), ("a:",)):
            self.assertIn("field name", self.refused(keys.header, *bad))

    def test_cookie(self) -> None:
        """cookie is the value of exactly that cookie, the first of several, without its quotes."""
        read = keys.cookie(("id",))
        for field, expected in (
            (b"id=7", b"7"),
            (b"a=1; id=7; b=2", b"7"),
            (b"a=1;id = 7 ;b=2", b"7"),
            (b'id="7"', b"7"),
            (b"id=7; id=8", b"7"),
            (b"xid=1; id2=2", None),
            (b"ID=7", None),
            (b"a=id=7", None),
            (b"id", None),
            (b"id=", b""),
            (b"id=a=b", b"a=b"),
        ):
            self.assertEqual(read(asked(cookie=field)), expected, field)
        self.assertEqual(keys.cookie(("a.b*",))(asked(cookie=b"axb=1; a.b*=2")), b"2")
        self.assertIn("cookie name", self.refused(keys.cookie, "a;b"))

    def test_cookie_is_linear(self) -> None:
        """A field of the largest size full of almost-matches costs no more than its length."""
        read = keys.cookie(("id",))
        self.assertIsNone(read(asked(cookie=b"; \t" * 20000)))
        self.assertIsNone(read(asked(cookie=b"id " + b" " * 60000)))

    def test_url_param(self) -> None:
        """url_param is the value of exactly that parameter, the first of several, as sent."""
        read = keys.url_param(("user",))
        for query, expected in (
            (b"user=7", b"7"),
            (b"a=1&user=7&b", b"7"),
            (b"user=7&user=8", b"7"),
            (b"xuser=1&user2=3", None),
            (b"user", None),
            (b"user=", b""),
            (b"user=%37", b"%37"),
            (b"", None),
        ):
            self.assertEqual(read(asked(b"/", query)), expected, query)
        self.assertEqual(keys.url_param(("items[]",))(asked(b"/", b"items[]=3")), b"3")
        self.assertIn("parameter name", self.refused(keys.url_param))

    def test_joined(self) -> None:
        """hash joins its parts so that different parts stay different keys; one present part is enough."""
        read = keys.joined(("hdr(a) + hdr(b)",))
        self.assertNotEqual(read(asked(a=b"x", b=b"yz")), read(asked(a=b"xy", b=b"z")))
        self.assertNotEqual(read(asked(a=b"x")), read(asked(b=b"x")))
        self.assertIsNotNone(read(asked(b=b"x")))
        self.assertIsNone(read(asked(a=b"", b=b"")))
        self.assertEqual(keys.joined(("uri(whole, depth=1) + source",))(asked(b"/a/b", b"q")), b"/a?q\x00192.0.2.1")

    def test_joined_errors(self) -> None:
        """A wrong part is named with its place, what there is and what is nearest."""
        self.assertRegex(self.refused(keys.joined, "host + pth"), r"'pth'.*did you mean 'path'.*source.*character 8")
        self.assertRegex(self.refused(keys.joined, "host + hdr"), r"hdr: takes a field name.*character 8")
        self.assertRegex(self.refused(keys.joined, "host path"), r"expected '\+' or the end.*character 6")
        self.assertRegex(self.refused(keys.joined), "takes one expression")
        self.assertRegex(self.refused(keys.joined, "host", "path"), "takes one expression")
