"""What is played: requests, what origins say, clock steps, purges and restarts, chosen at random and in scenes.

Everything is made of features, so that a sequence that fails is reduced to those that matter.
"""

from collections.abc import Iterable
from typing import Any, Protocol

from hypothesis import strategies as st

from balancer.cache.policy import CachePolicy
from tests.cache.exchanges import Ask
from tests.cache.origin import USUAL, Origin, Template
from tests.cache.versions import Violation

Feature = tuple[str, Any]

ASKED: list[Feature] = [
    *[("cc", (name, value)) for name in ("max-age", "min-fresh", "max-stale") for value in (0, 5, 30, 1000)],
    *[("cc", (name, None)) for name in ("no-cache", "no-store", "only-if-cached", "max-stale", "no-transform")],
    *[("cc", value) for value in (("stale-if-error", 30), ("max-age", "x"), ("min-fresh", "-1"))],
    *[("selecting", ("Accept-Encoding", value)) for value in (("gzip",), ("gzip", "br"))],
    *[("selecting", ("X-Kind", value)) for value in (("a",), ("b",))],
    ("selecting", ("Cookie", ("id=1",))),
    ("spaced", True),
    *[("style", value) for value in ("split", "upper", "quoted")],
    *[("inm", value) for value in ([-1], [-2], [0], [0, -1, -2], "*")],
    *[("ims", value) for value in ((-1, 0), (-1, -1), (-1, 10), (0, 0))],
    ("match", [-1]),
    *[("ranges", value) for value in (((0, 4),), ((5, None),), ((2, 12),), ((10, 19),), ((None, 3),))],
    *[("ranges", value) for value in (((100, None),), ((0, 1), (5, 6)), ((0, 9), (3, 12)), ((0, 99),))],
    *[("if_range", value) for value in (-1, -2, 0, "date")],
    ("authorization", True),
    *[("method", method) for method in ("HEAD", "HEAD", "POST", "PUT", "FROB")],
    *[("query_content", content) for content in (b"a", b"b")],
    *[("path", "/2"), ("path", "/1/x"), ("host", "b.example"), ("query", "x=1"), ("query", "")],
]
"""What a request may have beside its target; places of validators count among those that the origin has sent."""

NUMBERS = [(name, value) for name in ("max-age", "s-maxage") for value in (0, 10, 60, 1000, 2**40, "abc", "-1")]
WORDS = ["no-cache", "no-store", "private", "public", "must-revalidate", "proxy-revalidate", "immutable", "foo"]
WINDOWS = [("stale-while-revalidate", 30), ("stale-if-error", 30), ("stale-while-revalidate", 0)]
DIRECTIVES: list[tuple[str, Any]] = [*NUMBERS, *[(word, None) for word in WORDS], *WINDOWS, ("must-understand", None)]

SAID: list[Feature] = [
    *[("cc", directive) for directive in DIRECTIVES],
    *[("cc", value) for value in (("no-cache", ("X-A",)), ("private", ("x-b", "Set-Cookie")))],
    ("cc", None),
    *[("cdn", directive) for directive in DIRECTIVES if not isinstance(directive[1], str)],
    ("cdn", "max-age=60,,"),
    *[("expires", value) for value in ((60,), (-10,), ("0",), (60, 1000), (10,))],
    *[("date", value) for value in (-30, 30, -1000, None, "yesterday")],
    *[("age", value) for value in ("5", "1000", "x", "5, 7", "-1")],
    *[("etag", value) for value in ("weak", None)],
    ("modified", False),
    *[("vary", value) for value in (("X-Kind",), ("accept-encoding",), ("X-Kind", "Accept-Encoding"), ("*",))],
    *[("vary", value) for value in (("Cookie",), ("Authorization",))],
    ("set_cookie", True),
    ("extra", True),
    ("tags", ("t", "u")),
    *[("location", value) for value in ("/1", "http://a.example/1", "http://b.example/1", "/2?x=1", "//a.example/1")],
    *[("content_location", value) for value in ("/1", "/2")],
    *[("status", value) for value in (404, 500, 503, 302, 204, 299, 410, 301)],
    *[
        ("behaviour", value)
        for value in ("deaf", "other tag", "no validators", "lean", "length", "dead", "other range", "dead")
    ],
    *[("purges", (purge,)) for purge in (("url", "http://a.example/1"), ("tag", "t"), ("all", ""))],
    ("took", 3.0),
    ("took", -3.0),
    *[("style", value) for value in ("split", "upper", "quoted")],
    *[("form", value) for value in ("rfc850", "asctime")],
    ("length", False),
    ("empty", True),
]
"""What an origin may say otherwise than usual, and do."""

