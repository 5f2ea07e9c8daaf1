"""What resolvers say."""

from twisted.internet.defer import TimeoutError
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSQueryRefusedError, DNSQueryTimeoutError, DNSServerError
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.resolving import Answer
from balancer.discovery.answers import answer, words


def header(record: object, kind: int, ttl: int) -> dns.RRHeader:
    return dns.RRHeader(b"db.example", kind, dns.IN, ttl, record)


class Answers(SynchronousTestCase):
    def test_addresses_of_the_kind_are_taken_and_the_least_ttl(self) -> None:
        """An alias counts for the TTL and brings no address."""
        records = [
            header(dns.Record_CNAME(b"x.example"), dns.CNAME, 20),
            header(dns.Record_A("10.0.0.1"), dns.A, 60),
            header(dns.Record_AAAA("fd00::1"), dns.AAAA, 60),
        ]
        self.assertEqual(answer((records, [], []), dns.A), Answer(("10.0.0.1",), 20))
        self.assertEqual(answer((records, [], []), dns.AAAA), Answer(("fd00::1",), 20))

    def test_no_record_is_an_empty_answer(self) -> None:
        """A name that exists without an address is told from a name that does not exist."""
        self.assertEqual(answer(([], [], []), dns.A), Answer((), 0))

    def test_failures_are_told_apart(self) -> None:
        """No such name, no answer in time, a server that failed and one that refused have words of their own."""
        errors = [DNSNameError(), TimeoutError(), DNSServerError(), DNSQueryRefusedError(), OSError("odd")]
        self.assertEqual(
            [words(Failure(error)) for error in errors],
            [
                "there is no such name (NXDOMAIN)",
                "no name server answered in time",
                "the name server failed (SERVFAIL)",
                "the name server refused the question",
                "the question failed: OSError: odd",
            ],
        )
        self.assertEqual(words(Failure(DNSQueryTimeoutError(1))), "no name server answered in time")
