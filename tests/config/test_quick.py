"""A configuration from a few words of a command line."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.policy import CachePolicy
from balancer.config.quick import CACHE, COMMAND_LINE, UPSTREAM, in_options, quick, split_listen
from balancer.config.rules import remarks
from balancer.config.vocabulary import Vocabulary
from balancer.core.access_log import AccessLogSettings
from balancer.core.health import CheckSettings
from balancer.core.tls import ListenerTls
from balancer.errors import ConfigurationError, Problem
from balancer.health.settings import UdpCheckSettings


def known(text: str) -> None:
    if text != "leastconn":
        raise ValueError("leastconn, and nothing else")


class QuickTests(SynchronousTestCase):
    def problems(self, **options: object) -> tuple[Problem, ...]:
        with self.assertRaises(ConfigurationError) as caught:
            quick(**options)  # type: ignore[arg-type]  # options are each test's
        return caught.exception.problems

    def test_http(self) -> None:
        """Listeners at every form of place send to all the servers."""
        made = quick(http=[8080, "127.0.0.1:8081", "[::1]:8080"], to=["a:1", "b:2"])
        self.assertEqual(
            {name: listener.listen for name, listener in made.listener.items()},
            {
                "http-8080": "tcp:8080",
                "http-8081": "tcp:8081:interface=127.0.0.1",
                "http-8080-2": r"tcp6:8080:interface=\:\:1",
            },
        )
        self.assertEqual({listener.mode for listener in made.listener.values()}, {"http"})
        self.assertEqual([server.address for server in made.upstream[UPSTREAM].servers], ["a:1", "b:2"])
        self.assertEqual({listener.to for listener in made.listener.values()}, {UPSTREAM})
        self.assertIsNone(made.access_log)

    def test_tcp(self) -> None:
        """A TCP listener takes leastconn by default, and what was asked for otherwise."""
        made = quick(tcp=["5432"], to=["db1:5432"])
        self.assertEqual((made.listener["tcp-5432"].mode, made.upstream[UPSTREAM].balance), ("tcp", "leastconn"))
        self.assertEqual(quick(tcp=["1"], to=["a:1"], balance="first").upstream[UPSTREAM].balance, "first")

    def test_udp(self) -> None:
        """A UDP listener sends to servers that a datagram checks; beside a TCP listener the check is by TCP."""
        vocabulary = Vocabulary(checks={"tcp": CheckSettings, "udp": UdpCheckSettings})
        made = quick(udp=["53", "[::1]:53"], to=["dns:53"], vocabulary=vocabulary)
        self.assertEqual(
            {name: (listener.listen, listener.mode) for name, listener in made.listener.items()},
            {"udp-53": ("udp:53", "udp"), "udp-53-2": (r"udp6:53:interface=\:\:1", "udp")},
        )
        self.assertEqual(made.upstream[UPSTREAM].check, UdpCheckSettings())
        both = quick(udp=["53"], tcp=["53"], to=["dns:53"], vocabulary=vocabulary)
        self.assertEqual(both.upstream[UPSTREAM].check, CheckSettings())

    def test_tls(self) -> None:
        """https and tls listeners have the certificate, the plain ones beside them do not."""
        made = quick(http=[80], https=[443], tls=[636], cert="c.pem", key="k.pem", to=["a:1"]).listener
        self.assertEqual(
            {name: (listener.mode, listener.tls) for name, listener in made.items()},
            {
                "http-80": ("http", None),
                "https-443": ("http", ListenerTls(certificate="c.pem", key="k.pem")),
                "tls-636": ("tcp", ListenerTls(certificate="c.pem", key="k.pem")),
            },
        )

    def test_certificates_and_ports_belong_together(self) -> None:
        """No certificate for --https, a certificate or key for nobody, and a port that is taken are told."""
        self.assertEqual(self.problems(https=[443], to=["a:1"])[0].key, "--cert")
        self.assertEqual(self.problems(http=[80], cert="c.pem", to=["a:1"])[0].key, "--cert")
        self.assertEqual(self.problems(http=[80], key="k.pem", to=["a:1"])[0].key, "--key")
        self.assertEqual(self.problems(http=[443], https=[443], cert="c.pem", to=["a:1"])[0].key, "--https")

    def test_free_ports(self) -> None:
        """Port 0 may be given twice: the system chooses."""
        self.assertEqual(list(quick(http=[0], tcp=[0, 0], to=["a:1"]).listener), ["http-0", "tcp-0", "tcp-0-2"])

    def test_access_log(self) -> None:
        """The access log goes where it was told to."""
        self.assertEqual(quick(http=[1], to=["a:1"], access_log="-").access_log, AccessLogSettings(path="-"))

    def test_cache(self) -> None:
        """The servers' answers are kept in a cache with every default; without HTTP there is nothing to keep."""
        made = quick(http=[1], tcp=[2], to=["a:1"], cache=True)
        self.assertEqual((made.cache, made.upstream[UPSTREAM].cache), ({CACHE: CachePolicy()}, CACHE))
        self.assertEqual(remarks(made), ())
        self.assertEqual(quick(http=[1], to=["a:1"]).cache, {})
        (problem,) = self.problems(tcp=[2], tls=[3], udp=[4], cert="c.pem", to=["a:1"], cache=True)
        self.assertEqual((problem.key, problem.allowed), ("--cache", "together with --http or --https"))

    def test_mistakes(self) -> None:
        """Every mistake is told at once, by its option."""
        found = self.problems(
            http=["x", "80"],
            tcp=["80", "65536"],
            to=["a", "b:1", "b:1"],
            balance="first",
            vocabulary=Vocabulary(selectors=known),
        )
        self.assertEqual({problem.file for problem in found}, {COMMAND_LINE})
        self.assertEqual(
            sorted((problem.key, problem.found) for problem in found),
            [
                ("--balance", '"first"'),
                ("--http", '"x"'),
                ("--tcp", '"65536"'),
                ("--tcp", '"80", where http-80 listens already'),
                ("--to", '"a"'),
                ("--to", '"b:1" a second time'),
            ],
        )

    def test_what_is_allowed_comes_first(self) -> None:
        """A bad server is answered with what is allowed, and only then with what is wrong with it."""
        (problem,) = self.problems(http=["80"], to=["http://a"])
        self.assertRegex(problem.allowed, "^HOST:PORT with .*without a scheme")

    def test_nothing(self) -> None:
        """Neither a listener nor a server: both are told, with what to write."""
        found = self.problems()
        self.assertEqual([problem.key for problem in found], ["--http", "--to"])
        self.assertIn("--http 8080", found[0].allowed)

    def test_split_listen(self) -> None:
        """A place is split; a bad one names the option."""
        self.assertEqual(split_listen("127.0.0.1:80", "--http"), ("127.0.0.1", 80))
        with self.assertRaises(ConfigurationError) as caught:
            split_listen("localhost:80", "--http")
        self.assertIn("command line: --http", str(caught.exception))


class WordsTests(SynchronousTestCase):
    """Messages that were made for files."""

    def test_certificates(self) -> None:
        """A certificate and a key are --cert and --key, and are told once for all listeners that show them."""
        one = 'tls.certificate = "/nope.pem" has no "-----BEGIN PRIVATE KEY-----": name its file with "key"'
        said = in_options(f'listener "https-1": {one}\nlistener "tls-2": {one}')
        self.assertEqual(said, '--cert "/nope.pem" has no "-----BEGIN PRIVATE KEY-----": name its file with --key')
        self.assertEqual(in_options('listener "tls-1": tls.key = "k" is bad'), '--key "k" is bad')

    def test_ports(self) -> None:
        """Where to listen is the option that was given."""
        for option in ("http", "https", "tcp", "tls", "udp"):
            for name in (f"{option}-8080", f"{option}-8080-2", option):
                said = in_options(f'in use: listener "{name}"; stop it, or change "listen" of listener.{name}')
                self.assertEqual(said, f'in use: listener "{name}"; stop it, or choose another port with --{option}')
