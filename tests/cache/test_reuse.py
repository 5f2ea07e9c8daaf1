"""Which stored response answers a request, and whether it may."""

from email.utils import formatdate

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.asked import Asked
from balancer.cache.messages import PlainRequest
from balancer.cache.policy import BypassPolicy, CachePolicy
from balancer.cache.reuse import (
    HIT,
    MISS,
    REFUSED,
    STALE,
    VALIDATE,
    Decision,
    current_age,
    decide,
    early,
    fresh,
    select,
    usable_on_error,
)
from balancer.cache.stored import ALWAYS_VALIDATE, IMMUTABLE, MUST_REVALIDATE, SOFT_PURGED, Stored

NOW = 1_800_000_000.0
ETAG = b'ETag: "v"\r\n'
POLICY = CachePolicy()


def kept(
    lifetime: float = 60.0, *, lines: bytes = ETAG, arrived: float = NOW, age: float = 0.0, **more: object
) -> Stored:
    """A stored response that arrived now."""
    return Stored(200, b"OK", lines, arrived, age, lifetime, **more)  # type: ignore[arg-type]


def dated(seconds: float) -> bytes:
    """A Date line so many seconds from now."""
    return b"Date: %b\r\n" % formatdate(NOW + seconds, usegmt=True).encode("ascii")


def asking(directives: bytes = b"", *fields: tuple[bytes, bytes], method: bytes = b"GET") -> PlainRequest:
    """A request with these directives and fields."""
    return PlainRequest(method, b"a", b"/", None, [*([(b"Cache-Control", directives)] if directives else []), *fields])


def decided(
    stored: Stored | list[Stored],
    directives: bytes = b"",
    *fields: tuple[bytes, bytes],
    after: float = 0.0,
    chance: float = 0.0,
    method: bytes = b"GET",
    policy: CachePolicy = POLICY,
) -> Decision:
    """What is done about such a request so many seconds after what is stored arrived."""
    request = asking(directives, *fields, method=method)
    variants = stored if isinstance(stored, list) else [stored]
    return decide(Asked(request, policy), request, variants, policy, NOW + after, chance)


class FreshTests(SynchronousTestCase):
    """The fast test."""

    def test_time(self) -> None:
        """Fresh while its age is less than its lifetime (RFC 9111 section 4.2)."""
        stored = kept(60.0, age=10.0)
        self.assertEqual([fresh(stored, NOW + after) for after in (0, 49.9, 50, 51)], [True, True, False, False])
        self.assertFalse(fresh(kept(0.0), NOW))

    def test_clock_set_back(self) -> None:
        """Before it arrived it is not fresh."""
        self.assertFalse(fresh(kept(60.0), NOW - 0.1))

    def test_flags(self) -> None:
        """no-cache and a soft purge make it stale; nothing else does. A part is not the whole."""
        for flags, expected in ((ALWAYS_VALIDATE, False), (SOFT_PURGED, False), (MUST_REVALIDATE | IMMUTABLE, True)):
            self.assertEqual(fresh(kept(60.0, flags=flags), NOW), expected)
        self.assertFalse(fresh(kept(60.0, parts=((0, 5),)), NOW))

    def test_age(self) -> None:
        """The Age it is sent with is whole seconds, and never less than when it arrived."""
        stored = kept(60.0, age=10.7)
        self.assertEqual([current_age(stored, NOW + after) for after in (-5, 0, 1.2, 1.4)], [10, 10, 11, 12])


