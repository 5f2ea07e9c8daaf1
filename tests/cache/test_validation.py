"""What an origin is asked, and what its answer does to what is stored."""

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.asked import Asked
from balancer.cache.messages import PlainRequest, PlainResponse
from balancer.cache.policy import CachePolicy
from balancer.cache.stored import MUST_REVALIDATE, SOFT_PURGED, UNSIZED, Fields, Stored
from balancer.cache.validation import MAX_TAGS_BYTES, fetching, freshened, freshened_by_head, validating

NOW = 1_800_000_000.0


def at(seconds: float) -> bytes:
    """A date so many seconds from now."""
    return formatdate(NOW + seconds, usegmt=True).encode("ascii")


def kept(*fields: tuple[bytes, bytes], body: bytes = b"body", **more: object) -> Stored:
    """A response with these fields that was stored 100 seconds ago, for 60."""
    values: dict[str, object] = {"arrived": NOW - 100.0, "age": 0.0, "lifetime": 60.0, "serial": 1, **more}
    lines = b"".join(b"%b: %b\r\n" % field for field in [(b"Date", at(-100)), *fields])
    return Stored(200, b"OK", lines, body=body, **values)  # type: ignore[arg-type]


def asking(*fields: tuple[bytes, bytes], method: bytes = b"GET") -> PlainRequest:
    """A request."""
    return PlainRequest(method, b"a", b"/", None, list(fields))


TAG = (b"ETag", b'"v"')
WEAK = (b"ETag", b'W/"v"')
MODIFIED = (b"Last-Modified", at(-1000))
names = st.sampled_from([b"ETag", b"Last-Modified", b"Vary", b"Cache-Control", b"X"])
HOUR = (b"Cache-Control", b"max-age=3600")


class FetchingTests(SynchronousTestCase):
    """What goes to the origin on a miss."""

    def test_conditions(self) -> None:
        """The client's conditions that we answer do not; all else does, in order."""
        request = asking(
            (b"A", b"1"),
            (b"IF-None-Match", b"x"),
            (b"Range", b"bytes=0-"),
            (b"if-modified-since", b"x"),
            (b"If-Range", b"y"),
        )
        self.assertEqual(fetching(request), [(b"A", b"1"), (b"Range", b"bytes=0-"), (b"If-Range", b"y")])
        self.assertEqual(fetching(request, whole=True), [(b"A", b"1")])

    def test_directives_pass(self) -> None:
        """Cache-Control passes, for caches behind us (RFC 9111 section 5.2)."""
        request = asking((b"Cache-Control", b"no-cache"), (b"Pragma", b"no-cache"))
        self.assertEqual(fetching(request, True), request.fields)


