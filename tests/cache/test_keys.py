"""What a stored response is found by."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.keys import KeyMaker, NamePatterns, argument_name, cookie_pairs, uri_of
from balancer.cache.messages import PlainRequest
from balancer.cache.policy import KeyPolicy
from balancer.cache.stored import Fields

words = st.sampled_from([b"a", b"b", b"id", b"ID", b"i%64", b"+id", b"utm_x", b"x;id=2", b""])
arguments = st.builds(lambda name, value: name + b"=" + value, words, words)
queries = st.none() | st.lists(arguments | words, max_size=5).map(b"&".join)
policies = st.one_of(
    st.builds(KeyPolicy, include_query=st.sampled_from([("id",), ("a", "u*")]), sort_query=st.booleans()),
    st.builds(KeyPolicy, exclude_query=st.sampled_from([(), ("a",), ("utm_*",)]), sort_query=st.booleans()),
    st.builds(KeyPolicy, query=st.just(False), host=st.booleans()),
)


def asking(
    path: bytes = b"/p", query: bytes | None = None, *fields: tuple[bytes, bytes], **more: bytes
) -> PlainRequest:
    """A request."""
    return PlainRequest(more.get("method", b"GET"), more.get("host", b"a"), path, query, list(fields))


def maker(**settings: object) -> KeyMaker:
    """A maker of keys with these settings."""
    return KeyMaker(KeyPolicy(**settings), b"shop", b"http")  # type: ignore[arg-type]


class UriTests(SynchronousTestCase):
    """URIs as purges and invalidations name them."""

    def test_parts(self) -> None:
        """Scheme, host, path and query stand as received; an empty path is ``/``, an empty query a query."""
        self.assertEqual(uri_of(b"http", b"a", b"/x", b"y=1"), b"http://a/x?y=1")
        self.assertEqual(uri_of(b"http", b"a", b"", None), b"http://a/")
        self.assertEqual(uri_of(b"http", b"a", b"/", b""), b"http://a/?")
        self.assertEqual(uri_of(b"http", b"[::1]:8080", b"/%7e//", None), b"http://[::1]:8080/%7e//")

    def test_default_port(self) -> None:
        """The scheme's own port is left out, another's is not."""
        self.assertEqual(uri_of(b"http", b"a:80", b"/", None), b"http://a/")
        self.assertEqual(uri_of(b"https", b"a:443", b"/", None), b"https://a/")
        self.assertEqual(uri_of(b"https", b"a:80", b"/", None), b"https://a:80/")
        self.assertEqual(uri_of(b"http", b"a:8080", b"/", None), b"http://a:8080/")
        self.assertEqual(uri_of(b"http", b"[::80]", b"/", None), b"http://[::80]/")

    def test_line_feed(self) -> None:
        """A URI is one line, whatever a program asks for: the rest of a key begins at the first line feed."""
        self.assertEqual(uri_of(b"http", b"a", b"/x\ny", b"\n"), b"http://a/x%0Ay?%0A")


class QueryTests(SynchronousTestCase):
    """What counts of a query."""

    def becomes(self, query: bytes | None, expected: bytes, /, **settings: object) -> None:
        """A request with this query has that URI, and a purge of its URI names the same."""
        keys = maker(**settings)
        request = asking(query=query)
        self.assertEqual(keys.uri(request), b"http://a/p" + expected)
        self.assertEqual(keys.normal(uri_of(b"http", b"a", b"/p", query)), keys.uri(request))

    def test_all(self) -> None:
        """Without settings everything counts, order and empty arguments too."""
        for query in (b"b=1&a=2", b"a=2&b=1", b"", b"&&", b"a;b"):
            self.becomes(query, b"?" + query)
        self.becomes(None, b"")

    def test_none(self) -> None:
        """It does not count at all."""
        self.becomes(b"a=1", b"", query=False)

    def test_included(self) -> None:
        """Only the named arguments count, by name or by what it begins with."""
        self.becomes(b"a=1&b=2&c=3&a=4", b"?a=1&a=4", include_query=("a",))
        self.becomes(b"x=1", b"", include_query=("a",))
        self.becomes(b"item_1=x&y=2&item=z", b"?item_1=x", include_query=("item_*",))

    def test_excluded(self) -> None:
        """The named arguments do not count, escaped or not."""
        self.becomes(b"utm_source=x&a=1&fbclid", b"?a=1", exclude_query=("utm_*", "fbclid"))
        self.becomes(b"utm_source=x", b"", exclude_query=("utm_*",))
        self.becomes(b"utm%5Fsource=x&UTM_x=1", b"?UTM_x=1", exclude_query=("utm_*",))

    def test_sorted(self) -> None:
        """The order of names does not count; that of one name's values does."""
        self.becomes(b"b=1&a=2&b=0", b"?a=2&b=1&b=0", sort_query=True)
        self.becomes(b"b=1&%61=2", b"?%61=2&b=1", sort_query=True)

    def test_disguised(self) -> None:
        """What a server may read as an argument that counts does count: escaped, in other case, behind a semicolon."""
        for query in (b"i%64=2", b"ID=2", b"+id=2", b"%20id%20=2", b"x=1;id=2", b"x;id=2"):
            self.becomes(query, b"?" + query, include_query=("id",))
            self.becomes(b"id=1&" + query, b"?id=1&" + query, include_query=("id",))
        for query in (b"my.id=2", b"my+id=2", b"MY_ID[x]=2", b"my_id%5B%5D=2", b"my_id%00x=2", b"my-id=2"):
            self.becomes(query, b"?" + query, include_query=("my_id",))
            self.becomes(query, b"?" + query, include_query=("my_*",))
        self.becomes(b"utm_x=1;id=2", b"?utm_x=1;id=2", exclude_query=("utm_*",))

    @given(queries, policies)
    def test_purge_names_it(self, query: bytes | None, policy: KeyPolicy) -> None:
        """The URI of a request, given whole, is the URI of its key, and normal for good."""
        keys = KeyMaker(policy, b"n", b"http")
        request = asking(query=query)
        uri = keys.uri(request)
        self.assertEqual(keys.normal(uri_of(b"http", b"a", b"/p", query)), uri)
        self.assertEqual(keys.key(request).partition(b"\n")[0], uri)
        self.assertEqual(keys.normal(uri), uri)

    @given(st.lists(arguments, max_size=5), st.randoms())
    def test_order(self, query: list[bytes], random: object) -> None:
        """Sorted, no order of arguments with different names makes another key."""
        keys = maker(sort_query=True)
        unique = list({argument_name(argument): argument for argument in query}.values())
        other = list(unique)
        random.shuffle(other)  # type: ignore[attr-defined]
        self.assertEqual(keys.uri(asking(query=b"&".join(unique))), keys.uri(asking(query=b"&".join(other))))