class SelectTests(SynchronousTestCase):
    """Which of several."""

    def test_none(self) -> None:
        """Nothing stored is a miss, nothing for such a request too."""
        self.assertEqual((decided([]).kind, decided([]).reason), (MISS, "uri-miss"))
        decision = decided(kept(nominated=b"foo/=1"))
        self.assertEqual((decision.kind, decision.reason, decision.stored), (MISS, "vary-miss", None))

    def test_matching(self) -> None:
        """The one whose nominated fields the request has."""
        german, english = kept(nominated=b"accept-language/=de"), kept(nominated=b"accept-language/=en")
        self.assertIs(decided([english, german], b"", (b"Accept-Language", b"DE")).stored, german)

    def test_latest(self) -> None:
        """Of several the one with the latest Date, wherever it stands (section 4.1); of equals the first. One that has
        no Date is as late as it arrived."""
        old, new, same = (kept(lines=line) for line in (dated(-9), dated(-5), dated(-5)))
        none = kept(lines=b"", arrived=NOW - 7)
        request = asking()
        asked = Asked(request, POLICY)
        self.assertIs(select(asked, request, [old, new], NOW), new)
        self.assertIs(select(asked, request, [new, old, none], NOW), new)
        self.assertIs(select(asked, request, [same, old, new], NOW), same)
        self.assertIs(select(asked, request, [old, none], NOW), none)
        self.assertIs(select(asked, request, [none, kept(lines=b"Date: x\r\n", arrived=NOW - 7)], NOW), none)

    def test_default(self) -> None:
        """One with a Vary comes before a later one without, which is for whom there is no better (section 4.1)."""
        german = kept(lines=dated(-9), nominated=b"accept-language/=de")
        default = kept(lines=dated(-5))
        for variants in ([german, default], [default, german]):
            self.assertIs(decided(variants, b"", (b"Accept-Language", b"de")).stored, german)
            self.assertIs(decided(variants, b"", (b"Accept-Language", b"en")).stored, default)

    def test_latest_is_stale(self) -> None:
        """An older response is not sent because the latest is stale."""
        decision = decided([kept(0.0, lines=dated(0) + ETAG), kept(60.0, lines=dated(-1))])
        self.assertEqual((decision.kind, decision.reason), (VALIDATE, "stale"))

    def test_part(self) -> None:
        """A part answers requests for what it has, and no others."""
        part = kept(parts=((10, 20),), total=100)
        self.assertIs(decided(part, b"", (b"Range", b"bytes=12-15")).kind, HIT)
        for field in ((b"Range", b"bytes=5-15"), (b"Range", b"x"), (b"Accept", b"x")):
            decision = decided(part, b"", field)
            self.assertEqual((decision.kind, decision.reason, decision.stored), (MISS, "partial", None))
        decision = decided(part, b"", (b"Range", b"bytes=12-15"), (b"If-Range", b'"other"'))
        self.assertEqual((decision.kind, decision.reason), (MISS, "partial"))
        self.assertIs(decided(part, method=b"HEAD").kind, MISS)

    def test_not_for_the_cache(self) -> None:
        """Another method and what bypasses it is forwarded, whatever is stored and asked."""
        decision = decided(kept(), b"only-if-cached", method=b"POST")
        self.assertEqual((decision.kind, decision.reason), (MISS, "method"))
        decision = decided(kept(), policy=CachePolicy(bypass=BypassPolicy(headers={"x": False})))
        self.assertEqual((decision.kind, decision.reason, decision.detail), (MISS, "bypass", "header x"))


