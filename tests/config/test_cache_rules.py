"""What must hold between caches, stores, and who uses them."""

from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.reader import reads
from balancer.config.rules import mistakes, remarks
from balancer.config.schema import Configuration, UpstreamConfig
from balancer.config.vocabulary import Vocabulary
from balancer.core.units import Size
from balancer.errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """A store of one size."""

    __pydantic_config__ = {"extra": "forbid"}

    size: Size = 2**26
    max_object: Size = 2**26


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiered(Memory):
    """A store over another one."""

    __pydantic_config__ = {"extra": "forbid"}

    over: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """A store in a directory."""

    __pydantic_config__ = {"extra": "forbid"}

    path: str
    size: Size = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Strange:
    """A stranger's store, whose keys mean something else."""

    over: int = 0
    path: int = 0
    size: str = "large"


WORDS = Vocabulary(stores={"memory": Memory, "tiered": Tiered, "disk": Disk, "strange": Strange})

WEB = '[upstream.web]\nservers = ["a:1"]\n'
USED = WEB + 'cache = "pages"\n[listener.a]\nlisten = "tcp:1"\nto = "web"\n'
PAGES = USED + "[cache.pages]\n"


class CacheRuleTests(SynchronousTestCase):
    """See the module."""

    def check(self, text: str, *expected: tuple[str, str]) -> None:
        """The key, and a part of what was found, allowed or meant, of every mistake."""
        try:
            reads(text, "b.toml", WORDS)
            problems = []
        except ConfigurationError as error:
            problems = list(error.problems)
        self.assertEqual([problem.key for problem in problems], [key for key, _ in expected])
        for problem, (_, told) in zip(problems, expected, strict=True):
            self.assertIn(told, f"{problem.found} | {problem.allowed} | {problem.hint}")

    def test_fine(self) -> None:
        """One cache for an upstream and a route, two in one store, a tiered one, and a route without any."""
        self.check(
            PAGES + 'store = "both"\nmax_object = "1GiB"\n[cache.files]\nstore = "both"\n[cache.more]\n'
            '[[listener.a.route]]\npath = "/files"\nto = "web"\ncache = "files"\n'
            '[[listener.a.route]]\npath = "/live"\nto = "web"\ncache = ""\n'
            '[store.both]\ntype = "tiered"\nover = "ssd"\n[store.ssd]\ntype = "disk"\npath = "/var/cache/b"\n'
            '[store.other]\ntype = "disk"\npath = "/var/cache/c"\n'
            '[store.s]\ntype = "strange"\n[store.t]\ntype = "strange"\n'
        )

    def test_unknown_caches(self) -> None:
        """A cache that is not there is told wherever it is named, with the nearest."""
        self.check(
            USED.replace('"pages"', '"pagse"')
            + '[[listener.a.route]]\npath = "/"\nto = "web"\ncache = "files"\n[cache.pages]\n',
            ("upstream.web.cache", '"pagse", which is no cache | the name of a cache: pages | "pages"'),
            ("listener.a.route[0].cache", '"files", which is no cache'),
        )
        self.check(USED, ("upstream.web.cache", "none is configured"))

    def test_a_wrong_cache_is_there_all_the_same(self) -> None:
        """Whoever names a cache, or a store, in which there is a mistake, makes none."""
        self.check(PAGES + "max_variants = 0\n", ("cache.pages.max_variants", "0"))
        self.check(PAGES + 'store = "ssd"\n[store.ssd]\ntype = "disk"\n', ("store.ssd.path", "has to be given"))

    def test_unknown_stores(self) -> None:
        """A store that is not there, with the nearest; "memory" always is."""
        self.check(PAGES + 'store = "memory"\n')
        self.check(PAGES + 'store = "memry"\n', ("cache.pages.store", 'a store: memory | "memory"'))

    def test_tiers(self) -> None:
        """What a tiered store is over is there, and is another store."""
        tiered = PAGES + 'store = "both"\n[store.both]\ntype = "tiered"\n'
        self.check(tiered + 'over = "memory"\n')
        self.check(tiered, ("store.both.over", "has to be given"))
        self.check(
            tiered + 'over = "sdd"\n', ("store.both.over", '"sdd", which is no store | the name of a store: memory')
        )
        self.check(tiered + 'over = "both"\n', ("store.both.over", "the store itself"))

    def test_circles(self) -> None:
        """A circle of stores is told once; a store that leads into one is no part of it."""
        self.check(
            PAGES + 'store = "in"\n'
            '[store.in]\ntype = "tiered"\nover = "b"\n[store.b]\ntype = "tiered"\nover = "c"\n'
            '[store.c]\ntype = "tiered"\nover = "b"\n',
            ("store.b.over", 'a circle: "b" over "c" over "b"'),
        )

    def test_a_route_that_sees_no_responses(self) -> None:
        """TLS that passes through has nothing to keep, and nothing to turn off."""
        for said in ("pages", ""):
            self.check(
                PAGES + '[listener.t]\nlisten = "tcp:2"\nmode = "tls-passthrough"\n'
                f'[[listener.t.route]]\nsni = ["x"]\nto = "web"\ncache = "{said}"\n',
                ("listener.t.route[0].cache", 'a cache in mode "tls-passthrough"'),
            )

    def test_an_upstream_that_sees_no_responses(self) -> None:
        """Of the listeners that send to an upstream with a cache, one at least is of mode http."""
        tcp = '[listener.t]\nlisten = "tcp:2"\nmode = "tcp"\nto = "web"\n'
        self.check(PAGES + tcp)
        self.check(
            WEB + 'cache = "pages"\n[cache.pages]\n' + tcp,
            ("upstream.web.cache", 'listener "t" (mode "tcp"); none of mode "http"'),
        )
        self.check(WEB + 'cache = "pages"\n[cache.pages]\n')  # a program may mount it in a site of its own

    def test_one_place_for_two(self) -> None:
        """Two stores in one directory, however it is spelled."""
        self.check(
            PAGES
            + '[store.a]\ntype = "disk"\npath = "/var/cache/b"\n'
            + '[store.b]\ntype = "disk"\npath = "/var//cache/x/../b/"\n',
            ("store.b.path", 'where store "a" is already'),
        )

    def test_objects_larger_than_the_store(self) -> None:
        """What is said to be stored has room in the store, or in the largest tier of it."""
        small = '[store.small]\ntype = "memory"\nsize = "1MiB"\n'
        tiered = small + '[store.t]\ntype = "tiered"\nsize = 1000\nover = "small"\n'
        large = ("cache.pages.max_object", "1048577 bytes, more than store")
        self.check(PAGES + 'store = "small"\nmax_object = 1048577\n' + small, large)
        self.check(PAGES + 'store = "t"\nmax_object = 1048577\n' + tiered, large)
        self.check(PAGES + 'store = "t"\nmax_object = 1048576\n' + tiered)
        self.check(PAGES + 'store = "small"\n' + small)  # the default was not said
        self.check(PAGES + 'max_object = "65MiB"\n', ("cache.pages.max_object", 'more than store "memory" keeps'))
        self.check(
            PAGES + 'store = "small"\nmax_object = 1000\n' + small + "max_object = 999\n",
            ("cache.pages.max_object", "(999 bytes)"),
        )
        self.check(PAGES + 'store = "s"\nmax_object = 1\n[store.s]\ntype = "strange"\n')

    def test_lifetimes(self) -> None:
        """The greatest is at least the least; 0 is no limit."""
        self.check(PAGES + "min_ttl = 10\nmax_ttl = 5\n", ("cache.pages.max_ttl", '5 s, less than "min_ttl" (10 s)'))
        self.check(PAGES + "min_ttl = 10\n")

    def test_values(self) -> None:
        """What a cache's own keys take, at their place; the token is not shown."""
        self.check(
            PAGES + 'tags = ["a b"]\nset_cookie = "strp"\n[cache.pages.key]\ninclude_query = ["*a"]\ncookies = ["a;"]\n'
            '[cache.pages.bypass]\ncookies = ["*a"]\n[cache.pages.purge]\ntoken = "secret"\nsources = ["localhost"]\n',
            ("cache.pages.tags[0]", '"a b"'),
            ("cache.pages.set_cookie", '"strp" | "pass", "strip" or "store" | "strip"'),
            ("cache.pages.key.include_query[0]", '"*a"'),
            ("cache.pages.key.cookies[0]", '"a;"'),
            ("cache.pages.bypass.cookies[0]", "elsewhere than at its end"),
            ("cache.pages.purge.token", "a value that is not shown | at least 16"),
            ("cache.pages.purge.sources[0]", '"localhost"'),
        )
        self.check(PAGES + '[cache.pages.purge]\nsources = ["::1"]\n', ("cache.pages.purge.token", "has to be given"))
        self.check(
            PAGES + '[cache.pages.key]\ninclude_query = ["a"]\nexclude_query = ["b"]\n',
            ("cache.pages.key", 'only one of "include_query" and "exclude_query"'),
        )

    def test_names_of_fields(self) -> None:
        """What is no name is told with what a name is."""
        self.check(
            PAGES + 'targets = ["bad name"]\n[cache.pages.key]\nheaders = ["bad name"]\ncookies = ["a;"]\n'
            'exclude_query = ["a&b"]\n[cache.pages.bypass]\nheaders = { "bad name" = true }\nquery = ["a*b"]\n',
            ("cache.pages.targets[0]", '"bad name" | the name of a field: letters, '),
            ("cache.pages.key.headers[0]", '"bad name" | the name of a field: letters, '),
            ("cache.pages.key.cookies[0]", '"a;" | the whole name of a cookie: letters, '),
            ("cache.pages.key.exclude_query[0]", '"a&b" | the name of an argument, written decoded, '),
            ('cache.pages.bypass.headers."bad name"', 'the name "bad name" | the name of a field: letters, '),
            ("cache.pages.bypass.query[0]", '"a*b" | a name with no "*" elsewhere than at its end'),
        )

    def test_names_that_nothing_may_have(self) -> None:
        """Of the names that are told as allowed none is itself a mistake."""
        self.check(
            USED.replace('"pages"', '"q q"') + '[cache.""]\n[cache.pages]\nstore = "s s"\n[cache."q-q q"]\n'
            '[store.""]\ntype = "memory"\n',
            ("upstream.web.cache", '"q q", which is no cache | the name of a cache: pages | '),
            ('cache.""', "a name of 1 to 64"),
            ("cache.pages.store", '"s s", which is no store | the name of a store: memory | '),
            ('cache."q-q q"', "a name of 1 to 64"),
            ('store.""', "a name of 1 to 64"),
        )

    def test_on_a_listener(self) -> None:
        """A listener has no cache; the message says who has one."""
        self.check(
            WEB + '[listener.a]\nlisten = "tcp:1"\nto = "web"\ncache = "pages"\nservers = ["a:1"]\n',
            ("listener.a.cache", '| "cache" of an upstream or a route'),
            ("listener.a.servers", '| "servers" of an upstream'),
        )

    def test_built_in_python(self) -> None:
        """Rules hold for what Python builds, too, where nobody says which names there are."""
        upstream = UpstreamConfig(servers=(), cache="pages")
        (mistake,) = mistakes(Configuration(upstream={"web": upstream}), ["web"])
        self.assertEqual(mistake.path, ("upstream", "web", "cache"))


class RemarkTests(SynchronousTestCase):
    """What is allowed and may still not be meant."""

    def test_unused(self) -> None:
        """Caches that no upstream and no route names, and stores that no cache and no store does."""
        read = reads(
            PAGES + 'store = "t"\n[cache.files]\n[[listener.a.route]]\npath = "/"\nto = "web"\ncache = "routed"\n'
            '[cache.routed]\n[store.t]\ntype = "tiered"\nover = "m"\n[store.m]\ntype = "memory"\n'
            '[store.d]\ntype = "disk"\npath = "/d"\n',
            "b.toml",
            WORDS,
        )
        self.assertEqual(
            remarks(read),
            ('cache "files" is used by no upstream and no route', 'store "d" is used by no cache'),
        )

    def test_the_store_that_is_not_written(self) -> None:
        """Nothing is said of what was filled in."""
        self.assertEqual(remarks(reads(PAGES, "b.toml", WORDS)), ())
