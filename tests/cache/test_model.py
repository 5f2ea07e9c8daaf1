"""The judge itself: each kind of violation is caught, and what is right is not flagged."""

from typing import Any

from balancer.cache.policy import CachePolicy
from tests.cache.content import Sent
from tests.cache.exchanges import Ask, Directives, ETag
from tests.cache.judging import MINUTE, NOON, OTHER, STRONG, WEAK, JudgeCase


class StoringTests(JudgeCase):
    """RFC 9111 section 3."""

    def test_own_response(self) -> None:
        """Whoever asked gets the origin's response, whatever it says of caching."""
        got = self.fetch(cc=(("no-store", None), ("private", None)), set_cookie=True)
        cookie = [(b"Set-Cookie", b"id=1")]
        self.permitted(self.reply(got, own=got, age=None, add=cookie))
        self.forbidden("9110 7.7", self.reply(got, own=got, age=None))
        self.forbidden("9110 6.4", self.reply(got, own=got, age=None, body=b"other", add=cookie))

    def test_directives(self) -> None:
        """private, no-store and no-cache are not reused; max-age is."""
        self.permitted(self.reply(self.fetch()))
        self.forbidden("5.2.2.7", self.reply(self.fetch(cc=(("private", None), ("max-age", 60)))))
        self.forbidden("5.2.2.5", self.reply(self.fetch(cc=(("no-store", None), ("max-age", 60)))))
        self.forbidden("5.2.2.4", self.reply(self.fetch(cc=(("no-cache", None), ("max-age", 60)))))

    def test_targeted(self) -> None:
        """CDN-Cache-Control comes before Cache-Control, in both directions; a broken one does not (RFC 9213)."""
        self.permitted(self.reply(self.fetch(cdn=MINUTE, cc=(("no-store", None),))))
        self.forbidden("5.2.2.5", self.reply(self.fetch(cdn=(("no-store", None),))))
        self.permitted(self.reply(self.fetch(cdn="max-age=1,,=")))

    def test_request_no_store(self) -> None:
        """What a request with no-store brought is not reused."""
        self.forbidden("5.2.1.5", self.reply(self.fetch(Ask(cc=(("no-store", None),)))))

    def test_authorization(self) -> None:
        """What a request with Authorization brought is reused only where a directive says so."""
        asked = Ask(authorization=True)
        self.forbidden("9111 3.5", self.reply(self.fetch(asked)))
        for directive in (("public", None), ("must-revalidate", None), ("s-maxage", 60)):
            self.permitted(self.reply(self.fetch(asked, cc=(*MINUTE, directive))))

    def test_status(self) -> None:
        """A status that may not be guessed about needs a directive; must-understand one that is understood."""
        self.forbidden("9111 3", self.reply(self.fetch(status=500, cc=(), modified=NOON - 10000)))
        self.permitted(self.reply(self.fetch(status=500)))
        understand: Directives = (*MINUTE, ("must-understand", None), ("no-store", None))
        self.permitted(self.reply(self.fetch(cc=understand)))
        self.forbidden("5.2.2.3", self.reply(self.fetch(status=299, cc=understand)))

    def test_methods(self) -> None:
        """GET serves HEAD, and nothing else serves another method; QUERY goes by its content."""
        self.permitted(self.reply(self.fetch(), Ask("HEAD")))
        self.forbidden("9111 4.1", self.reply(self.fetch(Ask("HEAD"))))
        self.forbidden("nothing explains", self.reply(self.fetch(Ask("POST", path="/2")), Ask(path="/2")))
        self.permitted(self.reply(self.fetch(Ask("QUERY", content=b"a")), Ask("QUERY", content=b"a")))
        self.forbidden("9111 4.1", self.reply(self.fetch(Ask("QUERY", content=b"a")), Ask("QUERY", content=b"b")))

    def test_head_body(self) -> None:
        """A response to HEAD has no body."""
        self.forbidden("9110 9.3.2", self.reply(self.fetch(), Ask("HEAD"), body=b"0123456789"))

    def test_set_cookie(self) -> None:
        """By policy pass a response with Set-Cookie is not reused."""
        self.forbidden("set_cookie", self.reply(self.fetch(set_cookie=True)))

    def test_named_fields(self) -> None:
        """Fields that no-cache and private name are not replayed; all others are."""
        got = self.fetch(
            cc=(*MINUTE, ("no-cache", ("X-A",)), ("private", ("X-B",))), extra=(("X-A", "1"), ("X-B", "2"))
        )
        self.permitted(self.reply(got, drop={b"x-a", b"x-b"}))
        self.forbidden("5.2.2.4", self.reply(got, drop={b"x-b"}))
        self.forbidden("5.2.2.7", self.reply(got, drop={b"x-a"}))
        got = self.fetch(extra=(("X-A", "1"),))
        self.forbidden("9111 3.1", self.reply(got, drop={b"x-a"}))
        self.forbidden("9111 3.2", self.reply(got, add=[(b"X-C", b"3")]))