class FreshnessTests(SynchronousTestCase):
    """RFC 9111 section 4, and the directives of requests (5.2.1)."""

    def meets(self, decision: Decision, kind: object, reason: str = "", detail: str = "") -> None:
        """It is decided so."""
        self.assertEqual((decision.kind, decision.reason, decision.detail), (kind, reason, detail))

    def test_hit(self) -> None:
        """A fresh response is sent, with its age and what is left of its lifetime."""
        decision = decided(kept(60.0, age=5.5), after=10.0)
        self.meets(decision, HIT)
        self.assertEqual((decision.age, decision.ttl, decision.background), (15, 44, False))

    def test_stale(self) -> None:
        """A stale one is validated, or fetched anew where it has no validator."""
        decision = decided(kept(60.0), after=61.5)
        self.meets(decision, VALIDATE, "stale")
        self.assertEqual((decision.age, decision.ttl), (61, -2))
        self.meets(decided(kept(60.0, lines=b""), after=60.0), MISS, "stale")
        self.meets(decided(kept(60.0, lines=b"ETag: malformed\r\n"), after=60.0), MISS, "stale")
        self.meets(decided(kept(60.0, lines=b"Last-Modified: %b" % dated(-9)[6:]), after=60.0), VALIDATE, "stale")

    def test_always(self) -> None:
        """no-cache is validated each time, and so is what a soft purge met."""
        for flag in (ALWAYS_VALIDATE, SOFT_PURGED):
            decision = decided(kept(60.0, flags=flag))
            self.meets(decision, VALIDATE, "stale")
            self.assertEqual(decision.ttl, 0)

    def test_clock_set_back(self) -> None:
        """While the clock stands before its arrival it is validated, whatever else would be allowed."""
        stored = kept(60.0, while_revalidate=99.0, if_error=99.0)
        decision = decided(stored, b"max-stale", after=-1.0)
        self.meets(decision, VALIDATE, "stale")
        self.assertEqual((decision.age, decision.ttl, decision.fallback), (0, 0, None))

    def test_no_cache(self) -> None:
        """A request that wants a validated response gets one."""
        self.meets(decided(kept(), b"no-cache"), VALIDATE, "request", "no-cache")
        self.meets(decided(kept(flags=IMMUTABLE), b"no-cache"), VALIDATE, "request", "no-cache")
        self.meets(decided(kept(), b"", (b"Pragma", b"no-cache")), VALIDATE, "request", "no-cache")
        self.meets(
            decided(kept(while_revalidate=99.0), b"no-cache, max-stale", after=70.0), VALIDATE, "stale", "no-cache"
        )

    def test_max_age(self) -> None:
        """A request for what is younger is validated, save what is fresh and never changes (RFC 8246)."""
        stored = kept(60.0, age=5.0)
        self.meets(decided(stored, b"max-age=5"), HIT)
        self.meets(decided(stored, b"max-age=4"), VALIDATE, "request", "max-age")
        self.meets(decided(kept(), b"max-age=0"), VALIDATE, "request", "max-age")
        self.meets(decided(kept(60.0, age=5.0, flags=IMMUTABLE), b"max-age=0"), HIT)
        self.meets(decided(kept(60.0, flags=IMMUTABLE), b"max-age=0", after=60.0), VALIDATE, "stale", "max-age")
        self.meets(decided(kept(), b"max-age=0", policy=CachePolicy(request_directives=False)), HIT)

    def test_max_age_and_stale(self) -> None:
        """max-age counts beside max-stale, and where it may be sent stale."""
        self.meets(
            decided(kept(1.0, while_revalidate=99.0), b"max-age=5, max-stale", after=6.0), VALIDATE, "stale", "max-age"
        )
        self.meets(decided(kept(1.0), b"max-age=5, max-stale", after=4.0), HIT, "", "max-stale")

    def test_max_age_takes_nothing_stale(self) -> None:
        """max-age without max-stale forbids stale-while-revalidate too."""
        stored = kept(1.0, while_revalidate=99.0)
        self.meets(decided(stored, b"max-age=50", after=4.0), VALIDATE, "stale", "max-age")
        self.meets(decided(stored, b"max-age=50, max-stale", after=4.0), STALE, "", "stale-while-revalidate")

    def test_min_fresh(self) -> None:
        """A request for what stays fresh a while is validated where it does not."""
        self.meets(decided(kept(60.0), b"min-fresh=50", after=10.0), HIT)
        self.meets(decided(kept(60.0), b"min-fresh=50", after=11.0), VALIDATE, "request", "min-fresh")
        self.meets(
            decided(kept(60.0, while_revalidate=99.0), b"min-fresh=1, max-stale", after=61.0),
            VALIDATE,
            "stale",
            "min-fresh",
        )
        self.meets(decided(kept(60.0), b"min-fresh=x"), VALIDATE, "request", "min-fresh")

    def test_max_stale(self) -> None:
        """A request that takes stale responses gets one, unless the response or the operator forbids it (4.2.4)."""
        decision = decided(kept(60.0), b"max-stale=10", after=70.0)
        self.meets(decision, HIT, "", "max-stale")
        self.assertEqual((decision.ttl, decision.background), (-10, False))
        self.meets(decided(kept(60.0), b"max-stale=10", after=71.0), VALIDATE, "stale")
        self.meets(decided(kept(60.0), b"max-stale", after=1e7), HIT, "", "max-stale")
        for flag in (MUST_REVALIDATE, ALWAYS_VALIDATE, SOFT_PURGED):
            self.meets(decided(kept(60.0, flags=flag), b"max-stale", after=70.0), VALIDATE, "stale")

    def test_only_if_cached(self) -> None:
        """What is stored and fits, or nothing (section 5.2.1.7)."""
        self.meets(decided(kept(), b"only-if-cached"), HIT)
        self.meets(decided([], b"only-if-cached"), REFUSED, "uri-miss", "only-if-cached")
        self.meets(decided(kept(nominated=b"a/=1"), b"only-if-cached"), REFUSED, "vary-miss", "only-if-cached")
        self.meets(decided(kept(), b"only-if-cached", after=60.0), REFUSED, "stale", "only-if-cached")
        self.meets(decided(kept(), b"only-if-cached, no-cache"), REFUSED, "request", "only-if-cached")
        self.meets(decided(kept(), b"only-if-cached, max-stale", after=60.0), HIT, "", "max-stale")
        self.assertIsNone(decided(kept(if_error=9.0), b"only-if-cached", after=60.0).fallback)

    def test_conditions_and_ranges(self) -> None:
        """They are answered from what is stored whole; a HEAD and a QUERY too."""
        for field in ((b"If-None-Match", b'"v"'), (b"Range", b"bytes=0-1")):
            self.meets(decided(kept(), b"", field), HIT)
        for method in (b"HEAD", b"QUERY"):
            self.meets(decided(kept(), method=method), HIT)


