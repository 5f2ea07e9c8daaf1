"""How old a response is and how long it is fresh."""

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.directives import ResponseControl, response_control
from balancer.cache.lifetimes import (
    explicit_lifetime,
    guessed_lifetime,
    initial_age,
    may_guess,
    overridden,
    takes_ttl,
)
from balancer.cache.messages import PlainResponse
from balancer.cache.policy import CachePolicy

NOW = 1_800_000_000.0


def at(seconds: float) -> bytes:
    """A date so many seconds from now."""
    return formatdate(NOW + seconds, usegmt=True).encode("ascii")


values = st.binary(max_size=12) | st.integers(-999, 999).map(at) | st.sampled_from([b"max-age=7", b"7"])


def response(*fields: tuple[bytes, bytes], status: int = 200) -> PlainResponse:
    """A response's head."""
    return PlainResponse(status, list(fields))


def lifetime(*fields: tuple[bytes, bytes]) -> float | None:
    """What a response with these fields says of its lifetime."""
    head = response(*fields)
    return explicit_lifetime(head, response_control(head, ("cdn-cache-control",)), NOW)


class AgeTests(SynchronousTestCase):
    """corrected_initial_age (RFC 9111 section 4.2.3)."""

    def age(self, *fields: tuple[bytes, bytes], delay: float = 0.0) -> float:
        """The age of a response that was asked for so long ago."""
        return initial_age(response(*fields), NOW - delay, NOW)

    def test_apparent(self) -> None:
        """It is at least as old as its Date says."""
        self.assertEqual(self.age((b"Date", at(-10))), 10.0)

    def test_age_field(self) -> None:
        """Age counts from when it was asked for."""
        self.assertEqual(self.age((b"Date", at(0)), (b"Age", b"5"), delay=2.0), 7.0)
        self.assertEqual(self.age((b"Date", at(-100)), (b"Age", b"5"), delay=2.0), 100.0)

    def test_date_says_nothing(self) -> None:
        """A Date that is absent, invalid or in the future says nothing."""
        for fields in ([], [(b"Date", b"x")], [(b"Date", at(3600))], [(b"Date", b"")]):
            self.assertEqual(self.age(*fields, delay=3.0), 3.0)

    def test_several_dates(self) -> None:
        """Of several the earliest counts."""
        self.assertEqual(self.age((b"Date", at(0)), (b"Date", at(-50)), (b"Date", b"x")), 50.0)

    def test_clock(self) -> None:
        """A clock that was set back while the response was on its way makes no age negative."""
        self.assertEqual(self.age((b"Date", at(0)), delay=-1000.0), 0.0)

    @given(
        st.lists(st.tuples(st.sampled_from([b"Date", b"Age"]), values), max_size=4),
        st.floats(-1e6, 1e6),
    )
    def test_never_negative(self, fields: list[tuple[bytes, bytes]], delay: float) -> None:
        """Whatever the fields, it is at least as old as it was on its way."""
        self.assertGreaterEqual(self.age(*fields, delay=delay), max(0.0, NOW - (NOW - delay)))


class ExplicitTests(SynchronousTestCase):
    """freshness_lifetime (RFC 9111 section 4.2.1)."""

    def test_order(self) -> None:
        """s-maxage comes before max-age, that before Expires."""
        expires = (b"Expires", at(30))
        date = (b"Date", at(0))
        self.assertEqual(lifetime((b"Cache-Control", b"max-age=20, s-maxage=10"), expires, date), 10.0)
        self.assertEqual(lifetime((b"Cache-Control", b"max-age=20"), expires, date), 20.0)
        self.assertEqual(lifetime(expires, date), 30.0)
        self.assertIsNone(lifetime(date))

    def test_invalid_first(self) -> None:
        """What is invalid is 0 and not skipped."""
        self.assertEqual(lifetime((b"Cache-Control", b"max-age=20, s-maxage=x")), 0.0)
        self.assertEqual(lifetime((b"Cache-Control", b"max-age=x"), (b"Expires", at(30))), 0.0)

    def test_expires(self) -> None:
        """Expires counts from Date, else from now; an invalid one, or one that is past, is 0 (section 5.3)."""
        self.assertEqual(lifetime((b"Expires", at(30)), (b"Date", at(-10))), 40.0)
        self.assertEqual(lifetime((b"Expires", at(30)), (b"Date", at(10))), 20.0)
        self.assertEqual(lifetime((b"Expires", at(30))), 30.0)
        self.assertEqual(lifetime((b"Expires", at(30)), (b"Date", b"x")), 30.0)
        for value in (b"0", b"-1", b"", b"x", at(-1), at(0)):
            self.assertEqual(lifetime((b"Expires", value), (b"Date", at(0))), 0.0)

    def test_several(self) -> None:
        """Of several the shortest counts, and an invalid one makes it 0."""
        self.assertEqual(
            lifetime((b"Expires", at(90)), (b"Expires", at(30)), (b"Date", at(0)), (b"Date", at(10))), 20.0
        )
        self.assertEqual(lifetime((b"Expires", at(90)), (b"Expires", b"0"), (b"Date", at(0))), 0.0)

    def test_targeted(self) -> None:
        """Expires does not count beside a field for caches like us (RFC 9213 section 2.2)."""
        self.assertIsNone(lifetime((b"CDN-Cache-Control", b"public"), (b"Expires", at(30))))
        self.assertEqual(lifetime((b"CDN-Cache-Control", b"max-age=5"), (b"Cache-Control", b"s-maxage=9")), 5.0)

    @given(st.lists(st.tuples(st.sampled_from([b"Date", b"Expires", b"Cache-Control"]), values), max_size=4))
    def test_never_negative(self, fields: list[tuple[bytes, bytes]]) -> None:
        """Whatever the fields, it is none or not negative."""
        found = lifetime(*fields)
        self.assertTrue(found is None or found >= 0.0)