CLOCK = [1.0, 5.0, 0.5, 20.0, 31.0, 61.0, 1000.0, 100000.0, -1.0, -10.0, -100.0]
PURGES = [
    ("url", "http://a.example/1"),
    ("prefix", "http://a.example/1"),
    ("host", "a.example"),
    ("tag", "t"),
    ("all", ""),
]
RANGED = [feature for feature in ASKED if feature[0] in ("ranges", "if_range", "inm")]
PARTS: list[Feature] = [
    ("ranges", value) for value in (((0, 4),), ((5, None),), ((2, 12),), ((10, 19),), ((13, None),))
]
NEGOTIATED = [feature for feature in ASKED if feature[0] in ("selecting", "spaced", "inm")]


def asks(features: list[Feature], most: int, said: Any, changed: Any) -> Any:
    """Steps in which a client asks: with some features, after the origin began to say something else, or changed."""
    return st.tuples(st.just("ask"), st.lists(st.sampled_from(features), max_size=most), said, changed)


def scene(*steps: Any) -> tuple[str, tuple[Any, ...]]:
    """Steps that go together: chance seldom makes them."""
    return "scene", steps


def ask(
    *features: Feature, said: list[Feature] | None = None, changed: bool = False
) -> tuple[str, list[Feature], list[Feature] | None, bool]:
    """A client asks, after the origin began to say this, or changed."""
    return "ask", list(features), said, changed


DEAD: list[Feature] = [("behaviour", "dead")]
PATIENT = ("cc", ("max-stale", None))
POST = [("method", "POST"), ("path", "/2")]

SCENES = [
    scene(ask(said=[("cc", ("no-cache", ("X-A",))), ("cc", ("max-age", 60)), ("extra", True)]), ask()),
    scene(ask(said=[("cc", ("private", ("x-b",))), ("cc", ("max-age", 60)), ("extra", True)]), ask()),
    *[scene(ask(PARTS[0], said=[("etag", kind)]), ask(PARTS[1]), ask(PARTS[2]), ask()) for kind in ("weak", None)],
    scene(ask(PARTS[0], said=[("etag", "strong")]), ask(PARTS[1]), ask(PARTS[2]), ask()),
    scene(ask(said=[]), ask(*POST, said=[("content_location", "/1")]), ask()),
    scene(ask(said=[]), ask(*POST, said=[("location", "/1")]), ask()),
    scene(ask(said=[("cc", ("max-age", 10)), ("cc", ("proxy-revalidate", None))]), ("clock", 20.0), ask(PATIENT)),
    scene(ask(said=[("cc", ("max-age", 10)), ("cc", ("must-revalidate", None))]), ("clock", 20.0), ask(PATIENT)),
    scene(ask(said=[]), ask(said=DEAD), ("clock", 1000.0), ask(), ("clock", 100000.0), ask()),
    scene(ask(said=[("cc", ("max-age", 10)), ("cc", ("stale-if-error", 30))]), ("clock", 41.0), ask(said=DEAD)),
    scene(ask(PARTS[0], said=[]), ask(PARTS[1], changed=True), ask(PARTS[2]), ask()),
    scene(ask(said=[("purges", (("tag", "t"),)), ("tags", ("t",))]), ask()),
    scene(ask(said=[("purges", (("url", "http://a.example/1"),))]), ask()),
]