class StaleWhileRevalidateTests(SynchronousTestCase):
    """RFC 5861 section 3."""

    def test_window(self) -> None:
        """Within the window it is sent and validated meanwhile; then no more."""
        stored = kept(60.0, while_revalidate=10.0)
        decision = decided(stored, after=65.0)
        self.assertEqual((decision.kind, decision.ttl, decision.background), (STALE, -5, True))
        self.assertEqual((decision.reason, decision.detail), ("", "stale-while-revalidate"))
        self.assertIs(decided(stored, after=70.0).kind, VALIDATE)

    def test_request_forbids_to_store(self) -> None:
        """A request whose response may not be stored gets it and has nothing validated."""
        decision = decided(kept(60.0, while_revalidate=10.0), b"no-store", after=65.0)
        self.assertEqual((decision.kind, decision.background), (STALE, False))

    def test_forbidden(self) -> None:
        """Never where it may not be sent stale, however that came to be written."""
        for flag in (MUST_REVALIDATE, ALWAYS_VALIDATE):
            self.assertIs(decided(kept(60.0, while_revalidate=10.0, flags=flag), after=65.0).kind, VALIDATE)

    def test_purged(self) -> None:
        """What a soft purge met is sent within the window, and validated by the first who asks."""
        decision = decided(kept(60.0, while_revalidate=10.0, flags=SOFT_PURGED), chance=0.99)
        self.assertEqual((decision.kind, decision.ttl, decision.background), (STALE, 0, True))

    def test_spread(self) -> None:
        """Who validates is spread over the first part of the window."""
        stored = kept(60.0, while_revalidate=100.0)
        policy = CachePolicy(jitter=0.5)
        found = [decided(stored, after=60.0 + past, chance=0.5, policy=policy).background for past in (0, 24, 25, 99)]
        self.assertEqual(found, [False, False, True, True])
        self.assertTrue(decided(stored, after=60.0, chance=0.99, policy=CachePolicy(jitter=0.0)).background)