class ValidatingTests(SynchronousTestCase):
    """RFC 9111 section 4.3.1."""

    def test_both(self) -> None:
        """The entity tag and Last-Modified of the one that is stored."""
        stored = kept(TAG, MODIFIED)
        fields = validating(asking((b"A", b"1"), (b"If-None-Match", b'"mine"')), stored, [stored])
        self.assertEqual(fields, [(b"A", b"1"), (b"If-None-Match", b'"v"'), (b"If-Modified-Since", MODIFIED[1])])

    def test_one(self) -> None:
        """Each of them alone; malformed ones not at all."""
        for fields, expected in (
            ([WEAK], [(b"If-None-Match", b'W/"v"')]),
            ([MODIFIED], [(b"If-Modified-Since", MODIFIED[1])]),
            ([(b"ETag", b"v"), (b"Last-Modified", b"x")], []),
            ([], []),
        ):
            stored = kept(*fields)
            self.assertEqual(validating(asking(), stored, [stored]), expected)

    def test_variants(self) -> None:
        """The tags of all that are for such a request; not of others, and not of parts."""
        chosen, other = kept(TAG, MODIFIED), kept((b"ETag", b'"w"'))
        foreign, part = kept((b"ETag", b'"x"'), nominated=b"a/=1"), kept((b"ETag", b'"y"'), parts=((0, 4),))
        fields = validating(asking(), chosen, [other, foreign, part, chosen])
        self.assertEqual(fields, [(b"If-None-Match", b'"v", "w"')])

    def test_same_tag(self) -> None:
        """A tag is sent once."""
        chosen = kept(TAG)
        self.assertEqual(validating(asking(), chosen, [chosen, kept(TAG)]), [(b"If-None-Match", b'"v"')])

    def test_length(self) -> None:
        """Many tags are not too many: the chosen one's always goes."""
        tags = [b'"%d%b"' % (number, b"x" * 1000) for number in range(9)]
        variants = [kept((b"ETag", tag)) for tag in tags]
        ((_, value),) = validating(asking(), variants[-1], variants)
        self.assertTrue(value.startswith(tags[-1]))
        self.assertLessEqual(len(value), MAX_TAGS_BYTES)
        short = [kept((b"ETag", b'"%d"' % number)) for number in range(1000)]
        self.assertLessEqual(len(validating(asking(), short[0], short)[0][1]), MAX_TAGS_BYTES)
        large = kept((b"ETag", b'"%b"' % (b"x" * 5000)))
        self.assertEqual(len(validating(asking(), large, [large, *variants])[0][1]), 5002)

    def test_ranges(self) -> None:
        """What is stored whole is validated whole, a part by the range that is asked for, without a date."""
        ranged = asking((b"Range", b"bytes=0-1"), (b"If-Range", b'"v"'))
        whole, part = kept(TAG, MODIFIED), kept(TAG, MODIFIED, parts=((0, 4),))
        self.assertEqual(
            [name for name, _ in validating(ranged, whole, [whole])], [b"If-None-Match", b"If-Modified-Since"]
        )
        self.assertEqual(
            [name for name, _ in validating(ranged, part, [part])], [b"Range", b"If-Range", b"If-None-Match"]
        )


class FreshenCase(SynchronousTestCase):
    """Has a 304 arrive."""

    def freshen(
        self, variants: list[Stored], *fields: tuple[bytes, bytes], asking: PlainRequest | None = None, **policy: object
    ) -> Stored | None:
        """What a 304 with these fields and a Date makes of what is stored."""
        request = PlainRequest(b"GET", b"a", b"/") if asking is None else asking
        rules = CachePolicy(**policy)  # type: ignore[arg-type]
        response = PlainResponse(304, [(b"Date", at(0)), *fields])
        return freshened(
            Asked(request, rules),
            request,
            variants,
            response,
            response.fields,
            rules,
            asked_at=NOW - 1,
            now=NOW,
            serial=5,
        )