class StrippedCookieTests(JudgeCase):
    """The policy that takes cookies out."""

    policy = CachePolicy(set_cookie="strip")

    def test_strip(self) -> None:
        """The response is reused without its cookie, never with it."""
        got = self.fetch(set_cookie=True)
        self.permitted(self.reply(got))
        self.forbidden("set_cookie", self.reply(got, add=[(b"Set-Cookie", b"id=1")]))


class FreshnessTests(JudgeCase):
    """RFC 9111 section 4.2."""

    def test_end(self) -> None:
        """Fresh while its age is below its lifetime, and never afterwards."""
        got = self.fetch()
        self.now += 59
        self.permitted(self.reply(got))
        self.now += 1
        self.forbidden("4.2.4", self.reply(got))

    def test_lifetimes(self) -> None:
        """s-maxage comes before max-age, that before Expires, and what is wrong or in the past is stale."""
        cases: list[dict[str, Any]] = [
            {"cc": (("max-age", 60), ("s-maxage", 10))},
            {"cc": (("s-maxage", 10), ("max-age", 60))},
            {"cc": (("max-age", 10), ("max-age", 60))},
            {"cc": (("max-age", 10),), "expires": (NOON + 100000,)},
            {"cc": None, "expires": (NOON + 10,)},
            {"cc": None, "expires": ("0",)},
            {"cc": (("max-age", "abc"),)},
            {"cc": (("max-age", "-1"),)},
            {"cc": None, "modified": NOON - 100},
        ]
        for said in cases:
            self.now = float(NOON)
            got = self.fetch(**said)
            self.now += 10.5
            self.forbidden("4.2.4", self.reply(got))

    def test_guess(self) -> None:
        """A tenth of what has passed since Last-Modified, where nothing explicit is there."""
        got = self.fetch(cc=None, modified=NOON - 1000)
        self.now += 99
        self.permitted(self.reply(got))
        self.now += 1
        self.forbidden("4.2.4", self.reply(got))

    def test_age(self) -> None:
        """Age is there, and right to a second: with what the response said, its delay and an old Date."""
        got = self.fetch()
        self.now += 30
        self.permitted(self.reply(got))
        self.forbidden("4.2.3", self.reply(got, age=28))
        self.forbidden("4.2.3", self.reply(got, age=32))
        self.forbidden("9111 4", self.reply(got, age=None))
        got = self.fetch(age="5", took=3.0)
        self.now += 10
        self.permitted(self.reply(got, age=18))
        self.forbidden("4.2.3", self.reply(got, age=13))
        got = self.fetch(date=int(self.now) - 20)
        self.permitted(self.reply(got, age=20))
        self.forbidden("4.2.3", self.reply(got, age=0))

    def test_wrong_age(self) -> None:
        """Of a list the first Age counts, and one that is no number does not (section 5.1)."""
        self.permitted(self.reply(self.fetch(age="x"), age=0))
        got = self.fetch(age="5, 70")
        self.permitted(self.reply(got, age=5))
        self.forbidden("4.2.3", self.reply(got, age=0))

    def test_clock_set_back(self) -> None:
        """A clock of before the response came makes nothing fresh."""
        got = self.fetch()
        self.now -= 30
        self.forbidden("4.2.4", self.reply(got, age=0))

    def test_stale_forbidden(self) -> None:
        """must-revalidate, proxy-revalidate and s-maxage forbid what stale-while-revalidate and max-stale permit."""
        window = ("stale-while-revalidate", 30)
        patient = Ask(cc=(("max-stale", None),))
        for directive in (("must-revalidate", None), ("proxy-revalidate", None), ("s-maxage", 60)):
            got = self.fetch(cc=(*MINUTE, window, directive))
            self.now += 70
            self.forbidden("4.2.4", self.reply(got))
            self.forbidden("4.2.4", self.reply(got, patient))
            self.forbidden("4.2.4", self.reply(got, own=self.no_answer()))

    def test_stale_permitted(self) -> None:
        """stale-while-revalidate and max-stale permit as many seconds as they say."""
        got = self.fetch(cc=(*MINUTE, ("stale-while-revalidate", 30)))
        self.now += 90
        self.permitted(self.reply(got))
        self.now += 1
        self.forbidden("4.2.4", self.reply(got))
        self.permitted(self.reply(got, Ask(cc=(("max-stale", None),))))
        self.permitted(self.reply(got, Ask(cc=(("max-stale", 31),))))
        self.forbidden("4.2.4", self.reply(got, Ask(cc=(("max-stale", 30),))))

    def test_stale_if_error(self) -> None:
        """Where the origin fails, a day is permitted, or what the response says; and an error is permitted."""
        got = self.fetch()
        self.now += 3600
        self.forbidden("4.2.4", self.reply(got))
        self.permitted(self.reply(got, own=self.no_answer()))
        self.permitted(self.reply(got, own=self.fetch(status=503, cc=None)))
        self.permitted(Sent(Ask(), 504, [], b"", self.now, (self.no_answer(),), True))
        self.forbidden("9111 4", Sent(Ask(), 504, [], b"", self.now))
        got = self.fetch(cc=(*MINUTE, ("stale-if-error", 10)))
        self.now += 71
        self.forbidden("4.2.4", self.reply(got, own=self.no_answer()))

    def test_request_directives(self) -> None:
        """max-age, min-fresh and no-cache of a request count, and only-if-cached is not forwarded."""
        got = self.fetch()
        self.now += 30
        self.permitted(self.reply(got, Ask(cc=(("max-age", 30),))))
        self.forbidden("5.2.1.1", self.reply(got, Ask(cc=(("max-age", 29),))))
        self.permitted(self.reply(got, Ask(cc=(("min-fresh", 30),))))
        self.forbidden("5.2.1.3", self.reply(got, Ask(cc=(("min-fresh", 31),))))
        self.forbidden("5.2.1.4", self.reply(got, Ask(cc=(("no-cache", None),))))
        only = Ask(cc=(("only-if-cached", None),))
        self.permitted(self.reply(got, only))
        self.permitted(Sent(only, 504, [], b"", self.now))
        self.forbidden("5.2.1.7", Sent(only, 504, [], b"", self.now, (), True))

    def test_immutable(self) -> None:
        """A fresh immutable response may be sent to a client that reloads, not to one that says no-cache (RFC 8246)."""
        got = self.fetch(cc=(*MINUTE, ("immutable", None)))
        self.now += 5
        self.permitted(self.reply(got, Ask(cc=(("max-age", 0),))))
        self.forbidden("5.2.1.4", self.reply(got, Ask(cc=(("no-cache", None),))))