STEPS = st.one_of(
    asks(ASKED, 3, st.none() | st.lists(st.sampled_from(SAID), max_size=4), st.booleans()),
    asks(ASKED, 1, st.none(), st.just(False)),
    asks(RANGED, 2, st.none(), st.just(False)),
    asks(PARTS, 1, st.none(), st.just(False)),
    asks(NEGOTIATED, 2, st.none(), st.just(False)),
    st.tuples(st.just("clock"), st.sampled_from(CLOCK)),
    st.tuples(st.just("purge"), st.sampled_from(PURGES), st.booleans()),
    st.sampled_from(SCENES),
    st.sampled_from([("chance", 0.0), ("chance", 0.99), ("restart",)]),
)

POLICIES = [
    CachePolicy(),
    CachePolicy(),
    CachePolicy(set_cookie="strip", request_directives=False),
    CachePolicy(set_cookie="store", stale_while_revalidate=20.0, stale_if_error=0.0),
    CachePolicy(ttl=30.0),
    CachePolicy(min_ttl=15.0, max_ttl=40.0, default_ttl=20.0, heuristic=0.0),
    CachePolicy(targets=(), max_variants=2),
]


class Played(Protocol):
    """A stage: a cache, an origin and a judge."""

    origin: Origin
    now: float
    chance: float

    def play(self, ask: Ask, template: Template) -> list[Violation]: ...
    def purge(self, kind: Any, what: str, *, soft: bool) -> None: ...
    def restart(self) -> None: ...
    def other(self, step: Any) -> list[Violation]:
        """A step that is this stage's own."""


def asked(features: list[Feature], stage: Played) -> Ask:
    """A request with these features."""
    values: dict[str, Any] = {}
    tags, dates = stage.origin.tags, stage.origin.dates
    for name, value in features:
        if name in ("cc", "selecting"):
            values[name] = (*values.get(name, ()), value)
        elif name in ("inm", "match") and value != "*":
            values[name] = tuple(tags[place % len(tags)] for place in value)
        elif name == "ims":
            values[name] = dates[value[0] % len(dates)] + value[1]
        elif name == "if_range":
            values[name] = dates[-1] if value == "date" else tags[value % len(tags)]
        elif name == "query_content":
            values |= {"method": "QUERY", "content": value}
        else:
            values[name] = value
    if values.get("method") in ("HEAD", "POST", "PUT", "FROB"):
        values.pop("content", None)
    values["selecting"] = tuple(dict(values.get("selecting", ())).items())
    return Ask(**values)


def template(features: list[Feature]) -> Template:
    """What is said with these features; directives add up."""
    values = dict(USUAL)
    told: dict[str, Any] = {}
    for name, value in features:
        if name in ("cc", "cdn") and isinstance(value, tuple):
            before = told.get(name)
            told[name] = (*before, value) if isinstance(before, tuple) else (value,)
        else:
            told[name] = value
    return values | told


def played(stage: Played, steps: Iterable[Any], told: Template = USUAL) -> list[Violation]:
    """What a sequence does that is forbidden, first of all; empty for nothing."""
    for step in steps:
        faults: list[Violation] = []
        if step[0] == "clock":
            stage.now += step[1]
        elif step[0] == "purge":
            stage.purge(*step[1], soft=step[2])
        elif step[0] == "scene":
            faults = played(stage, step[1], told)
        elif step[0] == "chance":
            stage.chance = step[1]
        elif step[0] == "restart":
            stage.restart()
        elif step[0] != "ask":
            faults = stage.other(step)
        else:
            who = asked(step[1], stage)
            if step[3]:
                stage.origin.change(who)
            if step[2] is not None:
                told = template(step[2])
                stage.origin.speak(who, told)
            faults = stage.play(who, told)
        if faults:
            return faults
    return []


SEQUENCE = st.lists(STEPS, min_size=2, max_size=14)
