"""What must hold between keys."""

from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.reader import reads
from balancer.config.rules import mistakes, remarks
from balancer.config.schema import Configuration, ListenerConfig, ServerConfig, UpstreamConfig
from balancer.config.vocabulary import Vocabulary
from balancer.core.tls import BackendTls
from balancer.errors import ConfigurationError

WEB = '[upstream.web]\nservers = ["a:1"]\n'


class RuleTests(SynchronousTestCase):
    def check(self, text: str, *expected: tuple[str, str]) -> None:
        """The key, and a part of what was found, of every mistake."""
        try:
            reads(dedent(text), "b.toml", Vocabulary())
            problems = []
        except ConfigurationError as error:
            problems = list(error.problems)
        self.assertEqual([problem.key for problem in problems], [key for key, _ in expected])
        for problem, (_, found) in zip(problems, expected, strict=True):
            self.assertIn(found, problem.found)

    def test_unknown_upstreams(self) -> None:
        """Upstreams that are not there are told wherever they are named: to, a route's to, a split."""
        self.check(
            WEB
            + dedent("""\
            [listener.a]
            listen = "tcp:1"
            to = "weg"
            [[listener.a.route]]
            path = "/1"
            to = "zzz"
            [[listener.a.route]]
            path = "/2"
            split = { web = 1, api = 0 }
            """),
            ("listener.a.to", '"weg", which is no upstream'),
            ("listener.a.route[0].to", '"zzz"'),
            ("listener.a.route[1].split.api", '"api"'),
        )

    def test_no_upstreams(self) -> None:
        """Without any upstream the message says so."""
        with self.assertRaises(ConfigurationError) as caught:
            reads('[listener.a]\nlisten = "tcp:1"\nto = "web"\n', "b", Vocabulary())
        self.assertIn("none is configured", caught.exception.problems[0].allowed)

    def test_tls_is_ended_once(self) -> None:
        """A tls table does not go with an endpoint that brings TLS, nor alpn with mode http."""
        self.check(
            WEB
            + '[listener.a]\nlisten = "ssl:1"\nto = "web"\ntls = { certificate = "c" }\n'
            + '[listener.b]\nlisten = "tcp:2"\nto = "web"\ntls = { certificate = "c", alpn = ["x"] }\n'
            + '[listener.c]\nlisten = "tcp:3"\nto = "web"\nmode = "tcp"\ntls = { certificate = "c", alpn = ["x"] }\n',
            ("listener.a.tls", "TLS of its own"),
            ("listener.b.tls.alpn", 'in mode "http"'),
        )

    def test_tls_needs_a_certificate(self) -> None:
        """A tls table says where the certificate is; versions and names of protocols are checked."""
        self.check(
            WEB
            + '[listener.a]\nlisten = "tcp:1"\nto = "web"\n[listener.a.tls]\nmin_version = "1.1"\n'
            + '[listener.b]\nlisten = "tcp:2"\nto = "web"\nmode = "tcp"\n'
            + '[listener.b.tls]\ncertificate = ""\nalpn = [""]\n',
            ("listener.a.tls.certificate", "has to be given"),
            ("listener.a.tls.min_version", '"1.1"'),
            ("listener.b.tls.certificate", '""'),
            ("listener.b.tls.alpn[0]", '""'),
        )

    def test_datagrams(self) -> None:
        """Mode udp listens for datagrams and other modes do not; what is of streams or of HTTP is not said of
        datagrams, nor the other way round; and nobody speaks TLS to servers of datagrams."""
        self.check(
            WEB
            + '[upstream.secure]\nservers = ["b:1"]\ntls = {}\n'
            + '[listener.a]\nlisten = "tcp:1"\nmode = "udp"\nto = "web"\n'
            + '[listener.b]\nlisten = "udp:2"\nto = "web"\n'
            + '[listener.c]\nlisten = "udp:3"\nmode = "udp"\nto = "web"\nbuffer = 1\ntls = { certificate = "c" }\n'
            + "timeouts = { tunnel = 1 }\nudp = { idle = 1 }\n"
            + '[listener.d]\nlisten = "tcp:4"\nmode = "tcp"\nto = "web"\nudp = { idle = 1 }\n'
            + '[listener.e]\nlisten = "udp:5"\nmode = "udp"\nto = "secure"\n'
            + '[listener.f]\nlisten = "udp:6"\nmode = "udp"\nto = "web"\nlimits = { fields = 1 }\n'
            + '[listener.g]\nlisten = "udp:7"\nmode = "udp"\n'
            + '[listener.h]\nlisten = "udp:8"\nmode = "udp"\nto = "web"\nudp = { one_way = true, responses = 1 }\n',
            ("upstream.secure.tls", 'listener "e"'),
            ("listener.a.listen", '"tcp:1" in mode "udp"'),
            ("listener.b.listen", '"udp:2" in mode "http"'),
            ("listener.c.buffer", 'mode "udp" never reads'),
            ("listener.c.tls", 'mode "udp" never reads'),
            ("listener.c.timeouts", 'mode "udp" never reads'),
            ("listener.d.udp", 'mode "tcp" never reads'),
            ("listener.f.limits", 'a table that mode "udp"'),
            ("listener.g", "sends nowhere"),
            ("listener.h.udp.responses", 'beside "one_way"'),
        )

    def test_no_target(self) -> None:
        """A listener sends somewhere: by "to", or in mode http by a route."""
        self.check(
            WEB
            + '[listener.a]\nlisten = "tcp:1"\n[listener.b]\nlisten = "tcp:2"\nmode = "tcp"\n'
            + '[listener.c]\nlisten = "tcp:3"\n[[listener.c.route]]\nto = "web"\n',
            ("listener.a", "sends nowhere"),
            ("listener.b", "sends nowhere"),
        )

    def test_tcp_routes(self) -> None:
        """Routes in mode tcp would do nothing, so they are a mistake."""
        self.check(
            WEB + '[listener.a]\nlisten = "tcp:1"\nmode = "tcp"\nto = "web"\n[[listener.a.route]]\nto = "web"\n',
            ("listener.a.route", 'routes in mode "tcp"'),
        )

    def test_tables_that_mode_tcp_never_reads(self) -> None:
        """A key that would do nothing is a mistake, not a silence."""
        tcp = WEB + '[listener.a]\nlisten = "tcp:1"\nmode = "tcp"\nto = "web"\n'
        self.check(tcp + "limits = { fields = 7 }\n", ("listener.a.limits", "never reads"))
        self.check(tcp + "forwarded = { forwarded = true }\n", ("listener.a.forwarded", "never reads"))

    def test_passthrough(self) -> None:
        """Mode tls-passthrough ends no TLS, reads no requests, and sends somewhere; routes are by name and protocol."""
        passing = WEB + '[listener.a]\nmode = "tls-passthrough"\nlisten = "{}"\n'
        good = passing.format("tcp:1") + 'max_client_hello = "8KiB"\ntimeouts = { client_hello = "2s" }\n'
        route = "[[listener.a.route]]\n{}\nto = 'web'\n"
        self.check(good + 'to = "web"\n' + route.format("sni = ['*.a.example', '']\nalpn = ['h2']"))
        self.check(good, ("listener.a", "sends nowhere"))
        more = passing.format("tcp:1") + 'to = "web"\n'
        self.check(more + 'tls = { certificate = "c" }\n', ("listener.a.tls", 'in mode "tls-passthrough"'))
        self.check(more + "limits = { fields = 7 }\n", ("listener.a.limits", 'mode "tls-passthrough"'))
        self.check(passing.format("ssl:1") + 'to = "web"\n', ("listener.a.listen", "which ends TLS"))
        self.check(more + route.format('host = "a"'), ("listener.a.route[0].host", 'in mode "tls-passthrough"'))
        self.check(more + route.format('sni = ["a:1"]'), ("listener.a.route[0].sni[0]", '"a:1"'))
        twice = route.format('sni = ["a.b", "c"]') + route.format('sni = ["d", "C."]')
        self.check(more + twice, ("listener.a.route[1]", "an earlier one takes already (d,c)"))

    def test_what_is_about_hellos_elsewhere(self) -> None:
        """Keys about ClientHellos mean nothing in the other modes."""
        for mode in ("tcp", "http"):
            start = WEB + f'[listener.a]\nlisten = "tcp:1"\nto = "web"\nmode = "{mode}"\n'
            found = f'in mode "{mode}"'
            self.check(start + "max_client_hello = 99\n", ("listener.a.max_client_hello", found))
            self.check(start + "timeouts = { client_hello = 9 }\n", ("listener.a.timeouts.client_hello", found))
        route = '[[listener.a.route]]\nto = "web"\nsni = ["a"]\nalpn = ["b"]\n'
        self.check(start + route, ("listener.a.route[0].sni", found), ("listener.a.route[0].alpn", found))

    def test_a_key_needs_a_certificate(self) -> None:
        """A key for servers without a certificate would do nothing, in traffic and in checks."""
        tls = 'tls = { key = "k" }\n'
        self.check(WEB + tls, ("upstream.web.tls.key", 'without "certificate"'))
        self.check(WEB + 'tls = { certificate = "c", key = "k" }\n')

    def test_ports(self) -> None:
        """Two listeners at one place are told at the second, by the name of the first."""
        self.check(
            WEB
            + '[listener.a]\nlisten = "tcp:80"\nto = "web"\n'
            + '[listener.b]\nlisten = "tcp:80:interface=127.0.0.1"\nto = "web"\n'
            + '[listener.c]\nlisten = "unix:/x"\nto = "web"\n[listener.d]\nlisten = "unix:/x"\nto = "web"\n'
            + '[listener.e]\nlisten = "tcp:81"\nto = "web"\n',
            ("listener.b.listen", 'listener "a" listens already'),
            ("listener.d.listen", 'listener "c" listens already'),
        )

    def test_servers(self) -> None:
        """A server twice in one upstream is told, however it is spelled; in two upstreams it is fine."""
        self.check(
            '[upstream.a]\nservers = ["DB.example:1", { address = "db.example.:1" }]\n'
            '[upstream.b]\nservers = ["db.example:1", "db.example:2"]\n',
            ("upstream.a.servers[1]", "in the list already"),
        )

    def test_probed_address(self) -> None:
        """A check's address is an IP address."""
        self.check(WEB + 'check = { address = "db.example" }\n', ("upstream.web.check.address", '"db.example"'))
        self.check(WEB + 'check = { address = "::1", port = 9 }\n')

    def test_shadowed_route(self) -> None:
        """A route that never gets a request is told, with what it matches."""
        route = '[[listener.a.route]]\nhost = "x.example"\npath_prefix = "/a{}"\nto = "web"\n'
        self.check(
            WEB + '[listener.a]\nlisten = "tcp:1"\n' + route.format("") + route.format("/"),
            ("listener.a.route[1]", "x.example /a/*"),
        )

    def test_order(self) -> None:
        """A greatest value below the least is told."""
        self.check(
            "[resolve]\nmin_ttl = 10\nmax_ttl = 5\nmax_retry = 0.5\n" + WEB + 'outlier = { base_time = "10m" }\n',
            ("resolve.max_ttl", '5 s, less than "min_ttl" (10 s)'),
            ("resolve.max_retry", "0.5 s"),
            ("upstream.web.outlier.max_time", '300 s, less than "base_time" (600 s)'),
        )

    def test_python(self) -> None:
        """The rules hold for configurations built in Python, too."""
        listener = ListenerConfig(listen="tcp:1", to="web")
        found = list(mistakes(Configuration(listener={"a": listener}), ()))
        self.assertEqual([mistake.path for mistake in found], [("listener", "a", "to")])


class RemarkTests(SynchronousTestCase):
    def test_unused(self) -> None:
        """An unused upstream, and TLS that is not verified, are worth a word and no mistake."""
        servers = (ServerConfig(address="a:1"),)
        used = UpstreamConfig(servers=servers, tls=BackendTls())
        unused = UpstreamConfig(servers=servers, tls=BackendTls(verify=False))
        listener = ListenerConfig(listen="tcp:1", to="used")
        told = remarks(Configuration(upstream={"used": used, "spare": unused}, listener={"a": listener}))
        self.assertEqual(len(told), 2)
        self.assertIn('upstream "spare" is used by no listener', told[0])
        self.assertIn('upstream "spare" does not verify', told[1])
