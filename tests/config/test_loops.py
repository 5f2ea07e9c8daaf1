"""Listeners that send to themselves are refused."""

from ipaddress import ip_address

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.loops import reaches
from balancer.config.quick import quick
from balancer.config.reader import reads
from balancer.config.vocabulary import Vocabulary
from balancer.errors import ConfigurationError, Problem

FILE = """
[upstream.web]
servers = ["10.0.0.1:80", "{server}"]
[listener.front]
listen = "{listen}"
mode = "{mode}"
to = "web"
[listener.other]
listen = "tcp:1"
to = "web"
"""


class FileTests(SynchronousTestCase):
    """In a file."""

    def problems(self, listen: str, server: str, mode: str = "http") -> tuple[Problem, ...]:
        """What is wrong with it."""
        try:
            reads(FILE.format(listen=listen, server=server, mode=mode), "b.toml", Vocabulary())
        except ConfigurationError as error:
            return error.problems
        return ()

    def test_itself(self) -> None:
        """A server at the address of a listener that uses it is told with key and listener, in every mode."""
        for listen, mode in (("tcp:8080:interface=127.0.0.1", "http"), ("udp:8080", "udp")):
            (problem,) = self.problems(listen, "127.0.0.1:8080", mode)
            self.assertEqual((problem.key, problem.line), ("upstream.web.servers[1]", 3))
            self.assertIn('"127.0.0.1:8080", where listener "front"', problem.found)

    def test_every_interface(self) -> None:
        """A listener at every interface is at the loopback addresses too."""
        for listen, server in (
            ("tcp:8080", "127.0.0.1:8080"),
            ("tcp:8080:interface=0.0.0.0", "127.0.0.2:8080"),
            (r"tcp6:8080", "[::1]:8080"),
            (r"tcp:8080:interface=\\:\\:", "127.0.0.1:8080"),
        ):
            self.assertEqual(len(self.problems(listen, server)), 1, listen)

    def test_others(self) -> None:
        """Another port, another address, a name and a port of the system's choice are no loop."""
        for listen, server in (
            ("tcp:8080", "127.0.0.1:8081"),
            ("tcp:8080", "[::1]:8080"),
            ("tcp:8080:interface=127.0.0.1", "127.0.0.2:8080"),
            ("tcp:8080", "10.0.0.2:8080"),
            ("tcp:8080", "localhost:8080"),
            ("tcp:0", "127.0.0.1:80"),
            ("unix:/run/x", "127.0.0.1:80"),
        ):
            self.assertEqual(self.problems(listen, server), (), listen)


class WordsTests(SynchronousTestCase):
    """Elsewhere."""

    def test_command_line(self) -> None:
        """On the command line it is --to that is wrong."""
        with self.assertRaises(ConfigurationError) as caught:
            quick(http=["127.0.0.1:8080"], to=["127.0.0.1:8080"])
        (problem,) = caught.exception.problems
        self.assertEqual(problem.key, "--to")
        self.assertIn('listener "http-8080"', problem.found)

    def test_unspecified(self) -> None:
        """Who connects to the unspecified address arrives at this machine's loopback."""
        self.assertTrue(reaches(ip_address("0.0.0.0"), ip_address("127.0.0.1")))
        self.assertFalse(reaches(ip_address("0.0.0.0"), ip_address("10.0.0.1")))
        self.assertFalse(reaches(None, ip_address("127.0.0.1")))