class EarlyTests(SynchronousTestCase):
    """Validations before a response is stale."""

    def test_last_part(self) -> None:
        """They are spread over the end of the lifetime, and there are none without jitter or before that."""
        stored = kept(1000.0)
        for after, chance, expected in (
            (899, 0.999, False), (901, 0.999, True), (901, 0.98, False), (950, 0.4, False), (950, 0.6, True),
            (999, 0.0, False),
        ):  # fmt: skip
            self.assertEqual(early(stored, NOW + after, 1.0, chance), expected, (after, chance))
            decision = decided(stored, after=after, chance=chance, policy=CachePolicy(jitter=1.0))
            self.assertEqual((decision.kind, decision.background), (HIT, expected))
        self.assertTrue(early(kept(1000.0, age=50.0), NOW + 900, 1.0, 0.6))
        self.assertFalse(early(kept(1000.0, age=50.0), NOW + 800, 1.0, 0.6))
        self.assertFalse(early(stored, NOW + 999.9, 0.0, 0.99))
        self.assertFalse(early(stored, NOW + 985, 0.1, 0.99))
        self.assertTrue(early(stored, NOW + 995, 0.1, 0.99))


class ErrorTests(SynchronousTestCase):
    """RFC 5861 section 4."""

    def usable(self, stored: Stored, after: float, directives: bytes = b"") -> bool:
        """Whether it may be sent if the origin fails so many seconds after it arrived."""
        request = asking(directives)
        return usable_on_error(Asked(request, POLICY), stored, NOW + after)

    def test_window(self) -> None:
        """Within the response's window, which the settings may have given it."""
        stored = kept(60.0, if_error=10.0)
        self.assertEqual([self.usable(stored, after) for after in (0, 65, 69.9, 70)], [True, True, True, False])
        self.assertEqual([self.usable(kept(60.0), after) for after in (0, 59, 60)], [True, True, False])
        self.assertTrue(self.usable(kept(0.0, if_error=10.0), 0))

    def test_request(self) -> None:
        """The request's own window counts instead."""
        stored = kept(60.0, if_error=10.0)
        self.assertTrue(self.usable(stored, 99, b"stale-if-error=40"))
        self.assertFalse(self.usable(stored, 65, b"stale-if-error=5"))
        self.assertFalse(self.usable(stored, 65, b"stale-if-error=x"))

    def test_forbidden(self) -> None:
        """Never where it may not be sent stale: a fresh one that must be validated only then still may."""
        for directives in (b"", b"stale-if-error=1000"):
            self.assertFalse(self.usable(kept(60.0, if_error=99.0, flags=MUST_REVALIDATE), 61, directives))
            self.assertTrue(self.usable(kept(60.0, flags=MUST_REVALIDATE), 59, directives))
            self.assertFalse(self.usable(kept(60.0, if_error=99.0, flags=ALWAYS_VALIDATE), 1, directives))
            self.assertFalse(self.usable(kept(60.0, if_error=99.0), -1, directives))

    def test_purged(self) -> None:
        """What a soft purge met is stale, and may be sent within the window."""
        self.assertTrue(self.usable(kept(60.0, if_error=9.0, flags=SOFT_PURGED), 1))
        self.assertFalse(self.usable(kept(60.0, flags=SOFT_PURGED), 1))
        self.assertFalse(self.usable(kept(60.0, if_error=9.0, flags=SOFT_PURGED), 70))

    def test_fallback(self) -> None:
        """A decision to ask the origin has with it what may be sent if that fails."""
        stored = kept(60.0, if_error=10.0)
        self.assertIs(decided(stored, after=65.0).fallback, stored)
        self.assertIs(decided(stored, b"no-cache").fallback, stored)
        self.assertIsNone(decided(stored, after=75.0).fallback)
        self.assertIsNone(decided([]).fallback)


flags = st.sampled_from([0, ALWAYS_VALIDATE, MUST_REVALIDATE, SOFT_PURGED, IMMUTABLE, MUST_REVALIDATE | IMMUTABLE])
afters = st.integers(-100, 1200).map(lambda quarters: quarters / 4)
seconds = st.integers(0, 100).map(float)
stored_responses = st.builds(
    kept, seconds, lines=st.sampled_from([b"", ETAG]), age=seconds, flags=flags, while_revalidate=seconds,
    if_error=seconds, nominated=st.sampled_from([b"", b"x/=1"]), parts=st.sampled_from([None, None, ((0, 5),)]),
    total=st.just(10),
)  # fmt: skip
numbered = st.sampled_from([b"max-age", b"max-stale", b"min-fresh", b"stale-if-error"])
directive_lists = st.lists(
    st.sampled_from([b"no-cache", b"only-if-cached", b"max-age", b"max-stale", b"min-fresh", b"no-store"])
    | st.tuples(numbered, st.integers(0, 150)).map(b"%b=%d".__mod__),
    max_size=3,
).map(b",".join)
field_lists = st.sampled_from([(), ((b"X", b"1"),), ((b"Range", b"bytes=1-2"),), ((b"If-None-Match", b'"v"'),)])


