"""Values and what keys take, in words."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass
from datetime import date
from typing import Annotated, Any, Literal

from annotated_types import Gt, Lt, MinLen
from pydantic import Field
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import Doc

from balancer.cache.policy import CachePolicy
from balancer.config.schema import Configuration, ListenerConfig, ServerConfig, UpstreamConfig
from balancer.config.wording import (
    MAX_LISTED,
    MAX_SHOWN,
    Written,
    any_of,
    choices,
    dotted,
    inside,
    keys_of,
    measure,
    nearest,
    shown,
    table_in,
    toml,
    words,
)
from balancer.core.access_log import AccessLogSettings
from balancer.core.units import Count, CountOrZero, Port, Seconds, SecondsOrZero, Share, Size, Weight


@dataclass(frozen=True)
class Small:
    """A table."""

    plain: int
    told: Annotated[str, Written("a word", '"so"'), Doc("What it is.")] = "x"


class WordsTests(SynchronousTestCase):
    def test_words(self) -> None:
        """What an annotation takes is said with its bounds, in plain words."""
        cases: list[tuple[Any, str]] = [
            (int, "a whole number"),
            (Count, "a whole number of at least 1"),
            (CountOrZero, "a whole number of at least 0"),
            (Weight, "a whole number from 0 to 256"),
            (Port, "a whole number from 1 to 65535"),
            (Share, "a number from 0 to 1"),
            (Annotated[float, Gt(0), Lt(2)], "a number above 0 and below 2"),
            (Seconds, 'a duration above 0: seconds, or a text like "250ms", "5s", "1h"'),
            (SecondsOrZero, 'a duration of at least 0: seconds, or a text like "250ms", "5s", "1h"'),
            (Size, 'a size above 0: bytes, or a text like "64KiB", "2MB"'),
            (bool, "true or false"),
            (str, "a text"),
            (Annotated[str, Field(pattern="^a$")], "a text that matches ^a$"),
            (Literal["a", "b", "c"], '"a", "b" or "c"'),
            (tuple[Literal["a", "b"], ...], 'a list, each item "a" or "b"'),
            (Annotated[tuple[int, ...], MinLen(1)], "a list that is not empty, each item a whole number"),
            (Mapping[str, Weight], "a table, each value a whole number from 0 to 256"),
            (Port | None, "a whole number from 1 to 65535"),
            (bool | str | Small, "true or false, a text or a table"),
            (Annotated[Small, Written("a small thing")], "a small thing"),
        ]
        for annotation, expected in cases:
            self.assertEqual(words(annotation), expected)

    def test_keys(self) -> None:
        """A key knows its manual entry, its default and how TOML writes it."""
        plain, told = keys_of(Small).values()
        self.assertIs(plain.default, MISSING)
        self.assertEqual((plain.written_default, plain.doc), ("", ""))
        self.assertEqual((told.default, told.written_default), ("x", '"so"'))
        self.assertEqual((told.doc, told.brief), ("What it is.", "a word"))

    def test_a_duration_that_may_be_absent(self) -> None:
        """What it counts is known all the same, and its brief words do not tell how durations are written."""
        key = keys_of(CachePolicy)["ttl"]
        self.assertEqual((measure(key.annotation), key.brief), ("seconds", "a duration of at least 0"))

    def test_every_key_is_documented(self) -> None:
        """Every key of the configuration has a manual entry."""
        for table in (Configuration, UpstreamConfig, ListenerConfig, ServerConfig, CachePolicy):
            for key in keys_of(table).values():
                self.assertTrue(key.doc, (table, key.name))

    def test_inside(self) -> None:
        """Annotations are found through tables, lists and tables by name."""
        upstreams = inside(Configuration, "upstream")
        upstream = inside(upstreams, "any")
        servers = inside(upstream, "servers")
        self.assertEqual(words(inside(inside(servers, 7), "weight")), "a whole number from 0 to 256")
        self.assertIsNone(inside(upstream, "nothing"))
        self.assertIsNone(inside(int, "x"))
        self.assertIs(table_in(inside(Configuration, "access_log")), AccessLogSettings)

    def test_choices(self) -> None:
        """The texts of a choice are known, so that the nearest can be found."""
        self.assertEqual(choices(Annotated[Literal["a", "b"], Doc("x")]), ("a", "b"))
        self.assertEqual(choices(str), ())

    def test_any_of(self) -> None:
        """Alternatives read as a sentence."""
        self.assertEqual(any_of(["a"]), "a")
        self.assertEqual(any_of(["a", "b"]), "a or b")

    def test_nearest(self) -> None:
        """The nearest name is found, none where none is near, and no time is spent on very long ones."""
        self.assertEqual(nearest("balanc", ["balance", "check"]), "balance")
        self.assertEqual(nearest("zzz", ["balance"]), "")
        self.assertEqual(nearest("a" * 1000, ["a" * 1000]), "")
        self.assertEqual(nearest(5, ["5"]), "")


class ShownTests(SynchronousTestCase):
    def test_values(self) -> None:
        """Values are shown as TOML writes them, others in words."""
        cases: list[tuple[object, str]] = [
            (True, "true"), (5, "5"), (0.5, "0.5"), ("a\nb", '"a\\nb"'), ([], "an empty list"), ([1, 2], "a list of 2"),
            ({}, "an empty table"), ({"a": 1, "b": 2}, 'a table with "a", "b"'), (None, "nothing"),
            (date(2024, 1, 2), "the date or time 2024-01-02"), (2**70, "a number of more than 64 bits"),
        ]  # fmt: skip
        for value, expected in cases:
            self.assertEqual(shown(value), expected)

    def test_short(self) -> None:
        """Long texts and large tables are cut."""
        self.assertLess(len(shown("x" * 5000)), MAX_SHOWN + 10)
        self.assertEqual(shown(dict.fromkeys(map(str, range(100)))).count(","), MAX_LISTED)

    def test_secrets(self) -> None:
        """The value of a key that looks like a secret is never shown."""
        for key in ("Authorization", "X-Api-Key", "password", "client_secret", "Cookie", "token"):
            self.assertEqual(shown("hunter2", ("check", "headers", key)), "a value that is not shown")

    def test_names_of_cookies(self) -> None:
        """Which cookies a key is about is no secret."""
        for key in ("cookies", "set_cookie"):
            self.assertEqual(shown("currency", ("cache", "pages", "key", key)), '"currency"')

    def test_dotted(self) -> None:
        """Paths are written as TOML would, with the place in a list in brackets."""
        self.assertEqual(dotted(("upstream", "a b", "servers", 0, "weight")), 'upstream."a b".servers[0].weight')
        self.assertEqual(dotted(()), "")

    def test_toml(self) -> None:
        """Defaults are written with units where they count something."""
        self.assertEqual(toml(30.0, "seconds"), '"30s"')
        self.assertEqual(toml(7200.0, "seconds"), '"2h"')
        self.assertEqual(toml(0.25, "seconds"), "0.25")
        self.assertEqual(toml(0.0, "seconds"), "0")
        self.assertEqual(toml(262144, "bytes"), '"256KiB"')
        self.assertEqual(toml(10 * 2**30, "bytes"), '"10GiB"')
        self.assertEqual(toml(100, "bytes"), "100")
        self.assertEqual(toml((True, "a", 1, {"b": 0.5})), '[true, "a", 1, {b = 0.5}]')
        self.assertRaises(TypeError, toml, object())
