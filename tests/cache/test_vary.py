"""Which requests a response that varies is for."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.messages import PlainRequest
from balancer.cache.stored import Fields
from balancer.cache.vary import MAX_NAMES, matches, nominate, said

NAMES = [b"Accept", b"Accept-Encoding", b"Accept-Language", b"Foo", b"X-Bar"]
PIECES = st.sampled_from(
    [b"gzip", b"br", b"de", b";q=0.5", b"; q=1", b",", b", ", b" ", b'"', b"*", b"", b"/", b"\n", b"=", b"-"]
)
values = st.lists(PIECES, max_size=5).map(b"".join)
headers = st.lists(st.tuples(st.sampled_from(NAMES), values), max_size=4)


def asking(*fields: tuple[bytes, bytes]) -> PlainRequest:
    """A request with these fields."""
    return PlainRequest(b"GET", b"a", b"/", None, list(fields))


class NominateTests(SynchronousTestCase):
    """What is remembered (RFC 9111 section 4.1)."""

    def test_nothing(self) -> None:
        """Without Vary, or with an empty one, a response is for all requests."""
        for vary in ([], [b""], [b" , ,"], [b"", b""]):
            self.assertEqual(nominate(vary, asking((b"Foo", b"1"))), b"")
        self.assertTrue(matches(b"", asking((b"Foo", b"1"))))

    def test_star(self) -> None:
        """``*`` anywhere fails to match all requests."""
        for vary in (
            [b"*"],
            [b"*, *"],
            [b"*", b"*"],
            [b", *"],
            [b"", b"*"],
            [b"*, Foo"],
            [b"Foo, *"],
            [b"Foo", b"Bar ,*"],
        ):
            self.assertIsNone(nominate(vary, asking()), vary)

    def test_unclear(self) -> None:
        """What names no field cannot be met; nor can more fields than the limit."""
        for value in (b"foo bar", b"foo;bar", b"foo/bar", b"f\xf6", b"foo=1", b"foo\nbar", b"a:b", b'"foo"'):
            self.assertIsNone(nominate([value], asking()), value)
        names = [b"x%d" % number for number in range(MAX_NAMES + 1)]
        self.assertIsNone(nominate([b",".join(names)], asking()))
        self.assertIsNotNone(nominate([b",".join(names[1:])], asking()))

    def test_order(self) -> None:
        """Order, case and repeats of the names do not count."""
        request = asking((b"Foo", b"1"), (b"Bar", b"2"))
        self.assertEqual(nominate([b"Foo, bar"], request), nominate([b"BAR", b"foo , foo"], request))


class MatchTests(SynchronousTestCase):
    """Which requests are alike."""

    def alike(self, name: bytes, one: list[bytes], other: list[bytes]) -> bool:
        """Whether a response that varies by this field, made for the one, is for the other."""
        nominated = nominate([name], asking(*[(name, value) for value in one]))
        assert nominated is not None
        return matches(nominated, asking(*[(name, value) for value in other]))

    def test_values(self) -> None:
        """Values of a field that nobody knows match where they are the same; repeated lines are joined."""
        self.assertTrue(self.alike(b"Foo", [b"1"], [b"1"]))
        self.assertTrue(self.alike(b"Foo", [b"1, 2"], [b"1", b"2"]))
        for one, other in (
            ([b"1"], [b"2"]),
            ([b"1"], [b"1 "]),
            ([b"a"], [b"A"]),
            ([b"1,2"], [b"1, 2"]),
            ([b"1, 2"], [b"2, 1"]),
        ):
            self.assertFalse(self.alike(b"Foo", one, other), (one, other))

    def test_absent(self) -> None:
        """An absent field matches an absent one only, not an empty one."""
        self.assertTrue(self.alike(b"Foo", [], []))
        for name in (b"Foo", b"Accept-Encoding"):
            self.assertFalse(self.alike(name, [], [b""]))
            self.assertFalse(self.alike(name, [b""], []))
            self.assertFalse(self.alike(name, [b"1"], []))
            self.assertFalse(self.alike(name, [b"-"], []))

    def test_negotiation(self) -> None:
        """Of fields that content negotiation reads, case and white space do not count, nor a weight of 1."""
        for name in (b"Accept-Encoding", b"ACCEPT-LANGUAGE", b"Accept", b"accept-charset"):
            self.assertTrue(self.alike(name, [b"gzip,br;q=0.5"], [b" GZIP , br ; q=0.5 ,"]))
            self.assertTrue(self.alike(name, [b"a;q=1, b;q=1.000"], [b"a", b"b"]))
            self.assertFalse(self.alike(name, [b"a;q=0.5"], [b"a"]))
            self.assertFalse(self.alike(name, [b"a;q=0"], [b"b;q=0"]))

    def test_order(self) -> None:
        """Order counts for nothing where no server heeds it, and is kept where some do."""
        self.assertTrue(self.alike(b"Accept-Encoding", [b"gzip, br, gzip"], [b"br, gzip"]))
        self.assertFalse(self.alike(b"Accept-Language", [b"de, en"], [b"en, de"]))
        self.assertFalse(self.alike(b"Accept", [b"a/b, c/d"], [b"c/d, a/b"]))

    def test_strings(self) -> None:
        """Commas and case in quoted strings count."""
        self.assertFalse(self.alike(b"Accept", [b'a/b;x="a,b"'], [b'a/b;x="a, b"']))
        self.assertFalse(self.alike(b"Accept", [b'a/b;x="A"'], [b'a/b;x="a"']))

    def test_several(self) -> None:
        """All nominated fields have to match; others do not count."""
        nominated = nominate([b"Foo, Bar"], asking((b"Foo", b"1"), (b"Bar", b"2")))
        assert nominated is not None
        self.assertTrue(matches(nominated, asking((b"Foo", b"1"), (b"Bar", b"2"), (b"Baz", b"3"))))
        self.assertFalse(matches(nominated, asking((b"Foo", b"1"), (b"Bar", b"3"))))
        self.assertFalse(matches(nominated, asking((b"Foo", b"1"))))

    def test_many(self) -> None:
        """What is remembered of the nominated is bounded and changes no answer."""
        for number in range(3000):
            value = b"%d" % number
            nominated = nominate([b"Foo"], asking((b"Foo", value)))
            assert nominated is not None
            self.assertTrue(matches(nominated, asking((b"foo", value))))
            self.assertFalse(matches(nominated, asking((b"foo", b"x"))))
        large = asking((b"Foo", b"x" * 5000))
        self.assertTrue(matches(nominate([b"Foo"], large) or b"", large))

    @given(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3), headers, headers)
    def test_laws(self, names: list[bytes], one: Fields, other: Fields) -> None:
        """A request matches itself; two match each other or do not, just as what is remembered of them is the same."""
        first, second = asking(*one), asking(*other)
        mine, theirs = nominate(names, first), nominate(names, second)
        assert mine is not None and theirs is not None
        self.assertTrue(matches(mine, first))
        self.assertEqual(matches(mine, second), mine == theirs)
        self.assertEqual(matches(mine, second), matches(theirs, first))
        if not matches(mine, second):
            self.assertTrue(any(first.get_all(name.lower()) != second.get_all(name.lower()) for name in names))

    @given(values)
    def test_form(self, value: bytes) -> None:
        """The one form of a value is its own form."""
        for name in (b"accept", b"accept-encoding", b"foo"):
            form = said(asking((name, value)), name)
            self.assertEqual(said(asking((name, form[1:])), name), form)
            self.assertNotIn(b"\n", form)
