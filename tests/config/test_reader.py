"""Text to a configuration, or to every mistake in it."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Annotated, Any

from annotated_types import Ge
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import Doc

from balancer.config.document import MAX_BYTES
from balancer.config.draft import MAX_TEXT
from balancer.config.reader import read, reads
from balancer.config.schema import Configuration
from balancer.config.vocabulary import Vocabulary
from balancer.core.health import CheckSettings
from balancer.core.route_spec import HeaderPattern, RouteSpec
from balancer.errors import ConfigurationError, Problem, UnknownName


@dataclass(frozen=True, slots=True, kw_only=True)
class KnockSettings(CheckSettings):
    """A stranger's check."""

    type: Annotated[str, Doc("knock")] = "knock"
    knocks: Annotated[int, Ge(1), Doc("How often.")] = 3
    passwords: Annotated[tuple[str, ...], Doc("What is said.")] = ()


def known(text: str) -> None:
    if text == "leastcon":
        raise UnknownName("no selector is named 'leastcon' (did you mean 'leastconn'?)")
    if text != "leastconn":
        raise ValueError("leastconn, and nothing else")


VOCABULARY = Vocabulary(checks={"tcp": CheckSettings, "knock": KnockSettings}, selectors=known)

GOOD = """\
[upstream.web]
servers = ["127.0.0.1:80"]
[listener.web]
listen = "tcp:8080"
to = "web"
"""


def problems(text: str, vocabulary: Vocabulary = VOCABULARY) -> tuple[Problem, ...]:
    try:
        reads(dedent(text), "b.toml", vocabulary)
    except ConfigurationError as error:
        return error.problems
    return ()


class ReadingTests(SynchronousTestCase):
    def test_smallest(self) -> None:
        """What is not written has its default."""
        configuration = reads(GOOD, "b.toml", VOCABULARY)
        self.assertEqual(configuration.upstream["web"].servers[0].address, "127.0.0.1:80")
        self.assertEqual(configuration.upstream["web"].balance, "random(2)")
        self.assertEqual(configuration.listener["web"].max_connections, 10000)
        self.assertIsNone(configuration.access_log)

    def test_empty(self) -> None:
        """An empty text is the empty configuration."""
        self.assertEqual(reads("", "b.toml", VOCABULARY), Configuration())

    def test_units(self) -> None:
        """Durations and sizes take numbers and texts with units."""
        configuration = reads(
            'drain = "2m"\n' + GOOD + 'buffer = "64KiB"\ntimeouts = { head = 2, body = "250ms" }\n', "b", VOCABULARY
        )
        listener = configuration.listener["web"]
        self.assertEqual((configuration.drain, listener.buffer), (120.0, 65536))
        self.assertEqual((listener.timeouts.head, listener.timeouts.body), (2.0, 0.25))

    def test_servers(self) -> None:
        """A server is a text or a table; both may stand in one list."""
        text = '[upstream.a]\nservers = ["a:1", { address = "[::1]:2", weight = 5, tags = { zone = "x" } }]\n'
        one, other = reads(text, "b", VOCABULARY).upstream["a"].servers
        self.assertEqual((one.address, one.weight), ("a:1", 1))
        self.assertEqual((other.address, other.weight, dict(other.tags)), ("[::1]:2", 5, {"zone": "x"}))

    def test_checks(self) -> None:
        """A check's settings are of the class its type has, by a table or by the type alone; none is none."""
        for written, expected in (
            ('"knock"', KnockSettings()),
            ('{ type = "knock", knocks = 5, interval = "2s" }', KnockSettings(knocks=5, interval=2.0)),
            ('{ type = "knock", passwords = ["a"] }', KnockSettings(passwords=("a",))),
            ("{ rise = 5 }", CheckSettings(rise=5)),
            ('"none"', None),
            ('{ type = "none" }', None),
        ):
            text = f'[upstream.a]\nservers = ["a:1"]\ncheck = {written}\n'
            self.assertEqual(reads(text, "b", VOCABULARY).upstream["a"].check, expected)

    def test_routes(self) -> None:
        """Routes are read in their order, with their conditions."""
        text = GOOD + dedent("""\
            [[listener.web.route]]
            host = "A.example"
            headers = { x = true, y = "1", z = { regex = "2.*" } }
            split = { web = 1 }
            [[listener.web.route]]
            path = "/"
            to = "web"
            """)
        first, second = reads(text, "b", VOCABULARY).listener["web"].route
        headers = {"x": True, "y": "1", "z": HeaderPattern("2.*")}
        self.assertEqual(first, RouteSpec(host="a.example", headers=headers, split={"web": 1}))
        self.assertEqual(second, RouteSpec(path="/", to="web"))


class FileTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = Path(directory.name, "b.toml")

    def problem(self, content: bytes | None = None) -> Problem:
        if content is not None:
            self.path.write_bytes(content)
        with self.assertRaises(ConfigurationError) as caught:
            read(str(self.path), VOCABULARY)
        return caught.exception.problems[0]

    def test_file(self) -> None:
        """A file is read, UTF-8 and all."""
        self.path.write_text(GOOD + "# caf\u00e9\n", encoding="utf-8")
        self.assertEqual(read(str(self.path), VOCABULARY), reads(GOOD, "b", VOCABULARY))

    def test_absent(self) -> None:
        """A file that is not there is named, with the system's reason."""
        told = self.problem()
        self.assertEqual((told.file, told.line, told.found), (str(self.path), 0, "No such file or directory"))

    def test_directory(self) -> None:
        """A directory is no file."""
        self.path.mkdir()
        self.assertEqual(self.problem().found, "Is a directory")

    def test_nul(self) -> None:
        """A name that no file can have is a mistake like another."""
        with self.assertRaises(ConfigurationError):
            read("a\0b", VOCABULARY)

    def test_large(self) -> None:
        """A file above the limit is refused; one at the limit is read."""
        self.path.write_bytes(b"#" * MAX_BYTES)
        self.assertEqual(read(str(self.path), VOCABULARY), Configuration())
        self.assertEqual(self.problem(b"#" * (MAX_BYTES + 1)).allowed, f"at most {MAX_BYTES} bytes")

    def test_not_utf8(self) -> None:
        """A byte that is not UTF-8 is told with its line."""
        told = self.problem(b"# fine\n# caf\xe9\n")
        self.assertEqual((told.line, told.found), (2, "the byte 0xe9, which is not UTF-8 there"))


