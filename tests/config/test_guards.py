"""What must hold between the keys of a guard."""

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.reader import reads
from balancer.config.vocabulary import Vocabulary
from balancer.errors import ConfigurationError

BEFORE = '[upstream.web]\nservers = ["a:1"]\n[listener.a]\nlisten = "{listen}"\nto = "web"\n[listener.a.guard]\n'


class GuardRuleTests(SynchronousTestCase):
    """See the module."""

    def check(self, guard: str, *expected: tuple[str, str], listen: str = "tcp:1") -> None:
        """The key and a part of what was found, of every mistake."""
        try:
            reads(BEFORE.format(listen=listen) + guard, "b.toml", Vocabulary())
            problems = []
        except ConfigurationError as error:
            problems = list(error.problems)
        self.assertEqual([problem.key for problem in problems], [key for key, _ in expected])
        for problem, (_, found) in zip(problems, expected, strict=True):
            self.assertIn(found, problem.found)

    def test_a_guard_that_guards(self) -> None:
        """Every key together is fine."""
        self.check(
            'allow = ["10.0.0.0/8"]\ndeny = ["10.1.0.0/16"]\nconnections = 9\nrate = 2.5\nburst = 4\n'
            'max_lifetime = "1h"\nipv6_prefix = 56\nmax_sources = 1000\n'
        )

    def test_a_guard_that_does_nothing(self) -> None:
        """A guard without a limit, and keys that do nothing without another, are mistakes."""
        self.check("", ("listener.a.guard", "limits nothing"))
        self.check("burst = 4\nconnections = 1\n", ("listener.a.guard.burst", "without"))
        self.check("max_sources = 4\nconnections = 1\n", ("listener.a.guard.max_sources", "without"))
        self.check('ipv6_prefix = 48\ndeny = ["::1"]\n', ("listener.a.guard.ipv6_prefix", "none is counted"))

    def test_a_network_in_both_lists(self) -> None:
        """It cannot be both."""
        self.check('allow = ["10.0.0.0/8"]\ndeny = ["10.0.0.0/8"]\n', ("listener.a.guard.deny", "10.0.0.0/8"))

    def test_no_addresses(self) -> None:
        """Clients of a UNIX socket have none; how long they may stay can be limited."""
        self.check("connections = 1\n", ("listener.a.guard.connections", "UNIX"), listen="unix:/run/web.sock")
        self.check('max_lifetime = "1m"\n', listen="unix:/run/web.sock")
