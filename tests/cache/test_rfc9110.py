"""RFC 9110, HTTP semantics: what it asks of a cache that answers conditions (13), ranges (14) and HEAD (9.3.2)."""

from email import message_from_bytes

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.cache_case import BODY, CacheCase, date

TAG = 'ETag: "a"'
MODIFIED = f"Last-Modified: {date(-5000)}"
MANY = ",".join(f"{first}-{first}" for first in range(0, 1000, 10))


class Stored(CacheCase, SynchronousTestCase):
    """A stored response of 1000 bytes."""

    def setUp(self) -> None:
        """With all kinds of fields."""
        super().setUp()
        self.lines = (
            "Cache-Control: max-age=60", TAG, MODIFIED, f"Expires: {date(60)}", "Content-Location: /c",
            "Vary: Accept", "Content-Type: text/plain", "Content-Language: en", "X-A: 1",
        )  # fmt: skip
        self.origin(*self.lines)
        self.ask()


class Head(Stored):
    """9.3.2 and 8.6."""

    def test_fields(self) -> None:
        """RFC 9110 section 9.3.2: HEAD has the fields that GET has, and no content."""
        whole = self.ask()
        head = self.ask(method=b"HEAD")
        self.assertEqual((self.sent, head.body, head.status), ([], b"", 200))
        self.assertEqual(head.fields, whole.fields)

    def test_no_range(self) -> None:
        """RFC 9110 section 14.2: Range is for GET alone."""
        self.assertEqual(self.ask("Range: bytes=0-1", method=b"HEAD").status, 200)


class Dates(CacheCase, SynchronousTestCase):
    """6.6.1."""

    def test_added(self) -> None:
        """RFC 9110 section 6.6.1: to a response without Date the time it came is added; the age counts from it."""
        self.origin("Cache-Control: max-age=60", dated=False)
        self.assertEqual(self.ask().get_all(b"date"), [date(0).encode()])
        self.wait(7)
        reply = self.ask()
        self.assertEqual((self.sent, reply.get_all(b"date"), reply.get(b"age")), ([], [date(0).encode()], b"7"))


class Section13(Stored):
    """Conditional requests."""

    def test_if_none_match(self) -> None:
        """RFC 9110 section 13.1.2: If-None-Match compares weakly, any of a list, and * is any representation."""
        for value in ('"a"', 'W/"a"', '"x", "a"', "*"):
            self.assertEqual(self.ask(f"If-None-Match: {value}").status, 304, value)
        for value in ('"x"', '"A"', "a", '"a', ""):
            self.assertEqual(self.ask(f"If-None-Match: {value}").status, 200, value)
        self.assertEqual(self.ask('If-None-Match: "x"', 'If-None-Match: "a"').status, 304)

    def test_if_modified_since(self) -> None:
        """RFC 9110 section 13.1.3: a value that is no date, or has several members, is ignored."""
        for value in ("", "x", "0", f"{date(0)}, {date(0)}", date(0).replace("GMT", "CET")):
            self.assertEqual(self.ask(f"If-Modified-Since: {value}").status, 200, value)
        self.assertEqual(self.ask(f"If-Modified-Since: {date(0)}", f"If-Modified-Since: {date(0)}").status, 200)
        self.assertEqual(self.ask(f"If-Modified-Since: {date(0)}").status, 304)

    def test_beside_if_none_match(self) -> None:
        """RFC 9110 section 13.1.3: ... and so is one beside If-None-Match, whatever that says."""
        for value in ('"x"', "nonsense", ""):
            self.assertEqual(self.ask(f"If-None-Match: {value}", f"If-Modified-Since: {date(0)}").status, 200, value)

    def test_only_for_success(self) -> None:
        """RFC 9110 section 13.2.1: conditions are ignored where the answer would be neither a 2xx nor a 412."""
        for status in (404, 410, 301):
            self.origin("Cache-Control: max-age=60", TAG, status=status)
            self.ask(path=b"/%d" % status)
            reply = self.ask('If-None-Match: "a"', path=b"/%d" % status)
            self.assertEqual((self.sent, reply.status), ([], status))

    def test_before_ranges(self) -> None:
        """RFC 9110 section 13.2.2: If-None-Match, then If-Modified-Since, then Range with If-Range."""
        self.assertEqual(self.ask('If-None-Match: "a"', "Range: bytes=0-1").status, 304)
        self.assertEqual(self.ask('If-None-Match: "x"', "Range: bytes=0-1").status, 206)
        self.assertEqual(self.ask(f"If-Modified-Since: {date(0)}", "Range: bytes=0-1").status, 304)
        self.assertEqual(self.ask('If-None-Match: "a"', "Range: bytes=5000-").status, 304)

    def test_304(self) -> None:
        """RFC 9110 section 15.4.5: 304 has Content-Location, Date, ETag, Vary, Cache-Control and Expires of the 200,
        and no other metadata of the representation; and no content (6.4.1)."""
        reply = self.ask('If-None-Match: "a"')
        names = {name.lower() for name, _ in reply.fields} - {b"age", b"cache-status"}
        self.assertEqual(names, {b"content-location", b"date", b"etag", b"vary", b"cache-control", b"expires"})
        self.assertEqual(reply.body, b"")

    def test_304_without_tag(self) -> None:
        """RFC 9110 section 15.4.5: Last-Modified is of use where there is no ETag."""
        self.origin("Cache-Control: max-age=60", MODIFIED)
        self.ask(path=b"/b")
        reply = self.ask(f"If-Modified-Since: {date(0)}", path=b"/b")
        self.assertEqual((reply.status, reply.get(b"last-modified")), (304, date(-5000).encode()))


