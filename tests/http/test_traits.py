"""What selectors learn of a request."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.http.traits import RequestTraits
from balancer.http1.heads import RequestHead
from balancer.http1.limits import HttpLimits
from balancer.http1.parser import RequestParser


def traits(data: bytes, client: str = "192.0.2.1") -> RequestTraits:
    """The traits of the request with this head."""
    parser = RequestParser(HttpLimits())
    parser.feed(data)
    head = parser.next_event()
    assert isinstance(head, RequestHead)
    return RequestTraits(head, client)


class TraitsTests(SynchronousTestCase):
    """The answers."""

    def test_answers(self) -> None:
        """Each part of the head is there as received, the host in lower case."""
        known = traits(b"PUT /a%20b?x=1 HTTP/1.1\r\nHost: Test:80\r\nX-A: 1\r\nx-a: 2\r\n\r\n")
        self.assertEqual(known.source(), "192.0.2.1")
        self.assertEqual(known.method(), b"PUT")
        self.assertEqual(known.host(), b"test:80")
        self.assertEqual((known.path(), known.query()), (b"/a%20b", b"x=1"))
        self.assertEqual((known.header(b"x-a"), known.header(b"x-b")), (b"1", None))

    def test_cookies(self) -> None:
        """Several Cookie fields are one list, so that a hash by any cookie finds its key."""
        known = traits(b"GET / HTTP/1.1\r\nHost: a\r\nCookie: a=1\r\nCookie: b=2\r\n\r\n")
        self.assertEqual(known.header(b"cookie"), b"a=1; b=2")

    def test_unknown(self) -> None:
        """What is not known is None, so that a hash has no key."""
        known = traits(b"GET / HTTP/1.0\r\n\r\n", "unknown")
        self.assertEqual((known.source(), known.host(), known.query()), (None, None, None))
