"""One request to the cache as a library, and its reply."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.asked import Asked
from balancer.cache.asking import Asking, Reply, content
from balancer.cache.messages import PlainRequest
from balancer.cache.policy import CachePolicy
from balancer.cache.reuse import MISS, VALIDATE, Decision, Kind
from balancer.cache.stored import Fields, Stored

STORED = Stored(200, b"OK", b'ETag: "a"\r\n', 0.0, 0.0, 60.0, body=b"abc")


class Body:
    """A body that is read in pieces, and its own reader."""

    file = None

    def __init__(self, pieces: list[object], size: int) -> None:
        self.pieces = pieces
        self.size = size
        self.closed = 0

    def open(self) -> "Body":
        """A reader."""
        return self

    def read(self, offset: int, size: int) -> object:
        """The next piece."""
        return self.pieces.pop(0)

    def close(self) -> None:
        """It is read."""
        self.closed += 1


def asking(kind: Kind, stored: Stored | None, *fields: tuple[bytes, bytes], method: bytes = b"GET") -> Asking:
    """A request about which that was decided."""
    request = PlainRequest(method, b"a", b"/", None, list(fields))
    variants = [] if stored is None else [stored]
    return Asking(request, Asked(request, CachePolicy()), b"key", variants, Decision(kind, stored), 7.0, 0)


class AskingTests(SynchronousTestCase):
    """What goes to the origin."""

    CONDITION: Fields = [(b"If-None-Match", b'"mine"')]
    RANGE: Fields = [(b"Range", b"bytes=0-1")]

    def test_miss(self) -> None:
        """The client's own conditions do not, its range does."""
        asked = asking(MISS, None, *self.CONDITION, *self.RANGE)
        self.assertEqual((asked.fields, asked.validates), (self.RANGE, False))

    def test_if_range(self) -> None:
        """With If-Range neither does: the whole serves everyone."""
        self.assertEqual(asking(MISS, None, *self.RANGE, (b"If-Range", b'"a"')).fields, [])

    def test_validating(self) -> None:
        """The validators of what is stored do; in vain, the whole is asked for, and counts from then on."""
        asked = asking(VALIDATE, STORED, *self.CONDITION, *self.RANGE)
        self.assertEqual((asked.fields, asked.validates), ([(b"If-None-Match", b'"a"')], True))
        asked.anew(9.0)
        self.assertEqual((asked.fields, asked.validates, asked.at), ([], False, 9.0))

    def test_past_the_cache(self) -> None:
        """What the cache has no part in goes as it came."""
        self.assertEqual(asking(MISS, None, *self.CONDITION, method=b"POST").fields, self.CONDITION)


class ReplyTests(SynchronousTestCase):
    """What is sent."""

    def test_fields(self) -> None:
        """Fields are found by their lower-case names, and it tells what it is."""
        reply = Reply(200, [(b"A", b"1"), (b"a", b"2")], b"abc", None, "no-store")
        self.assertEqual((reply.get(b"a"), reply.get_all(b"a"), reply.get(b"b")), (b"1", [b"1", b"2"], None))
        self.assertIn("200 3 bytes None no-store", repr(reply))


class ContentTests(SynchronousTestCase):
    """Reading a stored body."""

    def test_pieces(self) -> None:
        """One that is not bytes is read to its end, and closed."""
        body = Body([b"ab", b"c", b"de"], 5)
        self.assertEqual((content(STORED.with_body(body)), body.closed), (b"abcde", 1))
        self.assertEqual(content(STORED), b"abc")

    def test_slow(self) -> None:
        """One that takes time is refused in words, and closed."""
        body = Body([b"ab", Deferred()], 5)
        self.assertRaises(TypeError, content, STORED.with_body(body))
        self.assertEqual(body.closed, 1)