class IfRange(Stored):
    """13.1.5."""

    def status(self, value: str) -> int:
        """What a request for a range gets with this If-Range."""
        return self.ask("Range: bytes=0-1", f"If-Range: {value}").status

    def test_tags(self) -> None:
        """RFC 9110 section 13.1.5: a tag is compared strongly; where it fails, Range is ignored."""
        self.assertEqual(self.status('"a"'), 206)
        for value in ('"x"', 'W/"a"', "*", '"a", "b"', "nonsense"):
            self.assertEqual(self.status(value), 200, value)

    def test_weak(self) -> None:
        """RFC 9110 section 13.1.5: ... also if what is stored has a weak one."""
        self.origin("Cache-Control: max-age=60", 'ETag: W/"a"')
        self.ask(path=b"/b")
        for value in ('"a"', 'W/"a"'):
            self.assertEqual(self.ask("Range: bytes=0-1", f"If-Range: {value}", path=b"/b").status, 200, value)

    def test_dates(self) -> None:
        """RFC 9110 sections 13.1.5 and 8.8.2.2: a date has to be Last-Modified's exactly, and that strong."""
        self.assertEqual(self.status(date(-5000)), 206)
        for seconds in (-4999, -5001, 0):
            self.assertEqual(self.status(date(seconds)), 200, seconds)
        self.origin("Cache-Control: max-age=60", f"Last-Modified: {date(0)}")
        self.ask(path=b"/b")
        self.assertEqual(self.ask("Range: bytes=0-1", f"If-Range: {date(0)}", path=b"/b").status, 200)

    def test_without_range(self) -> None:
        """RFC 9110 section 13.1.5: without Range, If-Range is ignored."""
        self.assertEqual(self.ask('If-Range: "a"').status, 200)

    def test_unsatisfiable(self) -> None:
        """RFC 9110 section 13.1.5: where it fails, not even an unsatisfiable range is looked at."""
        self.assertEqual(self.ask("Range: bytes=5000-", 'If-Range: "x"').status, 200)
        self.assertEqual(self.ask("Range: bytes=5000-", 'If-Range: "a"').status, 416)