class GuessTests(SynchronousTestCase):
    """Heuristics (RFC 9111 section 4.2.2)."""

    def guess(self, *fields: tuple[bytes, bytes], **settings: float) -> float:
        """The guess about a response with these fields, in a cache with these settings."""
        return guessed_lifetime(response(*fields), CachePolicy(**settings), NOW)  # type: ignore[arg-type]

    def test_last_modified(self) -> None:
        """It is a part of how long it has not been modified, with a limit."""
        fields = [(b"Date", at(0)), (b"Last-Modified", at(-1000))]
        self.assertEqual(self.guess(*fields), 100.0)
        self.assertEqual(self.guess(*fields, heuristic=0.5), 500.0)
        self.assertEqual(self.guess(*fields, heuristic_max=60.0), 60.0)
        self.assertEqual(self.guess((b"Last-Modified", at(-1000))), 100.0)

    def test_default(self) -> None:
        """Without it, or where guessing is turned off, it is the operator's default."""
        self.assertEqual(self.guess(), 0.0)
        self.assertEqual(self.guess(default_ttl=5.0), 5.0)
        self.assertEqual(self.guess((b"Last-Modified", b"x"), default_ttl=5.0), 5.0)
        self.assertEqual(self.guess((b"Last-Modified", at(-1000)), heuristic=0.0, default_ttl=5.0), 5.0)

    def test_future(self) -> None:
        """What is modified after it was made is not fresh at all."""
        self.assertEqual(self.guess((b"Last-Modified", at(10)), (b"Date", at(0))), 0.0)
        self.assertEqual(self.guess((b"Last-Modified", at(-10)), (b"Date", at(-10)), (b"Date", at(100))), 0.0)

    def test_may(self) -> None:
        """Only some statuses may be guessed about, or what is public."""
        plain, public = ResponseControl([]), ResponseControl([(b"public", None)])
        for status in (200, 203, 204, 206, 300, 301, 308, 404, 405, 410, 414, 501):
            self.assertTrue(may_guess(status, plain))
        for status in (302, 303, 307, 400, 401, 403, 500, 502, 503):
            self.assertFalse(may_guess(status, plain))
            self.assertTrue(may_guess(status, public))


class OverrideTests(SynchronousTestCase):
    """The operator's word."""

    def becomes(
        self, said: float, expected: float, status: int = 200, explicit: bool = True, **settings: float
    ) -> None:
        """A lifetime that was said, or guessed, becomes another by these settings."""
        policy = CachePolicy(**settings)  # type: ignore[arg-type]
        self.assertEqual(overridden(said, status, explicit, ResponseControl([]), policy), expected)

    def test_ttl(self) -> None:
        """It takes the place of what was said, 0 too."""
        self.becomes(10.0, 10.0)
        self.becomes(10.0, 60.0, ttl=60.0)
        self.becomes(10.0, 0.0, ttl=0.0)
        self.becomes(0.0, 60.0, explicit=False, ttl=60.0)
        self.becomes(10.0, 60.0, 503, ttl=60.0)

    def test_not_for_errors(self) -> None:
        """It is not for errors that say nothing of their lifetime, but for redirects."""
        self.becomes(0.0, 0.0, 503, False, ttl=60.0)
        self.becomes(0.0, 60.0, 302, False, ttl=60.0)
        self.assertTrue(takes_ttl(404, ResponseControl([])))
        self.assertFalse(takes_ttl(500, ResponseControl([])))

    def test_bounds(self) -> None:
        """No less than min_ttl, no more than max_ttl, which counts where they contradict each other."""
        self.becomes(10.0, 20.0, min_ttl=20.0)
        self.becomes(30.0, 30.0, min_ttl=20.0)
        self.becomes(30.0, 20.0, max_ttl=20.0)
        self.becomes(10.0, 5.0, min_ttl=20.0, max_ttl=5.0)
        self.becomes(10.0, 20.0, ttl=60.0, max_ttl=20.0)