class MistakeTests(SynchronousTestCase):
    def check(self, text: str, *expected: tuple[int, str, str, str, str]) -> None:
        """Line, key, part of what was found, part of what is allowed, hint of every problem."""
        found = problems(text)
        places = [(line, key, hint) for line, key, _, _, hint in expected]
        self.assertEqual([(told.line, told.key, told.hint) for told in found], places)
        for told, (_, _, said, allowed, _) in zip(found, expected, strict=True):
            self.assertEqual(told.file, "b.toml")
            self.assertIn(said, told.found)
            self.assertIn(allowed, told.allowed)

    def test_five(self) -> None:
        """Five different mistakes are all told at once, each with file, line, key, what was found and what is
        allowed, in the order of the file."""
        self.check(
            """\
            drain = "soon"
            [upstream.web]
            servers = ["127.0.0.1:80", "127.0.0.1"]
            balanc = "leastconn"
            hash_type = "rnig"
            [listener.public]
            listen = "tcp:8080"
            to = "wbe"
            """,
            (1, "drain", '"soon"', "a duration of at least 0: seconds", ""),
            (3, "upstream.web.servers[1]", '"127.0.0.1"', "HOST:PORT", ""),
            (4, "upstream.web.balanc", "an unknown key", "balance", "balance"),
            (5, "upstream.web.hash_type", '"rnig"', '"ring" or "maglev"', '"ring"'),
            (8, "listener.public.to", '"wbe", which is no upstream', "web", '"web"'),
        )

    def test_report(self) -> None:
        """The text of the error is the whole report."""
        with self.assertRaises(ConfigurationError) as caught:
            reads("drian = 5\ndrain = -1\n", "b.toml", VOCABULARY)
        self.assertEqual(
            str(caught.exception),
            dedent("""\
            2 mistakes in the configuration
            b.toml:1: drian
                found:   an unknown key
                allowed: the keys upstream, listener, cache, store, access_log, resolve, drain, nat or splices
                did you mean drain?
            b.toml:2: drain
                found:   -1
                allowed: a duration of at least 0: seconds, or a text like "250ms", "5s", "1h\""""),
        )

    def test_types(self) -> None:
        """A value of another type is refused, even where it could be read as the right one."""
        for key, value, allowed in (
            ("max_connections", '"5"', "a whole number of at least 0"),
            ("max_connections", "5.0", "a whole number of at least 0"),
            ("max_connections", "true", "a whole number of at least 0"),
            ("max_connections", "-1", "a whole number of at least 0"),
            ("max_connections", "0x" + "f" * 300, "64 bits"),
            ("buffer", "0", "a size above 0"),
            ("buffer", '"1 parsec"', "a size above 0"),
            ("buffer", "1.5", "a size above 0"),
            ("to", "5", "a text"),
            ("to", "2024-01-01", "a text"),
            ("to", f'"{"x" * (MAX_TEXT + 1)}"', f"at most {MAX_TEXT} characters"),
            ("mode", '"htp"', '"tcp", "http", "tls-passthrough", "udp" or "nat"'),
            ("mode", "[]", '"tcp", "http", "tls-passthrough", "udp" or "nat"'),
            ("timeouts", "5", "a table"),
            ("route", "5", "a list"),
            ("forwarded", "{ via_response = 1 }", "true or false"),
        ):
            text = GOOD.replace('to = "web"\n', "" if key == "to" else 'to = "web"\n') + f"{key} = {value}\n"
            found = problems(text)
            self.assertEqual(len(found), 1, (key, value, found))
            self.assertEqual(found[0].key.split(".")[2], key)
            self.assertIn(allowed, found[0].allowed)

    def test_durations(self) -> None:
        """Bad durations are refused: no unit, unknown units, infinity, not a number, beyond a year."""
        for value in ('"5"', '"5 weeks"', "inf", "nan", '"400d"', "1e300", "true", "[]", '"-1s"'):
            self.check(f"drain = {value}\n", (1, "drain", "", "a duration of at least 0", ""))

    def test_missing(self) -> None:
        """A key that has to be given is told where it would be, with what it takes."""
        self.check(
            """\
            [upstream.web]
            balance = "leastconn"
            [listener.a]
            to = "web"
            """,
            (1, "upstream.web.servers", "nothing", "a list that is not empty, each item a text like", ""),
            (3, "listener.a.listen", "nothing", "a Twisted endpoint description", ""),
        )

    def test_no_servers(self) -> None:
        """An upstream without servers is refused."""
        self.check(
            "[upstream.a]\nservers = []\n", (2, "upstream.a.servers", "an empty list", "a list that is not empty", "")
        )

    def test_misspelt_required(self) -> None:
        """A required key that is misspelt is one mistake, not two."""
        self.check(
            '[upstream.a]\nservers = [{ adress = "a:1" }]\n',
            (2, "upstream.a.servers[0].adress", "an unknown key", "the keys address", "address"),
        )

    def test_unknown_tables(self) -> None:
        """An unknown key without a near name has no hint, and tables are keys too."""
        self.check(
            "[upstreams.web]\n[zzz]\n",
            (1, "upstreams", "an unknown key", "upstream, listener", "upstream"),
            (2, "zzz", "an unknown key", "upstream, listener", ""),
        )

    def test_names(self) -> None:
        """Names of upstreams and listeners are bounded, and may not have what a log line or a metric could not."""
        for name in ("a b", "", "-a", "x" * 65, "caf\u00e9", "a\\nb"):
            found = problems(f'[upstream."{name}"]\nservers = ["a:1"]\n')
            self.assertEqual(len(found), 1, name)
            self.assertIn("1 to 64 letters", found[0].allowed)

    def test_addresses(self) -> None:
        """A server's address is a host and a port."""
        for address in (
            "a", "a:", ":80", "a:0", "a:65536", "::1:80", "a b:80", "a/b:80", "http://a:80", "-a:80", "a..b:1",
        ):  # fmt: skip
            found = problems(f'[upstream.a]\nservers = ["{address}"]\n')
            self.assertEqual([told.key for told in found], ["upstream.a.servers[0]"], address)
            self.assertRegex(found[0].allowed, "HOST:PORT|brackets")

    def test_endpoints(self) -> None:
        """A bare port where an endpoint belongs is answered with the endpoint."""
        self.check(
            GOOD.replace("tcp:8080", "8080"),
            (4, "listener.web.listen", '"8080"', 'here "tcp:8080"', ""),
        )

    def test_selectors(self) -> None:
        """What a plugin says about balance is told, be the name unknown or the arguments wrong."""
        for text, said in (("leastcon", "did you mean 'leastconn'?"), ("first(2)", "leastconn, and nothing else")):
            self.check(
                f'[upstream.a]\nbalance = "{text}"\nservers = ["a:1"]\n', (2, "upstream.a.balance", text, said, "")
            )

    def test_hash_balance_factor(self) -> None:
        """A balance factor from 1 to 100 bounds nothing and is refused; 0 and above 100 are taken."""
        for factor in (1, 100):
            found = problems(f'[upstream.a]\nservers = ["a:1"]\nhash_balance_factor = {factor}\n')
            self.assertEqual([told.key for told in found], ["upstream.a.hash_balance_factor"])
        for factor in (0, 101):
            self.assertEqual(problems(f'[upstream.a]\nservers = ["a:1"]\nhash_balance_factor = {factor}\n'), ())

    def test_unknown_check(self) -> None:
        """An unknown type of check is told with those there are; the keys it has are not judged."""
        self.check(
            '[upstream.a]\nservers = ["a:1"]\ncheck = { type = "knok", knocks = 0 }\n',
            (3, "upstream.a.check.type", '"knok"', '"tcp", "knock" or "none"', '"knock"'),
        )
        self.check(
            '[upstream.a]\nservers = ["a:1"]\ncheck = { type = 5 }\n', (3, "upstream.a.check.type", "5", '"tcp"', "")
        )
        self.check('[upstream.a]\nservers = ["a:1"]\ncheck = 5\n', (3, "upstream.a.check", "5", "a table like", ""))
        self.check('[upstream.a]\nservers = ["a:1"]\ncheck = "knok"\n', (3, "upstream.a.check", "", "", '"knock"'))

    def test_none_with_keys(self) -> None:
        """No check has no keys."""
        self.check(
            '[upstream.a]\nservers = ["a:1"]\ncheck = { type = "none", rise = 1 }\n',
            (3, "upstream.a.check.type", '"none"', '"none" stands alone', ""),
        )

    def test_check_keys(self) -> None:
        """A check's keys are judged by the settings of its own type."""
        self.check(
            """\
            [upstream.a]
            servers = ["a:1"]
            [upstream.a.check]
            type = "knock"
            knocks = 0
            knoks = 1
            interval = "never"
            passwords = [1]
            """,
            (5, "upstream.a.check.knocks", "0", "a whole number of at least 1", ""),
            (6, "upstream.a.check.knoks", "an unknown key", "knocks", "knocks"),
            (7, "upstream.a.check.interval", '"never"', "a duration above 0", ""),
            (8, "upstream.a.check.passwords[0]", "a value that is not shown", "a text", ""),
        )

    def test_routes(self) -> None:
        """A route without a target, with two paths, with a bad regular expression or a bad condition is told."""
        self.check(
            GOOD
            + dedent("""\
            [[listener.web.route]]
            path = "/a"
            [[listener.web.route]]
            path = "/b"
            path_prefix = "/b"
            to = "web"
            [[listener.web.route]]
            path_regex = "("
            to = "web"
            [[listener.web.route]]
            headers = { x = 3, y = { regx = "a" } }
            to = "web"
            [[listener.web.route]]
            methods = ["get"]
            split = { web = 1 }
            """),
            (6, "listener.web.route[0]", "a table with", 'either "to" or "split" has to be given', ""),
            (8, "listener.web.route[1]", "a table with", "only one of", ""),
            (13, "listener.web.route[2].path_regex", '"("', "is not a regular expression", ""),
            (16, "listener.web.route[3].headers.x", "3", "true or false, a text or a table", ""),
            (16, "listener.web.route[3].headers.y.regx", "an unknown key", "the key regex", "regex"),
            (19, "listener.web.route[4].methods[0]", '"get"', "upper-case", ""),
        )

    def test_split_weights(self) -> None:
        """A split in which nobody gets anything is told."""
        text = GOOD + '[[listener.web.route]]\npath = "/"\nsplit = { web = 0 }\n'
        self.check(text, (6, "listener.web.route[0]", "a table", "no weight above 0", ""))

    def test_consequences(self) -> None:
        """What only follows from a mistake is not told."""
        self.check(
            """\
            [upstream.web]
            servers = [5]
            [listener.web]
            listen = 5
            too = "web"
            """,
            (2, "upstream.web.servers[0]", "5", "a text like", ""),
            (4, "listener.web.listen", "5", "a Twisted endpoint", ""),
            (5, "listener.web.too", "an unknown key", "to", "to"),
        )

    def test_not_hidden(self) -> None:
        """Mistakes between keys are told although other keys of the same tables are wrong."""
        self.check(
            """\
            [upstream.web]
            servers = ["a:x", "b:1", "b:1"]
            outlier = { base_time = "10s", max_time = "5s", failures = -1 }
            [listener.web]
            listen = "8080"
            to = "api"
            """,
            (2, "upstream.web.servers[0]", '"a:x"', "HOST:PORT", ""),
            (2, "upstream.web.servers[2]", "in the list already", "each server once", ""),
            (3, "upstream.web.outlier.max_time", 'less than "base_time"', "at least", ""),
            (3, "upstream.web.outlier.failures", "-1", "a whole number", ""),
            (5, "listener.web.listen", '"8080"', "tcp:8080", ""),
            (6, "listener.web.to", '"api"', "web", ""),
        )

    def test_secrets(self) -> None:
        """No value of a key that looks like a secret is repeated."""
        found = problems('[upstream.a]\nservers = ["a:1"]\ncheck = { type = "knock", password = "hunter2" }\n')
        self.assertEqual(len(found), 1)
        self.assertNotIn("hunter2", str(found[0]))


_SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**65), 2**65),
    st.floats(),
    st.sampled_from(["", "web", "tcp", "http", "tcp:80", "a:1", "none", "5s", "1KiB", "/", "(", "x" * 5000]),
    st.text(max_size=8),
    st.dates(),
)
_WORDS = (
    "upstream", "listener", "web", "drain", "servers", "address", "weight", "check", "type", "port", "to", "route",
    "path", "split", "headers", "regex", "listen", "mode", "timeouts", "head", "limits", "forwarded", "trusted_proxies",
    "retry", "access_log", "resolve", "on", "outlier", "max_time", "tags", "balance",
)  # fmt: skip
_KEYS = st.one_of(st.sampled_from(_WORDS), st.text(max_size=3))
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=4)),
    max_leaves=12,
)


def written(value: Any) -> str:
    """A value as TOML, tables inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{quoted(key)} = {written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else str(value)


def quoted(text: str) -> str:
    return '"' + "".join(f"\\U{ord(character):08x}" for character in text) + '"'


class AnyTextTests(SynchronousTestCase):
    def check(self, text: str) -> None:
        try:
            configuration = reads(text, "b", VOCABULARY)
        except ConfigurationError as error:
            self.assertTrue(all(told.allowed and told.found for told in error.problems), str(error))
            self.assertTrue(all(0 <= told.line <= text.count("\n") + 1 for told in error.problems))
        else:
            self.assertIsInstance(configuration, Configuration)

    @given(st.dictionaries(_KEYS, _VALUES, max_size=4))
    @settings(max_examples=150, deadline=None)
    def test_any_document(self, values: dict[str, Any]) -> None:
        """Any TOML document is a configuration, or mistakes that say what was found and what is allowed."""
        self.check("".join(f"{quoted(key)} = {written(value)}\n" for key, value in values.items()))

    @given(
        st.fixed_dictionaries(
            {
                "upstream": st.dictionaries(st.just("web"), st.dictionaries(_KEYS, _VALUES, max_size=5), max_size=1),
                "listener": st.dictionaries(st.just("web"), st.dictionaries(_KEYS, _VALUES, max_size=5), max_size=1),
            }
        )
    )
    @settings(max_examples=150, deadline=None)
    def test_near_documents(self, values: dict[str, Any]) -> None:
        """So is any that comes near one."""
        self.check("".join(f"{key} = {written(value)}\n" for key, value in values.items()))

    @given(st.text(alphabet="ab.=[]{}\"',\n #1", max_size=60))
    @settings(max_examples=200, deadline=None)
    def test_any_text(self, text: str) -> None:
        """So is any text at all, TOML or not."""
        self.check(text)

    @given(st.lists(st.sampled_from(GOOD.splitlines(keepends=True)), max_size=10))
    @settings(max_examples=100, deadline=None)
    def test_shuffled(self, lines: list[str]) -> None:
        """So are the lines of a good one in any order and number."""
        self.check("".join(lines))