class Section14(Stored):
    """Range requests."""

    def test_single(self) -> None:
        """RFC 9110 section 15.3.7.1: one range has a Content-Range; the length is the part's."""
        for value, first, last in (("0-9", 0, 9), ("990-", 990, 999), ("-10", 990, 999), ("995-2000", 995, 999)):
            reply = self.ask(f"Range: bytes={value}")
            self.assertEqual((self.sent, reply.status, reply.body), ([], 206, BODY[first : last + 1]), value)
            self.assertEqual(reply.get_all(b"content-range"), [b"bytes %d-%d/1000" % (first, last)])
            self.assertEqual(reply.get_all(b"content-length"), [b"%d" % len(reply.body)])

    def test_fields(self) -> None:
        """RFC 9110 section 15.3.7: 206 has all the fields that the 200 has, but for those of the content's length."""
        whole = {field for field in self.ask().fields if field[0].lower() != b"content-length"}
        part = set(self.ask("Range: bytes=0-9").fields)
        self.assertEqual(whole - part, set())

    def test_suffix_longer(self) -> None:
        """RFC 9110 section 14.1.2: a suffix longer than the representation is all of it."""
        self.assertEqual(self.ask("Range: bytes=-5000").get(b"content-range"), b"bytes 0-999/1000")

    def test_units(self) -> None:
        """RFC 9110 sections 14.1 and 14.2: names of units have no case; a unit that is unknown is ignored."""
        self.assertEqual(self.ask("Range: BYTES=0-9").status, 206)
        for value in ("items=0-9", "byte=0-9", "bytes 0-9", "0-9"):
            self.assertEqual(self.ask(f"Range: {value}").status, 200, value)

    def test_invalid(self) -> None:
        """RFC 9110 section 14.2: an invalid Range may be ignored, and is."""
        for value in ("bytes=9-0", "bytes=", "bytes=-", "bytes=a-", "bytes=0-9,9-0", "bytes=0-9;x"):
            reply = self.ask(f"Range: {value}")
            self.assertEqual((self.sent, reply.status, reply.body), ([], 200, BODY), value)

    def test_methods(self) -> None:
        """RFC 9110 section 14.2: Range is ignored with methods for which it is not defined."""
        self.ask(method=b"QUERY")
        reply = self.ask("Range: bytes=0-9", method=b"QUERY")
        self.assertEqual((self.sent, reply.status), ([], 200))

    def test_only_for_200(self) -> None:
        """RFC 9110 section 14.2: ... and where the answer would not be a 200."""
        for status in (404, 203):
            self.origin("Cache-Control: max-age=60", status=status)
            self.ask(path=b"/%d" % status)
            self.assertEqual(self.ask("Range: bytes=0-9", path=b"/%d" % status).status, status)

    def test_unsatisfiable(self) -> None:
        """RFC 9110 section 15.5.17: 416 says the length in Content-Range; nothing else of the representation."""
        for value in ("1000-", "1000-2000", "-0", "5000-,-0", "9" * 100 + "-"):
            reply = self.ask(f"Range: bytes={value}")
            self.assertEqual((self.sent, reply.status, reply.body), ([], 416, b""), value)
            self.assertEqual(reply.get_all(b"content-range"), [b"bytes */1000"])
            self.assertEqual(reply.get(b"content-length"), b"0")
            for name in (b"etag", b"content-type", b"cache-control"):
                self.assertIsNone(reply.get(name), name)

    def test_attacks(self) -> None:
        """RFC 9110 sections 14.2 and 17.15: many small or overlapping ranges get no more than the whole is."""
        for value in (MANY, ",".join(["0-"] * 100), ",".join(["0-999"] * 20), ",".join(["-1", "0-"] * 10)):
            self.assertLessEqual(len(self.ask(f"Range: bytes={value}").body), 1000, value)

    def test_large_numbers(self) -> None:
        """RFC 9110 section 14.1.1: large numbers are expected."""
        self.assertEqual(self.ask("Range: bytes=990-" + "9" * 5000).body, BODY[990:])

    def test_multipart(self) -> None:
        """RFC 9110 sections 14.6 and 15.3.7.2: several ranges are the parts of a multipart/byteranges, each with its
        Content-Range and the Content-Type of the whole, in the order asked for; the head has no Content-Range."""
        reply = self.ask("Range: bytes=500-509,0-9,2000-")
        kind = reply.get(b"content-type") or b""
        self.assertEqual((self.sent, reply.status, reply.get(b"content-range")), ([], 206, None))
        self.assertTrue(kind.startswith(b"multipart/byteranges; boundary="))
        self.assertEqual(reply.get(b"content-length"), b"%d" % len(reply.body))
        parts = message_from_bytes(b"Content-Type: " + kind + b"\r\n\r\n" + reply.body).get_payload()
        assert isinstance(parts, list)
        self.assertEqual([part["Content-Range"] for part in parts], ["bytes 500-509/1000", "bytes 0-9/1000"])
        self.assertEqual([part["Content-Type"] for part in parts], ["text/plain"] * 2)
        self.assertEqual([part.get_payload() for part in parts], ["0123456789"] * 2)

    def test_no_multipart_for_one(self) -> None:
        """RFC 9110 section 15.3.7.2: a request for one range never gets multipart; nor here one for several of which
        one is left."""
        for value in ("0-9", "0-9,5-20", "0-9,2000-", "0-9,20-29"):
            self.assertEqual(self.ask(f"Range: bytes={value}").get(b"content-type"), b"text/plain", value)

    def test_from_the_origin(self) -> None:
        """RFC 9110 section 14.2: what comes whole though a range was asked for answers the range."""
        reply = self.ask("Range: bytes=0-9", path=b"/b")
        self.assertEqual((len(self.sent), reply.status, reply.body), (1, 206, BODY[:10]))
        self.assertTrue(self.hit(path=b"/b"))


class PartsOfOthers(CacheCase, SynchronousTestCase):
    """14.4: Content-Range as it is received."""

    def test_invalid(self) -> None:
        """RFC 9110 section 14.4: a part with an invalid Content-Range is recombined with nothing."""
        for value in ("bytes 9-0/1000", "bytes 0-999/1000, bytes 0-1/2", "bytes 0-1000/1000", "bytes a-b/c", ""):
            self.setUp()
            self.origin("Cache-Control: max-age=60", TAG, f"Content-Range: {value}", status=206)
            self.ask("Range: bytes=0-999")
            self.assertFalse(self.hit("Range: bytes=0-999"), value)

    def test_length(self) -> None:
        """RFC 9110 section 14.4: nor is one whose content has another length."""
        self.origin("Cache-Control: max-age=60", TAG, "Content-Range: bytes 0-99/1000", status=206, body=b"short")
        self.ask("Range: bytes=0-99")
        self.assertFalse(self.hit("Range: bytes=0-99"))

    def test_multipart(self) -> None:
        """RFC 9110 section 15.3.7.2: a multipart response is passed on as it is."""
        kind = "Content-Type: multipart/byteranges; boundary=x"
        self.origin("Cache-Control: max-age=60", TAG, kind, status=206, body=b"--x--")
        self.assertEqual(self.ask("Range: bytes=0-1,500-501").body, b"--x--")
        self.assertFalse(self.hit("Range: bytes=0-1"))
