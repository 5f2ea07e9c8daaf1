"""Cache directives of requests and responses."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.dates import OVERFLOW
from balancer.cache.directives import (
    ABSENT,
    RequestControl,
    ResponseControl,
    directives,
    request_control,
    response_control,
)
from balancer.cache.messages import PlainRequest, PlainResponse

TARGETS = ("edge-cache-control", "cdn-cache-control")
LETTERS = st.sampled_from(
    [b"max-age", b"no-store", b"private", b"=", b",", b'"', b"\\", b" ", b"1", b"0", b";", b"\xff", b"x"]
)
garbage = st.lists(LETTERS, max_size=14).map(b"".join) | st.binary(max_size=30)


def told(*values: bytes) -> ResponseControl:
    """What a response with these Cache-Control fields directs."""
    return response_control(PlainResponse(200, [(b"Cache-Control", value) for value in values]))


def aimed(targeted: bytes, usual: bytes = b"max-age=1", name: bytes = b"CDN-Cache-Control") -> ResponseControl:
    """What a response with a field for caches like us and one for all directs."""
    return response_control(PlainResponse(200, [(b"Cache-Control", usual), (name, targeted)]), TARGETS)


def wished(*values: bytes, **others: bytes) -> RequestControl:
    """What a request with these Cache-Control fields, and others, directs."""
    fields = [(b"Cache-Control", value) for value in values]
    return request_control(
        PlainRequest(
            b"GET", b"a", b"/", None, fields + [(name.encode("ascii"), value) for name, value in others.items()]
        )
    )


class DirectivesTests(SynchronousTestCase):
    """The list (RFC 9111 section 5.2)."""

    def test_list(self) -> None:
        """Names are in lower case, arguments unquoted, empty elements left out, lines in order."""
        self.assertEqual(
            directives([b'Max-Age=5 ,, NO-store,x="a, b"', b'y="q\\"\\\\"', b""]),
            [(b"max-age", b"5"), (b"no-store", None), (b"x", b"a, b"), (b"y", b'q"\\')],
        )

    def test_malformed(self) -> None:
        """An element that begins with a token is that directive, with an argument that says nothing."""
        for value in (
            b"max-age =1",
            b"max-age;x",
            b"max-age 1",
            b'max-age="1"2',
            b'max-age=a"b"',
        ):
            self.assertEqual(directives([value])[0], (b"max-age", b"?"), value)

    def test_nothing_hides(self) -> None:
        """A field in which a string does not end allows nothing, whatever comes before or after it."""
        for value in (b'x="a, max-age=5', b'"', b'max-age=5, must-understand, x="\\"', b'x="a", y="b', b'max-age="5'):
            for control in (told(value), told(b"public, must-understand, max-age=5", value), told(value, b"public")):
                self.assertTrue(control.no_store and control.no_cache and control.private, value)
            self.assertTrue(wished(value).no_cache and wished(value).no_store)
        self.assertEqual(directives([b'x="a, no-store", y']), [(b"x", b"a, no-store"), (b"y", None)])

    @given(st.lists(garbage, max_size=3))
    def test_never_raises(self, values: list[bytes]) -> None:
        """Whatever the octets, names come out, and both kinds of message can be asked."""
        for name, argument in directives(values):
            self.assertEqual(name, name.lower())
            self.assertTrue(argument is None or isinstance(argument, bytes))
        control = told(*values)
        for seconds in (control.max_age, control.s_maxage, control.stale_if_error, control.stale_while_revalidate):
            self.assertTrue(ABSENT <= seconds <= OVERFLOW)
        self.assertTrue(wished(*values).max_age >= ABSENT)
        response_control(PlainResponse(200, [(b"CDN-Cache-Control", value) for value in values]), TARGETS)

    @given(
        st.lists(garbage, max_size=2),
        st.sampled_from([b"no-store", b"NO-STORE", b"No-Store"]),
        st.lists(garbage, max_size=2),
    )
    def test_no_store_on_its_own_line(self, before: list[bytes], value: bytes, after: list[bytes]) -> None:
        """Nothing on other lines takes back a no-store."""
        self.assertTrue(told(*before, value, *after).no_store)


class ResponseControlTests(SynchronousTestCase):
    """Directives of responses (RFC 9111 section 5.2.2)."""

    def test_nothing(self) -> None:
        """Without the field nothing is directed, and unknown directives direct nothing."""
        for control in (told(), told(b"foo, bar=baz, max-agex=1, x-no-store")):
            said = [control.max_age, control.s_maxage, control.stale_while_revalidate, control.stale_if_error]
            self.assertEqual(said, [ABSENT] * 4)
            self.assertFalse(control.no_store or control.private or control.no_cache or control.public)
            self.assertFalse(control.must_revalidate or control.proxy_revalidate or control.must_understand)

    def test_seconds(self) -> None:
        """Numbers are read in both forms, in any case; what is greater than 2**31 is that."""
        self.assertEqual(told(b"max-age=3600").max_age, 3600)
        self.assertEqual(told(b'MAX-AGE="3600"').max_age, 3600)
        self.assertEqual(told(b"max-age=003600").max_age, 3600)
        self.assertEqual(told(b"s-maxage=99999999999").s_maxage, OVERFLOW)
        self.assertEqual(told(b"stale-while-revalidate=1,stale-if-error=2").stale_while_revalidate, 1)
        self.assertEqual(told(b"stale-while-revalidate=1,stale-if-error=2").stale_if_error, 2)

    def test_invalid_seconds(self) -> None:
        """What is no number makes a response stale (section 4.2.1)."""
        for argument in (
            b"",
            b"=",
            b"=-1",
            b"=1.0",
            b"=a1",
            b"=1a",
            b"='1'",
            b"= 1",
            b" =1",
            b'=" 1"',
            b"=1 2",
        ):
            self.assertEqual(told(b"max-age" + argument).max_age, 0, argument)
            self.assertEqual(told(b"s-maxage" + argument).s_maxage, 0, argument)

    def test_repeated(self) -> None:
        """Of several values the smallest counts, on one line or several, valid or not."""
        for values in ([b"max-age=1800, max-age=1"], [b"max-age=1", b"max-age=1800"], [b"max-age=1800", b"max-age=1"]):
            self.assertEqual(told(*values).max_age, 1)
        self.assertEqual(told(b"max-age=1800, max-age=x").max_age, 0)

    def test_quoted(self) -> None:
        """What stands in another directive's string is no directive."""
        self.assertEqual(told(b'extension="max-age=3600", max-age=1').max_age, 1)
        self.assertEqual(told(b'max-age=1, extension="max-age=0"').max_age, 1)

    def test_flags(self) -> None:
        """Each is read, an argument that it may not have or not."""
        for name in ("no-store", "must-revalidate", "proxy-revalidate", "public", "must-understand", "immutable"):
            for value in (name, name.upper(), name + "=x", name + '="a, b"', f" x , {name} ,y"):
                self.assertTrue(getattr(told(value.encode("ascii")), name.replace("-", "_")), value)

    def test_fields(self) -> None:
        """no-cache and private with names are about fields, without them about the response."""
        control = told(b'no-cache="Set-Cookie, x-y ,", private=Foo')
        self.assertEqual(control.no_cache_fields, {b"set-cookie", b"x-y"})
        self.assertEqual(control.private_fields, {b"foo"})
        self.assertFalse(control.no_cache or control.private)
        for value in (
            b"no-cache, private",
            b'no-cache="", private=',
            b'no-cache="a b", private="\xe9"',
            b"no-cache x, private;y",
        ):
            control = told(value)
            self.assertTrue(control.no_cache and control.private, value)
        self.assertTrue(told(b'no-cache="x", no-cache').no_cache)