class FreshenedTests(FreshenCase):
    """RFC 9111 sections 3.2 and 4.3.4."""

    def fresh(self, variants: list[Stored], *fields: tuple[bytes, bytes], **more: object) -> Stored:
        """It makes something of it."""
        found = self.freshen(variants, *fields, **more)  # type: ignore[arg-type]
        assert found is not None
        return found

    def test_fields(self) -> None:
        """The 304's fields take the place of those with the same names; others stay, and what describes the body."""
        stored = kept(
            (b"x-A", b"1"), (b"X-b", b"2"), TAG, (b"Content-Length", b"4"), (b"Content-Encoding", b"br"),
            (b"X-A", b"3"), (b"Content-Type", b"a/b"),
        )  # fmt: skip
        found = self.fresh(
            [stored], TAG, HOUR, (b"X-A", b"4"), (b"x-a", b"5"), (b"Content-Length", b"0"),
            (b"Content-Encoding", b"gzip"), (b"Content-Type", b"c/d"), (b"Content-Range", b"bytes 0-1/2"),
            (b"Connection", b"close"),
        )  # fmt: skip
        self.assertEqual(
            found.fields(),
            [
                (b"X-b", b"2"), TAG, (b"Content-Length", b"4"), (b"Content-Encoding", b"br"), (b"Date", at(0)), HOUR,
                (b"X-A", b"4"), (b"x-a", b"5"), (b"Content-Type", b"c/d"),
            ],
        )  # fmt: skip

    def test_times(self) -> None:
        """Lifetime, age and windows are those of the fields now; serial and arrival the 304's."""
        stored = kept(TAG, flags=SOFT_PURGED | MUST_REVALIDATE)
        found = self.fresh([stored], TAG, (b"Cache-Control", b"max-age=30, stale-if-error=5"), (b"Age", b"7"))
        self.assertEqual((found.arrived, found.age, found.lifetime, found.if_error), (NOW, 8.0, 30.0, 5.0))
        self.assertEqual((found.serial, found.flags, found.status, found.reason), (5, 0, 200, b"OK"))
        self.assertNotIn(b"Age:", found.lines)

    def test_stays(self) -> None:
        """Without new directives the old ones count again, from now on."""
        found = self.fresh([kept(TAG, (b"Cache-Control", b"s-maxage=60"))], TAG)
        self.assertEqual((found.lifetime, found.flags, found.age), (60.0, MUST_REVALIDATE, 1.0))

    def test_body(self) -> None:
        """The body is the same object, parts and an unknown size included."""
        stored = kept(TAG, HOUR, parts=((0, 4),), total=9, flags=UNSIZED)
        found = self.fresh([stored], TAG, asking=asking((b"Range", b"bytes=0-3")))
        self.assertIs(found.body, stored.body)
        self.assertEqual((found.parts, found.total, found.flags), (stored.parts, 9, UNSIZED))

    def test_strong(self) -> None:
        """A strong tag names the one with the same, and none else."""
        one, other = kept(TAG), kept((b"ETag", b'"w"'), body=b"other")
        self.assertEqual(self.fresh([one, other], (b"ETag", b'"w"'), HOUR).body, b"other")
        self.assertIsNone(self.freshen([one, other], (b"ETag", b'"x"'), HOUR))
        self.assertIsNone(self.freshen([kept(WEAK)], TAG, HOUR))
        self.assertIsNone(self.freshen([kept(MODIFIED)], TAG, MODIFIED, HOUR))

    def test_weak(self) -> None:
        """A weak tag names the latest that is weakly the same."""
        old = kept((b"Date", at(-500)), WEAK, body=b"old")
        old.lines = old.lines.partition(b"\r\n")[2]
        self.assertEqual(self.fresh([old, kept(TAG, body=b"new")], WEAK, HOUR).body, b"new")
        self.assertIsNone(self.freshen([kept((b"ETag", b'"w"'))], WEAK, HOUR))

    def test_date(self) -> None:
        """Last-Modified alone names one with the same."""
        self.assertIsNotNone(self.freshen([kept(MODIFIED, TAG)], MODIFIED, HOUR))
        self.assertIsNone(self.freshen([kept(MODIFIED)], (b"Last-Modified", at(-999)), HOUR))

    def test_no_validator(self) -> None:
        """A 304 without any names the only one that is stored, if that has none either."""
        self.assertIsNotNone(self.freshen([kept()], HOUR))
        self.assertIsNone(self.freshen([kept(), kept()], HOUR))
        self.assertIsNone(self.freshen([kept(TAG)], HOUR))
        self.assertIsNone(self.freshen([], HOUR))

    def test_vary(self) -> None:
        """Only what is for this request can be meant, and what it varies by has to stay."""
        german = kept(TAG, (b"Vary", b"accept-language"), nominated=b"accept-language/=de")
        self.assertIsNone(self.freshen([german], TAG, HOUR))
        found = self.fresh([german], TAG, HOUR, asking=asking((b"Accept-Language", b"DE")))
        self.assertEqual(found.nominated, german.nominated)
        request = asking((b"Accept-Language", b"de"))
        self.assertIsNone(self.freshen([german], TAG, HOUR, (b"Vary", b"foo"), asking=request))

    def test_not_stored(self) -> None:
        """What the 304 forbids to store is none, so that it is fetched."""
        for value in (b"no-store", b"private"):
            self.assertIsNone(self.freshen([kept(TAG)], TAG, (b"Cache-Control", value)))
        self.assertIsNone(self.freshen([kept(TAG)], TAG, (b"Vary", b"*")))

    def test_set_cookie(self) -> None:
        """Its cookie is for this client, unless the settings store cookies."""
        stored = kept(TAG, HOUR)
        for policy in ("pass", "strip"):
            self.assertNotIn(b"a=1", self.fresh([stored], TAG, (b"Set-Cookie", b"a=1"), set_cookie=policy).lines)
        found = self.fresh([stored], TAG, (b"Set-Cookie", b"a=1"), set_cookie="store")
        self.assertIn(b"Set-Cookie: a=1\r\n", found.lines)

    def test_old_is_untouched(self) -> None:
        """What was stored is not changed."""
        stored = kept(TAG, HOUR)
        before = (stored.lines, stored.arrived, stored.lifetime, stored.flags, stored.serial, stored.body)
        self.fresh([stored], TAG, (b"X", b"1"))
        after = (stored.lines, stored.arrived, stored.lifetime, stored.flags, stored.serial, stored.body)
        self.assertEqual(before, after)

    @given(
        st.lists(st.tuples(names, st.binary(max_size=6)), max_size=4),
        st.lists(st.sampled_from([TAG, WEAK, MODIFIED, HOUR, (b"Vary", b"X")]), max_size=3),
    )  # fmt: skip
    def test_any_answer(self, fields: Fields, more: Fields) -> None:
        """Whatever a 304 says, it makes something that was for this request, or nothing."""
        variants = [
            kept(TAG, HOUR),
            kept(MODIFIED, HOUR, body=b"other"),
            kept(WEAK, nominated=b"x/=1", body=b"foreign"),
        ]
        found = self.freshen(variants, *fields, *more)
        if found is not None:
            self.assertIn(found.body, (b"body", b"other"))
            self.assertEqual(found.arrived, NOW)