class LawTests(SynchronousTestCase):
    """What holds for every request and whatever is stored: written from the text of RFC 9111 section 4."""

    @given(stored_responses, afters, st.integers(0, 50).map(float))
    def test_monotone(self, stored: Stored, after: float, more: float) -> None:
        """What is not fresh any more never becomes so again while the clock goes on."""
        if after >= 0 and not fresh(stored, NOW + after):
            self.assertFalse(fresh(stored, NOW + after + more))

    @given(st.lists(stored_responses, max_size=3), directive_lists, field_lists, afters, st.floats(0, 0.999))
    @settings(max_examples=300)
    def test_nothing_forbidden(
        self,
        variants: list[Stored],
        directives: bytes,
        fields: tuple[tuple[bytes, bytes], ...],
        after: float,
        chance: float,
    ) -> None:
        """What is sent unasked is for this request, and fresh or allowed to be stale, as the request demands."""
        request = asking(directives, *fields)
        asked = Asked(request, POLICY)
        decision = decide(asked, request, variants, POLICY, NOW + after, chance)
        stored = decision.stored
        self.assertEqual(decision.reason == "", decision.kind in (HIT, STALE))
        self.assertEqual(decision.kind is REFUSED, asked.only_if_cached and decision.reason != "")
        if decision.fallback is not None:
            self.assertTrue(usable_on_error(asked, decision.fallback, NOW + after))
        if decision.kind not in (HIT, STALE):
            self.assertFalse(decision.background)
            return
        assert stored is not None
        age = stored.age + after
        stale = age - stored.lifetime
        self.assertGreaterEqual(after, 0)
        self.assertTrue(stored.nominated == b"" or request.get(b"x") == b"1")
        self.assertTrue(stored.parts is None or asked.ranged)
        self.assertFalse(stored.flags & ALWAYS_VALIDATE or asked.no_cache)
        if stale >= 0 or stored.flags & SOFT_PURGED:
            self.assertFalse(stored.flags & MUST_REVALIDATE)
            willing = asked.max_stale is not None and stale <= asked.max_stale and not stored.flags & SOFT_PURGED
            self.assertTrue(willing or max(stale, 0.0) < stored.while_revalidate)
        if asked.max_age is not None and not (stored.flags & IMMUTABLE and stale < 0):
            self.assertLessEqual(age, asked.max_age)
        if asked.min_fresh is not None:
            self.assertGreaterEqual(-stale, asked.min_fresh)

    @given(stored_responses, afters)
    def test_fast_and_slow(self, stored: Stored, after: float) -> None:
        """The fast test says yes just where a plain request that it is for would be a hit."""
        request = asking(b"", (b"X", b"1"))
        asked = Asked(request, POLICY)
        self.assertTrue(asked.plain)
        decision = decide(asked, request, [stored], POLICY, NOW + after, 0.0)
        self.assertEqual(fresh(stored, NOW + after), decision.kind is HIT)

    @given(stored_responses, directive_lists, afters)
    def test_errors(self, stored: Stored, directives: bytes, after: float) -> None:
        """What is sent because the origin fails is never what must be validated."""
        asked = Asked(asking(directives), POLICY)
        if usable_on_error(asked, stored, NOW + after):
            stale = stored.age + after - stored.lifetime
            self.assertFalse(stored.flags & ALWAYS_VALIDATE)
            self.assertTrue(stale < 0 or not stored.flags & MUST_REVALIDATE)
            self.assertTrue(stale < 0 or stale < (asked.stale_if_error or 0.0) or stale < stored.if_error)
