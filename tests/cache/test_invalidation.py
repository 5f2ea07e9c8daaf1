"""What an unsafe request makes unusable."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.invalidation import invalidated
from balancer.cache.messages import PlainRequest
from balancer.cache.stored import Fields

TARGET = b"http://a/x/y?q"


def uris(
    *fields: tuple[bytes, bytes], method: bytes = b"POST", status: int = 200, scheme: bytes = b"http"
) -> list[bytes]:
    """What the response with this status and fields to a request for TARGET invalidates."""
    return invalidated(PlainRequest(method, b"a", b"/x/y", b"q"), status, list(fields), scheme)


class InvalidatedTests(SynchronousTestCase):
    """RFC 9111 section 4.4."""

    def test_methods(self) -> None:
        """Unsafe methods and unknown ones invalidate the target, safe ones nothing."""
        for method in (b"POST", b"PUT", b"DELETE", b"PATCH", b"MKCOL", b"FOO", b"get"):
            self.assertEqual(uris(method=method), [TARGET])
        for method in (b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY", b"PROPFIND", b"CONNECT"):
            self.assertEqual(uris(method=method), [])

    def test_statuses(self) -> None:
        """Only where it was no error."""
        for status in (200, 201, 204, 299, 301, 303, 304, 399):
            self.assertEqual(uris(status=status), [TARGET])
        for status in (100, 199, 400, 404, 500, 503):
            self.assertEqual(uris(status=status), [])

    def test_references(self) -> None:
        """Location and Content-Location on the same origin, in every form a reference has."""
        for value, uri in (
            (b"/z", b"http://a/z"),
            (b"z?p=1", b"http://a/x/z?p=1"),
            (b"../z", b"http://a/z"),
            (b"?p", b"http://a/x/y?p"),
            (b"//A/z", b"http://a/z"),
            (b"HTTP://a:80/z#frag", b"http://a/z"),
            (b"http://a", b"http://a/"),
            (b"/%7e\xe9", b"http://a/%7e\xe9"),
        ):
            for name in (b"Location", b"content-location"):
                self.assertEqual(uris((name, value)), [TARGET, uri], value)
        self.assertEqual(
            uris((b"Location", b"/z"), (b"Content-Location", b"/w")), [TARGET, b"http://a/z", b"http://a/w"]
        )

    def test_once(self) -> None:
        """A URI is named once."""
        self.assertEqual(uris((b"Location", b"/x/y?q"), (b"Content-Location", b"")), [TARGET])

    def test_other_origins(self) -> None:
        """Another scheme, host or port is none of this response's business."""
        for value in (
            b"//b/z", b"https://a/z", b"http://a:8080/z", b"http://aa/z", b"http://a.b/z", b"ftp://a/z", b"mailto:x@y",
            b"http://user@a/z", b"http://a:0x50/z",
        ):  # fmt: skip
            self.assertEqual(uris((b"Location", value)), [TARGET], value)

    def test_tls(self) -> None:
        """The scheme is the listener's."""
        found = uris((b"Location", b"https://a:443/z"), (b"Content-Location", b"http://a/w"), scheme=b"https")
        self.assertEqual(found, [b"https://a/x/y?q", b"https://a/z"])

    def test_malformed(self) -> None:
        """What is no reference names nothing."""
        for value in (b"http://[a/z", b"//[::1/z", b"http://a:x/z"):
            self.assertEqual(uris((b"Location", value)), [TARGET], value)

    def test_other_fields(self) -> None:
        """Other fields name nothing."""
        self.assertEqual(uris((b"Link", b"</z>"), (b"Refresh", b"/z")), [TARGET])

    @given(
        st.lists(
            st.tuples(
                st.sampled_from([b"Location", b"Content-Location"]),
                st.binary(max_size=20) | st.text("a:/?#[].@%\n \\", max_size=12).map(str.encode),
            ),
            max_size=3,
        )
    )
    def test_any_reference(self, fields: Fields) -> None:
        """Whatever they say, the target is named first and nothing but what has its origin, a line each."""
        found = uris(*fields)
        self.assertEqual(found[0], TARGET)
        for uri in found:
            self.assertTrue(uri.startswith(b"http://a/"), uri)
            self.assertNotIn(b"\n", uri)
