"""What mode nat may be asked."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.nat_rules import entrance
from balancer.config.reader import reads
from balancer.core.nat import Entrance
from balancer.errors import ConfigurationError, Problem
from balancer.service import vocabulary

UPSTREAM = '[upstream.web]\nservers = ["10.0.0.1:80", "db1:80"]\n'
LISTENER = '[listener.web]\nlisten = "tcp:80"\nmode = "nat"\nto = "web"\n'


def problems(text: str) -> list[Problem]:
    """Every mistake of a text."""
    try:
        reads(text, "b.toml", vocabulary())
    except ConfigurationError as error:
        return list(error.problems)
    return []


class NatRuleTests(SynchronousTestCase):
    """``kernel_forwards``."""

    def only(self, text: str, key: str, found: str, allowed: str) -> None:
        """The one mistake there is."""
        (problem,) = problems(text)
        self.assertEqual(problem.key, key)
        self.assertIn(found, problem.found)
        self.assertIn(allowed, problem.allowed)

    def test_good(self) -> None:
        """What the kernel can do is no mistake."""
        for balance in ("", "roundrobin", "random", "source"):
            self.assertEqual(problems(UPSTREAM + f'balance = "{balance}"\n' + LISTENER), [])
        self.assertEqual(reads(UPSTREAM + LISTENER, "b", vocabulary()).upstream["web"].balance, "roundrobin")
        self.assertEqual(problems(UPSTREAM + LISTENER.replace("tcp:80", "udp:53:interface=192.0.2.1")), [])

    def test_selectors(self) -> None:
        """A selector that needs every connection here is refused with those that do not; a default is one of these."""
        for balance in ("leastconn", "random(2)", "source or random"):
            text = UPSTREAM + f'balance = "{balance}"\n' + LISTENER
            self.only(text, "upstream.web.balance", balance, "one of roundrobin, random, source")
        shared = UPSTREAM + LISTENER + '[listener.b]\nlisten = "tcp:81"\nto = "web"\n'
        self.assertEqual(problems(shared), [])

    def test_places(self) -> None:
        """No rule can name a port of the system's choice, a path, or a TLS endpoint."""
        for listen in ("tcp:0", "unix:/run/x", "ssl:443", "tcp:80:interface=\\\\:\\\\:", "tcp:80:interface=eth0",
                       "tcp6:80:interface=fe80\\\\:\\\\:1%eth0"):  # fmt: skip
            (problem,) = problems(UPSTREAM + LISTENER.replace("tcp:80", listen))
            self.assertEqual((problem.key, "tcp6:80" in problem.allowed), ("listener.web.listen", True))
        self.assertEqual(entrance("a", "udp6:53"), Entrance("a", "udp", 6, "", 53))
        self.assertEqual(entrance("a", "tcp:80:interface=\\:\\:1"), Entrance("a", "tcp", 6, "::1", 80))

    def test_families(self) -> None:
        """An address of the other family can never be a server; a source of it never be a source."""
        six = LISTENER.replace("tcp:80", "tcp6:80")
        self.only(UPSTREAM + six, "upstream.web.servers[0]", "10.0.0.1:80", "IPv6")
        text = UPSTREAM + LISTENER + 'nat = { source = "fd00::1" }\n'
        self.only(text, "listener.web.nat.source", "fd00::1", "IPv4")

    def test_bytes(self) -> None:
        """Nothing can be asked that needs the bytes or the connections here."""
        self.only(UPSTREAM + LISTENER + 'tls = { certificate = "c" }\n', "listener.web.tls", "TLS", 'mode = "tcp"')
        self.only(UPSTREAM + "tls = {}\n" + LISTENER, "upstream.web.tls", "plain bytes", "an upstream of its own")
        self.only(UPSTREAM + "hash_balance_factor = 150\n" + LISTENER, "upstream.web.hash_balance_factor", "bound", "")
        limited = '[upstream.web]\nservers = [{ address = "10.0.0.1:80", max_connections = 5 }]\n'
        self.only(limited + LISTENER, "upstream.web.servers[0].max_connections", "limit", "")
        self.only(UPSTREAM + LISTENER + "route = []\nlimits = { fields = 5 }\n", "listener.web.limits", '"nat"', "")

    def test_keys_of_the_process(self) -> None:
        """Keys for who carries the bytes are mistakes, unless this process may have to."""
        for key, written in (("max_connections", "5"), ("buffer", "4096"), ("splice", "0"),
                             ("timeouts", '{ tunnel = "5s" }')):  # fmt: skip
            text = UPSTREAM + LISTENER + f"{key} = {written}\n"
            self.only(text, f"listener.web.{key}", "never reads", 'nat.fallback = "tcp"')
            self.assertEqual(problems(text + 'nat = { fallback = "tcp" }\n'), [])

    def test_datagrams(self) -> None:
        """UDP is forwarded by the kernel alone; a fallback to TCP would be another protocol."""
        udp = LISTENER.replace("tcp:80", "udp:80")
        self.only(UPSTREAM + udp + 'nat = { fallback = "tcp" }\n', "listener.web.nat.fallback", "UDP", "none")
        self.only(UPSTREAM + udp.replace('"nat"', '"tcp"'), "listener.web.listen", 'mode "tcp"', "streams")

    def test_elsewhere(self) -> None:
        """The table means nothing in another mode."""
        text = UPSTREAM + LISTENER.replace('"nat"', '"tcp"') + "nat = { local = false }\n"
        self.only(text, "listener.web.nat", 'mode "tcp"', 'mode = "nat"')

    def test_ports(self) -> None:
        """TCP and UDP of one number are two ports; each is taken once."""
        both = UPSTREAM + LISTENER + LISTENER.replace("tcp:80", "udp:80").replace(".web]", ".b]")
        self.assertEqual(problems(both), [])
        twice = UPSTREAM + LISTENER.replace("tcp:80", "udp:80:interface=192.0.2.1")
        twice += LISTENER.replace("tcp:80", "udp:80").replace(".web]", ".b]")
        self.only(twice, "listener.b.listen", "listens already", "once")

    def test_settings(self) -> None:
        """Texts of other forms are told with what is allowed."""
        self.only(UPSTREAM + LISTENER + 'nat = { source = "eth0" }\n', "listener.web.nat.source", "eth0", "masquerade")
        self.only('[nat]\ntable = "a b"\n' + UPSTREAM + LISTENER, "nat.table", "a b", "letters")