class ChoiceTests(JudgeCase):
    """RFC 9111 sections 4 and 4.1."""

    def test_vary(self) -> None:
        """Only what Vary names has to match, normalised where its definition allows; * never does."""
        gzip = Ask(selecting=(("Accept-Encoding", ("gzip", "br")), ("X-Kind", ("a",))))
        spaced = Ask(selecting=(("accept-encoding", ("BR", "GZIP")), ("X-Kind", ("b",))))
        got = self.fetch(gzip, vary=("Accept-Encoding",))
        self.permitted(self.reply(got, spaced))
        self.forbidden("4.1", self.reply(got, Ask()))
        self.forbidden("4.1", self.reply(self.fetch(gzip, vary=("Accept-Encoding", "x-kind")), spaced))
        self.forbidden("4.1", self.reply(self.fetch(gzip, vary=("*",)), gzip))

    def test_other_target(self) -> None:
        """What another URI brought is explained by nothing."""
        self.forbidden("9110", self.reply(self.fetch(), Ask(path="/2")))

    def test_recent(self) -> None:
        """Of two that fit, the more recent is used."""
        old = self.fetch()
        self.now += 5
        new = self.fetch()
        self.permitted(self.reply(new))
        self.forbidden("9111 4", self.reply(old))

    def test_full_response(self) -> None:
        """A full response to a validation is used, not what was stored."""
        got = self.fetch()
        self.forbidden("4.3.3", self.reply(got, own=self.fetch(cc=(("no-store", None),))))

    def test_mixture(self) -> None:
        """A body is that of the response whose fields are sent."""
        self.fetch(etag=STRONG)
        got = self.fetch(etag=OTHER, body=b"abcdefghij")
        self.forbidden("9110 6.4", self.reply(got, body=b"0123456789"))