class TargetedTests(SynchronousTestCase):
    """Fields for caches like us (RFC 9213)."""

    def test_first_valid(self) -> None:
        """The first of the list that is there, valid and not empty is the only one that counts."""
        response = PlainResponse(
            200,
            [
                (b"Cache-Control", b"no-store"),
                (b"cdn-cache-control", b"max-age=2"),
                (b"EDGE-Cache-Control", b"max-age=3"),
            ],
        )
        control = response_control(response, TARGETS)
        self.assertEqual((control.max_age, control.no_store, control.targeted), (3, False, True))
        control = response_control(response, TARGETS[1:])
        self.assertEqual(control.max_age, 2)
        control = response_control(response)
        self.assertEqual((control.no_store, control.targeted), (True, False))

    def test_ignored(self) -> None:
        """One that is empty, or no dictionary, or has a number of another type, is as if it were absent."""
        for value in (
            b"", b" ", b"max-age=100, &&", b"max-age =100", b"MAX-AGE=100", b'max-age="100"', b"max-age=1.5",
            b"max-age",             b"s-maxage=x", b"max-age=100, public=1", b"max-age=5, must-understand=x",
        ):  # fmt: skip
            control = aimed(value)
            self.assertEqual((control.max_age, control.targeted), (1, False), value)

    def test_directives(self) -> None:
        """Directives mean what they mean; a false one is absent, a negative number is 0, unknown ones are nothing."""
        self.assertTrue(aimed(b"no-store, max-age=100").no_store)
        self.assertFalse(aimed(b"no-store=?0, max-age=100").no_store)
        self.assertEqual(aimed(b"max-age=-5").max_age, 0)
        self.assertEqual(aimed(b"max-age=99999999999").max_age, OVERFLOW)
        self.assertEqual(aimed(b'no-cache="a, b"').no_cache_fields, {b"a", b"b"})
        self.assertTrue(aimed(b"private=(a b)").private)
        self.assertTrue(aimed(b"no-store=1").no_store)
        self.assertEqual((aimed(b"foo").max_age, aimed(b"foo").targeted), (ABSENT, True))

    def test_last_of_several(self) -> None:
        """A key that comes again takes the place of the one before, as in every dictionary."""
        self.assertEqual(aimed(b"max-age=5, max-age=10").max_age, 10)