class KeyTests(SynchronousTestCase):
    """Whole keys."""

    def differ(self, one: PlainRequest, other: PlainRequest, keys: KeyMaker) -> None:
        """Two requests have different keys."""
        self.assertNotEqual(keys.key(one), keys.key(other))

    def test_beginning(self) -> None:
        """A key begins with the URI and a line feed; the namespace follows."""
        self.assertEqual(maker().key(asking(query=b"a=1")), b"http://a/p?a=1\nshop")

    def test_head(self) -> None:
        """HEAD finds what is stored for GET."""
        self.assertEqual(maker().key(asking(method=b"HEAD")), maker().key(asking()))

    def test_scheme(self) -> None:
        """What is asked for by another scheme is another thing."""
        self.assertNotEqual(
            KeyMaker(KeyPolicy(), b"n", b"https").key(asking()), KeyMaker(KeyPolicy(), b"n", b"http").key(asking())
        )

    def test_host(self) -> None:
        """Hosts are told apart, unless the settings say otherwise."""
        one, other = asking(host=b"a"), asking(host=b"b")
        self.differ(one, other, maker())
        self.assertEqual(maker(host=False).key(one), maker(host=False).key(other))
        self.assertEqual(maker(host=False).normal(b"HTTP://B/p"), maker(host=False).uri(one))

    def test_headers(self) -> None:
        """Fields whose values count: absent, empty, one or several are all different, and no two run together."""
        keys = maker(headers=("X-A", "x-b"))
        lists: list[Fields] = [
            [], [(b"X-A", b"")], [(b"x-a", b"1")], [(b"x-b", b"1")], [(b"X-A", b"1"), (b"X-A", b"2")],
            [(b"X-A", b"1, 2")], [(b"X-A", b"12")], [(b"X-A", b"1"), (b"X-B", b"2")], [(b"X-A", b"1\n1:2")],
        ]  # fmt: skip
        self.assertEqual(len({keys.key(asking(b"/p", None, *fields)) for fields in lists}), len(lists))
        self.assertEqual(keys.key(asking(b"/p", None, (b"X-C", b"1"))), keys.key(asking()))

    def test_cookies(self) -> None:
        """Cookies whose values count are found among all of them; others do not count."""
        keys = maker(cookies=("lang",))
        german = asking(b"/p", None, (b"Cookie", b"a=1; lang=de"))
        self.differ(german, asking(b"/p", None, (b"Cookie", b"a=1; lang=en")), keys)
        self.differ(german, asking(b"/p", None, (b"Cookie", b"a=1")), keys)
        self.assertEqual(keys.key(german), keys.key(asking(b"/p", None, (b"cookie", b"lang=de"), (b"Cookie", b"b=2"))))
        self.differ(german, asking(b"/p", None, (b"Cookie", b"lang=de; lang=en")), keys)

    def test_query_method(self) -> None:
        """A QUERY is told apart by its content and how that is to be read, and from a GET."""
        keys = maker()
        json = asking(b"/p", None, (b"Content-Type", b"application/json"), method=b"QUERY")
        found = {
            keys.key(json, b"1"), keys.key(json, b"2"), keys.key(json), keys.key(asking(), b"1"), keys.key(asking()),
            keys.key(asking(b"/p", None, (b"Content-Type", b"text/plain"), method=b"QUERY"), b"1"),
            keys.key(asking(b"/p", None, (b"Content-Encoding", b"gzip"), method=b"QUERY"), b"1"),
        }  # fmt: skip
        self.assertEqual(len(found), 6)  # a GET's content means nothing
        self.assertEqual({key.partition(b"\n")[0] for key in found}, {b"http://a/p"})

    @given(st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b"]), st.binary(max_size=4)), max_size=4),
           st.lists(st.tuples(st.sampled_from([b"x-a", b"x-b"]), st.binary(max_size=4)), max_size=4))  # fmt: skip
    def test_injective(self, one: Fields, other: Fields) -> None:
        """Keys are the same only where all values that count are."""
        keys = maker(headers=("x-a", "x-b"))
        first, second = asking(b"/p", None, *one), asking(b"/p", None, *other)
        same = all(first.get_all(name) == second.get_all(name) for name in (b"x-a", b"x-b"))
        self.assertEqual(keys.key(first) == keys.key(second), same)


class PartsTests(SynchronousTestCase):
    """What keys are made from."""

    def test_patterns(self) -> None:
        """A name that ends in ``*`` stands for all that begin so; there may be none at all."""
        names = NamePatterns(("a", "utm_*"))
        self.assertEqual(
            [names.match(name) for name in (b"a", b"ab", b"utm_", b"utm_x", b"utm")], [True, False, True, True, False]
        )
        self.assertFalse(NamePatterns(()))
        self.assertFalse(NamePatterns(()).match(b""))
        self.assertTrue(NamePatterns(("*",)).match(b""))

    def test_cookie_pairs(self) -> None:
        """Cookies are read in order from all lines."""
        request = asking(b"/", None, (b"Cookie", b"a=1;b = x=y "), (b"Cookie", b"c"))
        self.assertEqual(cookie_pairs(request), [(b"a", b"1"), (b"b", b"x=y"), (b"c", b"")])

    @given(st.binary(max_size=20))
    def test_argument_name(self, argument: bytes) -> None:
        """A name is found in whatever there is."""
        self.assertIsInstance(argument_name(argument), bytes)
