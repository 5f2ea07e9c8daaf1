"""The system's resolver, with files of the test's and name servers in memory."""

import os
import tempfile
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.names import dns
from twisted.names.error import DNSNameError
from twisted.trial.unittest import SynchronousTestCase

from balancer.discovery.answers import answer
from balancer.discovery.resolver import ResolvConf, SystemResolver, make_resolver
from balancer.testing.resolver import ScriptedResolver


class ResolvConfTests(SynchronousTestCase):
    def test_servers_search_and_ndots_are_read(self) -> None:
        """What resolv.conf(5) says, comments and unknown lines skipped, at most three servers."""
        text = "; c\n# c\nnameserver 10.0.0.1\nnameserver fd00::1\nnameserver nonsense\nnameserver 10.0.0.3\n"
        text += "nameserver 10.0.0.4\nsearch a.example. b.example\noptions edns0 ndots:2 timeout:1\nsortlist x\n"
        self.assertEqual(
            ResolvConf.parse(text), ResolvConf(("10.0.0.1", "fd00::1", "10.0.0.3"), ("a.example", "b.example"), 2)
        )

    def test_an_empty_file_means_the_machine_itself(self) -> None:
        """Without a name server the one on the loopback is asked."""
        self.assertEqual(ResolvConf.parse("nameserver\nsearch\noptions ndots:x\n"), ResolvConf(("127.0.0.1",), (), 1))

    def test_short_names_are_completed_first_long_ones_last(self) -> None:
        """By the number of dots, as the C library does; a name that ends in a dot is asked for as it is."""
        conf = ResolvConf(search=("a.example", "b.example"), ndots=2)
        self.assertEqual(conf.candidates("db.x"), ("db.x.a.example", "db.x.b.example", "db.x"))
        self.assertEqual(conf.candidates("db.x.y"), ("db.x.y", "db.x.y.a.example", "db.x.y.b.example"))
        self.assertEqual(conf.candidates("db."), ("db",))


class SystemResolverTests(SynchronousTestCase):
    def setUp(self) -> None:
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.hosts = Path(directory.name, "hosts")
        self.conf = Path(directory.name, "resolv.conf")
        self.reactor = MemoryReactorClock()
        self.resolver = make_resolver(self.reactor, str(self.conf), str(self.hosts))
        self.servers = ScriptedResolver()

    def ask(self, name: str, kind: int = dns.A) -> tuple[str, ...]:
        lookup = self.resolver.lookupAddress if kind == dns.A else self.resolver.lookupIPV6Address
        return answer(self.successResultOf(lookup(name)), kind).addresses

    def with_servers(self) -> None:
        """Let the name servers be the scripted ones from here on."""
        self.resolver._current()
        self.patch(self.resolver, "_current", lambda: self.servers)

    def test_localhost_needs_no_file_at_all(self) -> None:
        """RFC 6761: localhost is the loopback, whoever asks."""
        self.assertEqual(self.ask("localhost"), ("127.0.0.1",))
        self.assertEqual(self.ask("LOCALHOST."), ("127.0.0.1",))
        self.assertEqual(self.ask("x.localhost", dns.AAAA), ())

    def test_the_hosts_file_answers_for_both_families(self) -> None:
        """A name that the file has with IPv4 alone has no IPv6, and no name server is asked for it."""
        self.with_servers()
        self.hosts.write_text("10.0.0.1 db db.example # main\n10.0.0.2 db\nfd00::1 six\n")
        self.assertEqual(self.ask("DB"), ("10.0.0.1", "10.0.0.2"))
        self.assertEqual(self.ask("db", dns.AAAA), ())
        self.assertEqual(self.ask("six", dns.AAAA), ("fd00::1",))
        self.assertEqual(self.ask("six"), ())
        self.assertEqual(self.servers.asked, [])

    def test_the_hosts_file_is_read_again(self) -> None:
        """What changes in the file counts with the next question."""
        self.hosts.write_text("10.0.0.1 db\n")
        self.ask("db")
        self.hosts.write_text("10.0.0.2 db\n")
        self.assertEqual(self.ask("db"), ("10.0.0.2",))

    def test_the_search_list_is_gone_through(self) -> None:
        """A candidate that does not exist, or has nothing of the kind, leads on to the next."""
        self.conf.write_text("search a.example b.example c.example\n")
        self.with_servers()
        self.servers.fail("db.a.example", DNSNameError())
        self.servers.give("db.b.example")
        self.servers.give("db.c.example", "10.0.0.3")
        self.assertEqual(self.ask("db"), ("10.0.0.3",))
        self.servers.give("db.c.example")
        self.servers.fail("db", DNSNameError())
        self.assertEqual(self.ask("db"), (), "a name that exists somewhere without an address exists")

    def test_both_families_are_of_one_host(self) -> None:
        """A candidate with IPv4 alone is the one meant: IPv6 of a namesake further down the list is not its own."""
        self.conf.write_text("search a.example b.example\n")
        self.with_servers()
        self.servers.give("db.a.example", "10.0.0.1")
        self.servers.give("db.b.example", "fd00::bad")
        self.assertEqual(self.ask("db"), ("10.0.0.1",))
        self.assertEqual(self.ask("db", dns.AAAA), ())

    def test_a_name_that_is_nowhere_does_not_exist(self) -> None:
        """NXDOMAIN of every candidate is NXDOMAIN."""
        self.conf.write_text("search a.example\n")
        self.with_servers()
        self.servers.fail("db.a.example", DNSNameError())
        self.servers.fail("db", DNSNameError())
        self.failureResultOf(self.resolver.lookupAddress("db"), DNSNameError)

    def test_a_name_server_that_fails_ends_the_search(self) -> None:
        """No answer is not the answer that there is no such name: a shorter name might be another's."""
        self.conf.write_text("search a.example\n")
        self.with_servers()
        self.servers.fail("db.a.example", OSError("unreachable"))
        self.servers.give("db", "10.0.0.66")
        self.failureResultOf(self.resolver.lookupAddress("db"), OSError)

    def test_name_servers_follow_the_file(self) -> None:
        """A changed resolv.conf counts with the next question, a missing one means the loopback."""

        def current() -> list[Any]:
            return list(self.resolver._current().servers)

        self.assertEqual(current(), [("127.0.0.1", 53)])
        self.conf.write_text("nameserver 10.0.0.53\n")
        self.assertEqual(current(), [("10.0.0.53", 53)])
        kept = self.resolver._current()
        self.assertIs(self.resolver._current(), kept)
        self.conf.write_text("nameserver 10.0.0.54\n")
        os.utime(self.conf, (1, 1))
        self.assertEqual(current(), [("10.0.0.54", 53)])

    def test_it_leaves_nothing_in_the_reactor(self) -> None:
        """Made, asked of files and stopped, it has no timer."""
        clock = Clock()
        resolver = SystemResolver(clock, str(self.conf), str(self.hosts))
        self.successResultOf(resolver.lookupAddress("localhost"))
        resolver._current()
        resolver.stop()
        self.assertEqual(clock.getDelayedCalls(), [])