class HeadTests(SynchronousTestCase):
    """RFC 9111 section 4.3.5."""

    def told(
        self, stored: list[Stored], *fields: tuple[bytes, bytes], status: int = 200, directives: bytes = b"x"
    ) -> tuple[Stored | None, Stored | None]:
        """What the answer to HEAD with these fields makes of what is stored."""
        request = asking((b"Cache-Control", directives), method=b"HEAD")
        policy = CachePolicy()
        response = PlainResponse(status, [(b"Date", at(0)), *fields])
        return freshened_by_head(
            Asked(request, policy), request, stored, response, response.fields, policy, asked_at=NOW, now=NOW, serial=5
        )

    def test_same(self) -> None:
        """With the same validators and length it freshens what is stored."""
        stored = kept(TAG, MODIFIED, (b"Content-Length", b"4"))
        for fields in ([TAG, MODIFIED, (b"Content-Length", b"4")], [TAG], [(b"Content-Length", b"4")], []):
            old, new = self.told([stored], HOUR, (b"X", b"1"), *fields)
            self.assertIs(old, stored)
            assert new is not None
            self.assertEqual((new.lifetime, new.arrived, new.status, new.body), (3600.0, NOW, 200, b"body"))
            self.assertIn(b"X: 1\r\n", new.lines)

    def test_other(self) -> None:
        """With others what is stored is not to be used any more."""
        stored = kept(TAG, MODIFIED)
        for field in (
            WEAK,
            (b"ETag", b'"w"'),
            (b"Last-Modified", at(-5)),
            (b"Content-Length", b"5"),
            (b"Content-Length", b"x"),
        ):
            self.assertEqual(self.told([stored], HOUR, field), (stored, None))
        self.assertEqual(self.told([kept(MODIFIED)], HOUR, TAG)[1], None)

    def test_forbidden(self) -> None:
        """What it forbids to store is not to be used any more either."""
        stored = kept(TAG)
        self.assertEqual(self.told([stored], TAG, (b"Cache-Control", b"no-store")), (stored, None))

    def test_part(self) -> None:
        """Of a part the length of the whole is compared."""
        stored = kept(TAG, parts=((0, 4),), total=9)
        self.assertIsNotNone(self.told([stored], HOUR, TAG, (b"Content-Length", b"9"))[1])
        self.assertEqual(self.told([stored], HOUR, TAG, (b"Content-Length", b"4")), (stored, None))

    def test_nothing(self) -> None:
        """Another status, nothing that is for this request, or a request that forbids it touch nothing."""
        stored = kept(TAG)
        self.assertEqual(self.told([stored], TAG, status=404), (None, None))
        self.assertEqual(self.told([kept(TAG, nominated=b"a/=1")], TAG), (None, None))
        self.assertEqual(self.told([], TAG), (None, None))
        self.assertEqual(self.told([stored], TAG, directives=b"no-store"), (None, None))
