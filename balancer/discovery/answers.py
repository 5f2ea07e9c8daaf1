"""What a resolver's results and failures mean, as values and words. It never asks and never logs."""

from collections.abc import Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from twisted.internet.defer import CancelledError, TimeoutError
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSQueryRefusedError, DNSServerError
from twisted.python.failure import Failure

from balancer.core.resolving import Answer

Records = tuple[Sequence[Any], Sequence[Any], Sequence[Any]]
"""What :class:`twisted.internet.interfaces.IResolver` answers: answers, authorities, additional records."""

WORDS: tuple[tuple[type[BaseException], str], ...] = (
    (DNSNameError, "there is no such name (NXDOMAIN)"),
    (TimeoutError, "no name server answered in time"),
    (DNSServerError, "the name server failed (SERVFAIL)"),
    (DNSQueryRefusedError, "the name server refused the question"),
    (CancelledError, "the question was taken back"),
)
"""Failures that are told apart; the first that fits."""


def answer(records: Records, kind: int) -> Answer:
    """The addresses among the answers. A name that is an alias brings its CNAME records along: they count for the
    TTL, for when the first of them ends the chain may lead elsewhere.

    :param kind: ``dns.A`` or ``dns.AAAA``.
    """
    shape = IPv4Address if kind == dns.A else IPv6Address
    found = [header for header in records[0] if header.type == kind and header.payload is not None]
    addresses = tuple(str(shape(header.payload.address)) for header in found)
    return Answer(addresses, float(min((header.ttl for header in records[0]), default=0)))


def words(failure: Failure) -> str:
    """Why there is no answer."""
    for kind, text in WORDS:
        if failure.check(kind):
            return text
    detail = failure.getErrorMessage()
    return f"the question failed: {failure.type.__name__ if failure.type else 'error'}{': ' if detail else ''}{detail}"