class ValidationTests(JudgeCase):
    """RFC 9111 section 4.3."""

    def test_update(self) -> None:
        """After a 304 its fields are sent and its age counts; the old ones never again."""
        got = self.fetch(etag=STRONG, cc=(("max-age", 60),))
        self.now += 100
        new = self.fetch(status=304, etag=STRONG, cc=(("max-age", 30),))
        assert new.said
        base = [(b"X-Base", b"1"), (b"Content-Type", b"text/plain"), (b"Content-Length", b"10")]
        right: dict[str, Any] = {"status": 200, "body": b"0123456789", "add": base}
        self.permitted(self.reply(new, own=new, **right))
        self.forbidden("not reset", self.reply(new, own=new, **(right | {"age": 100})))
        self.now += 20
        self.permitted(self.reply(new, **right))
        self.forbidden("4.3.4", self.reply(got, age=120))
        self.now += 20
        self.forbidden("4.2.4", self.reply(new, **right))

    def test_identified(self) -> None:
        """A 304 updates what has its strong validator; another one updates nothing."""
        got = self.fetch(etag=STRONG)
        self.now += 100
        new = self.fetch(status=304, etag=OTHER)
        base = [(b"X-Base", b"1"), (b"Content-Type", b"text/plain"), (b"Content-Length", b"10")]
        self.forbidden("nothing explains", self.reply(new, own=new, status=200, body=b"0123456789", add=base))
        self.forbidden("4.2.4", self.reply(got))

    def test_withheld_update(self) -> None:
        """What a request with no-store, or with Authorization, validated, is not fresh for others by that."""
        self.fetch(etag=STRONG)
        self.now += 100
        base = [(b"X-Base", b"1"), (b"Content-Type", b"text/plain"), (b"Content-Length", b"10")]
        for section, ask in (("5.2.1.5", Ask(cc=(("no-store", None),))), ("9111 3.5", Ask(authorization=True))):
            new = self.fetch(ask, status=304, etag=STRONG)
            self.permitted(self.reply(new, ask, own=new, status=200, body=b"0123456789", add=base))
            self.forbidden(section, self.reply(new, status=200, body=b"0123456789", add=base))

    def test_chosen_by_origin(self) -> None:
        """A 304 may choose a response that Vary would not have (section 4.3)."""
        self.fetch(Ask(selecting=(("X-Kind", ("a",)),)), etag=STRONG, vary=("X-Kind",))
        other = Ask(selecting=(("X-Kind", ("b",)),))
        new = self.fetch(other, status=304, etag=STRONG)
        base = [(b"X-Base", b"1"), (b"Content-Type", b"text/plain"), (b"Content-Length", b"10"), (b"Vary", b"X-Kind")]
        self.permitted(self.reply(new, other, own=new, status=200, body=b"0123456789", add=base))
        self.permitted(self.reply(new, other, status=200, body=b"0123456789", add=base))
        third = Ask(selecting=(("X-Kind", ("c",)),))
        self.forbidden("4.1", self.reply(new, third, status=200, body=b"0123456789", add=base))

    def test_head(self) -> None:
        """A response to HEAD that differs makes what is stored stale (section 4.3.5)."""
        got = self.fetch(etag=STRONG)
        self.fetch(Ask("HEAD"), etag=STRONG)
        self.permitted(self.reply(got))
        self.fetch(Ask("HEAD"), etag=OTHER)
        self.forbidden("4.2.4", self.reply(got))

    def test_conditions(self) -> None:
        """A 304 needs a validator that matches; If-None-Match comes before If-Modified-Since."""
        got = self.fetch(etag=WEAK, modified=NOON - 1000)
        small: dict[str, Any] = {
            "status": 304,
            "body": b"",
            "drop": {b"x-serial", b"x-base", b"content-length", b"content-type"},
        }
        self.permitted(self.reply(got, Ask(inm=(OTHER, ETag("w1"))), **small))
        self.permitted(self.reply(got, Ask(inm="*"), **small))
        self.permitted(self.reply(got, Ask(ims=NOON - 1000), **small))
        self.forbidden("4.3.2", self.reply(got, Ask(inm=(OTHER,)), **small))
        self.forbidden("4.3.2", self.reply(got, Ask(inm=(OTHER,), ims=NOON), **small))
        self.forbidden("4.3.2", self.reply(got, Ask(ims=NOON - 1001), **small))
        self.forbidden("4.3.2", self.reply(got, **small))
        self.forbidden("ETag", self.reply(got, Ask(inm="*"), **(small | {"drop": {b"x-serial", b"x-base", b"etag"}})))
        self.forbidden(
            "13.2.1", self.reply(self.fetch(Ask(path="/2"), status=404, etag=WEAK), Ask(path="/2", inm="*"), **small)
        )
        self.now += 100
        self.forbidden("4.2.4", self.reply(got, Ask(inm=(WEAK,)), **small))

    def test_passed_304(self) -> None:
        """A 304 of the origin goes on only to a client whose validator it confirms (section 4.3.3)."""
        new = self.fetch(status=304, etag=STRONG)
        self.permitted(self.reply(new, Ask(inm=(STRONG,)), own=new))
        self.forbidden("4.3.3", self.reply(new, Ask(inm=(OTHER,)), own=new))
        self.forbidden("4.3.3", self.reply(new, own=new))

    def test_precondition(self) -> None:
        """If-Match is not for caches: a 412 of ours is explained by nothing (section 4.3.2)."""
        self.fetch(etag=STRONG)
        self.forbidden("nothing explains", Sent(Ask(match=(OTHER,)), 412, [], b"", self.now))