class RequestControlTests(SynchronousTestCase):
    """Directives of requests (RFC 9111 section 5.2.1)."""

    def test_each(self) -> None:
        """Each directive is read."""
        control = wished(
            b"max-age=1, max-stale=2, min-fresh=3", b"NO-CACHE, no-store, only-if-cached, stale-if-error=4"
        )
        self.assertEqual((control.max_age, control.max_stale, control.min_fresh, control.stale_if_error), (1, 2, 3, 4))
        self.assertTrue(control.no_cache and control.no_store and control.only_if_cached and control.given)

    def test_nothing(self) -> None:
        """Without directives none is given."""
        control = wished()
        self.assertFalse(control.given or control.no_cache or control.no_store or control.only_if_cached)
        self.assertEqual((control.max_age, control.max_stale, control.min_fresh), (ABSENT, ABSENT, ABSENT))

    def test_any_staleness(self) -> None:
        """max-stale without a number takes a response of any staleness."""
        self.assertEqual(wished(b"max-stale").max_stale, OVERFLOW)

    def test_invalid(self) -> None:
        """What is no number is read as the strictest: age 0, no staleness, a freshness that nothing has."""
        control = wished(b"max-age=x, max-stale=x, min-fresh=x, stale-if-error=x")
        self.assertEqual(
            (control.max_age, control.max_stale, control.min_fresh, control.stale_if_error), (0, 0, OVERFLOW, 0)
        )
        self.assertEqual(wished(b"min-fresh").min_fresh, OVERFLOW)

    def test_repeated(self) -> None:
        """Of several the strictest counts."""
        control = wished(b"max-age=9, max-age=5, max-stale=9, max-stale=5, min-fresh=5, min-fresh=9, max-stale")
        self.assertEqual((control.max_age, control.max_stale, control.min_fresh), (5, 5, 9))

    def test_pragma(self) -> None:
        """Pragma: no-cache is no-cache where there is no Cache-Control (section 5.4)."""
        self.assertTrue(wished(pragma=b"x, No-Cache").no_cache)
        self.assertFalse(wished(pragma=b"x=no-cache").no_cache)
        self.assertFalse(wished(b"max-age=5", pragma=b"no-cache").no_cache)
        self.assertFalse(wished(b"", pragma=b"no-cache").no_cache)
