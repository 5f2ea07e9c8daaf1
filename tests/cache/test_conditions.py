"""Conditional requests against what is stored."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.conditions import APART, Validators, must_forward, range_holds, unmodified, validators
from balancer.cache.messages import PlainRequest
from balancer.cache.stored import Fields, Stored

THEN = b"Tue, 24 Nov 2026 10:00:00 GMT"
"""Last-Modified."""
BEFORE = b"Tue, 24 Nov 2026 09:59:59 GMT"
LATER = b"Tue, 24 Nov 2026 12:00:00 GMT"
"""Date."""
SECONDS = 1795521600.0
"""LATER."""

STRONG = Validators(b'"a"', THEN, LATER, SECONDS)
WEAK = Validators(b'W/"a"', THEN, LATER, SECONDS)
DATED = Validators(b"", THEN, LATER, SECONDS)
NOTHING = Validators(b"", b"", LATER, SECONDS)


def request(*fields: tuple[bytes, bytes], method: bytes = b"GET") -> PlainRequest:
    """One with these fields."""
    return PlainRequest(method, b"a", b"/", None, list(fields))


def matches(*values: bytes, kept: Validators = STRONG, method: bytes = b"GET") -> bool:
    """Whether these If-None-Match lines make a 304."""
    return unmodified(request(*[(b"If-None-Match", value) for value in values], method=method), kept, SECONDS)


def since(*values: bytes, kept: Validators = DATED, method: bytes = b"GET") -> bool:
    """Whether these If-Modified-Since lines make a 304."""
    return unmodified(request(*[(b"If-Modified-Since", value) for value in values], method=method), kept, SECONDS)


def found(lines: bytes) -> Validators:
    """Those of a response with these lines."""
    return validators(Stored(200, b"OK", lines, SECONDS, 0.0, 60.0))


def in_range(*values: bytes, kept: Validators = STRONG) -> bool:
    """Whether Range counts with these If-Range lines."""
    return range_holds(request(*[(b"If-Range", value) for value in values]), kept)


class ValidatorTests(SynchronousTestCase):
    """What a stored response says."""

    def test_found(self) -> None:
        """ETag, Last-Modified and Date, whatever the case of their names."""
        kept = found(b'etag:"a"\r\nLAST-MODIFIED: %b\r\nX-ETag: "b"\r\nDate: %b \r\n' % (THEN, LATER))
        self.assertEqual((kept.etag, kept.modified, kept.date_at), (b'"a"', THEN, SECONDS))
        kept = found(b"")
        self.assertEqual((kept.etag, kept.modified, kept.date_at), (b"", b"", None))

    def test_repeated(self) -> None:
        """A field that is there more than once, and says different things, matches nothing, and nothing takes its
        place."""
        self.assertEqual(found(b'ETag: "a"\r\nETag: "a"\r\n').etag, b'"a"')
        kept = found(b'ETag: "a"\r\nETag: "b"\r\nETag: "a"\r\nDate: %b\r\n' % THEN)
        self.assertEqual(kept.strong, b"")
        for value in (b'"a"', b'"b"', b'"a", "b"', b""):
            self.assertFalse(matches(value, kept=kept), value)
        kept = found(b"Last-Modified: %b\r\nLast-Modified: %b\r\nDate: %b\r\n" % (THEN, BEFORE, THEN))
        self.assertFalse(since(LATER, kept=kept))

    def test_strong(self) -> None:
        """An entity tag that is not weak; or, without one, a Last-Modified long enough before Date."""
        self.assertEqual(STRONG.strong, b'"a"')
        self.assertEqual(DATED.strong, THEN)
        for kept in (WEAK, NOTHING, Validators(b"a", THEN, LATER, SECONDS), Validators(b'"', THEN, LATER, SECONDS)):
            self.assertEqual(kept.strong, b"")

    def test_too_close(self) -> None:
        """A Last-Modified less than a minute before Date is weak: there may have been another change since."""
        for seconds, strong in ((APART - 1, False), (APART, True)):
            date = b"Tue, 24 Nov 2026 10:%02d:%02d GMT" % divmod(seconds, 60)
            self.assertEqual(Validators(b"", THEN, date, SECONDS).dated_strongly(), strong)
        self.assertFalse(Validators(b"", THEN, b"", SECONDS).dated_strongly())
        self.assertFalse(Validators(b"", LATER, THEN, SECONDS).dated_strongly())


class IfNoneMatchTests(SynchronousTestCase):
    """RFC 9110 section 13.1.2."""

    def test_match(self) -> None:
        """The tag alone, in a list, in one of several lines, and any tag."""
        for values in ([b'"a"'], [b'"b", "a"'], [b'"b"', b'"a"'], [b', "b" ,, "a",'], [b"*"]):
            self.assertTrue(matches(*values), values)

    def test_weak_comparison(self) -> None:
        """W/ makes no difference, on either side."""
        for kept in (STRONG, WEAK):
            for value in (b'W/"a"', b'"a"', b'"b",W/"a"'):
                self.assertTrue(matches(value, kept=kept), value)

    def test_other(self) -> None:
        """Other tags, in another case, or parts of them, do not match."""
        for value in (b'"b"', b'"A"', b'"aa"', b'"b", "c"', b'w/"a"', b""):
            self.assertFalse(matches(value), value)

    def test_comma_within(self) -> None:
        """A comma belongs to the tag it stands in."""
        kept = Validators(b'"a,b"', b"", b"", SECONDS)
        self.assertTrue(matches(b'"x", "a,b"', kept=kept))
        self.assertFalse(matches(b'"a", "b"', kept=kept))
        self.assertFalse(matches(b'"x,"a","y"'))

    def test_unreadable(self) -> None:
        """A list that is none matches nothing, and If-Modified-Since does not come into its place."""
        for value in (b"a", b'"a', b'"a" "b"', b'"b"; "a"', b'*, "a"', b'"\x00", "a"'):
            self.assertFalse(matches(value), value)
            both = request((b"If-None-Match", value), (b"If-Modified-Since", LATER))
            self.assertFalse(unmodified(both, STRONG, SECONDS), value)

    def test_what_the_server_called_it(self) -> None:
        """A stored tag without quotes is that of whoever sends the same back, and of nobody else."""
        kept = Validators(b"abc", b"", b"", SECONDS)
        self.assertTrue(matches(b"abc", kept=kept))
        self.assertFalse(matches(b'"abc"', kept=kept))
        self.assertFalse(matches(b'abc, "b"', kept=kept))

    def test_without_tag(self) -> None:
        """No tag matches a response that has none; that there is any is true of it."""
        self.assertFalse(matches(b'"a"', kept=DATED))
        self.assertFalse(matches(b"", kept=DATED))
        self.assertTrue(matches(b"*", kept=DATED))

    def test_before_dates(self) -> None:
        """If-Modified-Since counts for nothing beside it (section 13.2.2)."""
        both = request((b"If-None-Match", b'"b"'), (b"If-Modified-Since", LATER))
        self.assertFalse(unmodified(both, STRONG, SECONDS))
        both = request((b"If-None-Match", b'"a"'), (b"If-Modified-Since", BEFORE))
        self.assertTrue(unmodified(both, STRONG, SECONDS))

    def test_methods(self) -> None:
        """304 is an answer to GET and HEAD only."""
        self.assertTrue(matches(b'"a"', method=b"HEAD"))
        for method in (b"QUERY", b"POST", b"get"):
            self.assertFalse(matches(b'"a"', method=method))


class IfModifiedSinceTests(SynchronousTestCase):
    """RFC 9110 section 13.1.3, RFC 9111 section 4.3.2."""

    def test_dates(self) -> None:
        """Not modified after that date: that of Last-Modified or a later one."""
        self.assertTrue(since(THEN))
        self.assertTrue(since(LATER))
        self.assertFalse(since(BEFORE))

    def test_forms(self) -> None:
        """In each of the three forms of a date (section 5.6.7)."""
        for value, same in (
            (b"Tuesday, 24-Nov-26 10:00:00 GMT", True),
            (b"Tuesday, 24-Nov-26 09:59:59 GMT", False),
            (b"Tue Nov 24 10:00:00 2026", True),
            (b"Tue Nov 24 09:59:59 2026", False),
        ):
            self.assertEqual(since(value), same, value)

    def test_unreadable(self) -> None:
        """No date, or several, are ignored."""
        for values in ([b""], [b"x"], [b"0"], [LATER + b", " + LATER], [LATER, LATER]):
            self.assertFalse(since(*values), values)

    def test_without_last_modified(self) -> None:
        """Then Date counts, and without it when the response came."""
        self.assertTrue(since(LATER, kept=NOTHING))
        self.assertFalse(since(THEN, kept=NOTHING))
        self.assertTrue(since(LATER, kept=Validators(b"", b"", b"", SECONDS)))
        self.assertFalse(since(THEN, kept=Validators(b"", b"", b"", SECONDS)))

    def test_unreadable_last_modified(self) -> None:
        """Of a response with a Last-Modified that is no date nothing is known."""
        self.assertFalse(since(LATER, kept=Validators(b"", b"yesterday", LATER, SECONDS)))

    def test_methods(self) -> None:
        """Only GET and HEAD."""
        self.assertTrue(since(THEN, method=b"HEAD"))
        self.assertFalse(since(THEN, method=b"QUERY"))


class IfRangeTests(SynchronousTestCase):
    """RFC 9110 section 13.1.5."""

    def test_absent(self) -> None:
        """Without it Range counts."""
        self.assertTrue(in_range())

    def test_tags(self) -> None:
        """The same strong tag, and no weak one on either side."""
        self.assertTrue(in_range(b'"a"'))
        for value in (b'"b"', b'W/"a"', b'"a", "b"', b"*", b""):
            self.assertFalse(in_range(value), value)
        for value in (b'"a"', b'W/"a"'):
            self.assertFalse(in_range(value, kept=WEAK), value)

    def test_dates(self) -> None:
        """Exactly that of Last-Modified, where that is strong."""
        self.assertTrue(in_range(THEN))
        self.assertTrue(in_range(THEN, kept=DATED))
        self.assertFalse(in_range(LATER))
        self.assertFalse(in_range(BEFORE))
        self.assertFalse(in_range(THEN, kept=Validators(b'"a"', THEN, THEN, SECONDS)))
        self.assertFalse(in_range(THEN, kept=NOTHING))

    def test_repeated(self) -> None:
        """Two of them hold for nothing."""
        self.assertFalse(in_range(b'"a"', b'"a"'))


class ForwardTests(SynchronousTestCase):
    """What the origin has to judge."""

    def test_must_forward(self) -> None:
        """If-Match and If-Unmodified-Since, whatever they say, and no other condition."""
        for name in (b"If-Match", b"if-unmodified-since"):
            self.assertTrue(must_forward(request((name, b""))), name)
        for name in (b"If-None-Match", b"If-Modified-Since", b"If-Range", b"Range"):
            self.assertFalse(must_forward(request((name, b"*"))), name)


_values = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from([b'"a"', b"W/", b'"', b",", b" ", b"*", b"\\", b"\xff", THEN, b"GMT"])).map(b"".join),
)


class Laws(SynchronousTestCase):
    """For all bytes."""

    @given(
        st.lists(st.tuples(st.sampled_from([b"If-None-Match", b"If-Modified-Since", b"If-Range"]), _values)),
        st.builds(Validators, _values, _values, _values, st.just(SECONDS)),
    )
    def test_never_raises(self, fields: Fields, kept: Validators) -> None:
        """Whatever stands in the fields of either side, there is an answer; and whoever has nothing gets all."""
        asking = request(*fields)
        self.assertIn(unmodified(asking, kept, SECONDS), (True, False))
        self.assertIn(range_holds(asking, kept), (True, False))
        self.assertIsInstance(kept.strong, bytes)
        self.assertFalse(unmodified(request(), kept, SECONDS))

    @given(st.lists(st.from_regex(rb'(W/)?"[!#-~]*"', fullmatch=True)), st.from_regex(rb'"[!#-~]*"', fullmatch=True))
    def test_lists(self, tags: list[bytes], mine: bytes) -> None:
        """A list matches exactly if one of its tags does, weakly compared."""
        expected = any(tag.removeprefix(b"W/") == mine for tag in tags)
        self.assertEqual(matches(b", ".join(tags), kept=Validators(mine, b"", b"", SECONDS)), expected)