class InvalidationTests(JudgeCase):
    """RFC 9111 section 4.4, and purges."""

    def test_unsafe(self) -> None:
        """What was stored under the target, Location or Content-Location is not reused after a success."""
        got = self.fetch()
        self.fetch(Ask("POST"), status=500)
        self.permitted(self.reply(got))
        self.fetch(Ask("FROB"), status=303)
        self.forbidden("4.4", self.reply(got))
        links: list[dict[str, Any]] = [{"location": "/1"}, {"content_location": "http://a.example/1"}]
        for link in links:
            got = self.fetch()
            self.fetch(Ask("POST", path="/2"), **link)
            self.forbidden("4.4", self.reply(got))
        got = self.fetch()
        self.fetch(Ask("POST", path="/2"), location="http://b.example/1")
        self.permitted(self.reply(got))

    def test_validated_after(self) -> None:
        """Validated it may be used again."""
        self.fetch(etag=STRONG)
        self.fetch(Ask("POST"), status=200)
        new = self.fetch(status=304, etag=STRONG)
        base = [(b"X-Base", b"1"), (b"Content-Type", b"text/plain"), (b"Content-Length", b"10")]
        self.permitted(self.reply(new, status=200, body=b"0123456789", add=base))

    def test_purges(self) -> None:
        """A purge ends whatever it meets, even what is under way; a soft one makes it stale."""
        for kind, what in (
            ("url", "http://a.example/1"),
            ("prefix", "http://a.exa"),
            ("host", "a.example"),
            ("tag", "t"),
            ("all", ""),
        ):
            got = self.fetch(tags=("t", "u"))
            self.history.purged(kind, what, soft=True)
            self.forbidden("4.2.4", self.reply(got))
            self.permitted(self.reply(got, Ask(cc=(("max-stale", None),))))
            got = self.fetch(tags=("t", "u"))
            self.history.purged(kind, what)
            self.forbidden("purge", self.reply(got))
        got = self.fetch(tags=("t", "u"))
        for kind, what in (("url", "http://a.example/2"), ("prefix", "http://b"), ("host", "b.example"), ("tag", "v")):
            self.history.purged(kind, what)
        self.permitted(self.reply(got))
