"""A resolver that answers as the test says, when the test says. It never asks anyone."""

from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.names import dns
from twisted.names.common import ResolverBase
from twisted.python.failure import Failure


class ScriptedResolver(ResolverBase):
    """Answers from :attr:`script`, or keeps the question in :attr:`waiting` where that has nothing to say.

    :ivar script: by name and family (``dns.A``, ``dns.AAAA``): a list of records, or an exception to fail with.
    :ivar asked: the questions so far.
    :ivar waiting: the questions that are not answered yet.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # twisted.names has no annotations here
        self.script: dict[tuple[str, int], Sequence[dns.RRHeader] | Exception] = {}
        self.asked: list[tuple[str, int]] = []
        self.waiting: dict[tuple[str, int], Deferred[Any]] = {}

    def give(self, name: str, *addresses: str, ttl: int = 60) -> None:
        """From now on the name has these addresses, and no others; who waits for it is answered."""
        found: dict[int, list[dns.RRHeader]] = {dns.A: [], dns.AAAA: []}
        for address in addresses:
            kind = dns.AAAA if ":" in address else dns.A
            record = dns.Record_AAAA(address, ttl) if kind == dns.AAAA else dns.Record_A(address, ttl)
            found[kind].append(dns.RRHeader(name, kind, dns.IN, ttl, record))
        for kind, records in found.items():
            self._set(name, kind, records)

    def fail(self, name: str, error: Exception, *kinds: int) -> None:
        """From now on questions after the name fail, of these families or of both; who waits for it is told."""
        for kind in kinds or (dns.A, dns.AAAA):
            self._set(name, kind, error)

    def silence(self, name: str) -> None:
        """From now on questions after the name are not answered."""
        for kind in (dns.A, dns.AAAA):
            self.script.pop((name, kind), None)

    def _set(self, name: str, kind: int, reply: Sequence[dns.RRHeader] | Exception) -> None:
        self.script[name, kind] = reply
        waiting = self.waiting.pop((name, kind), None)
        if waiting is not None and not waiting.called:
            waiting.callback(None)

    def _lookup(self, name: bytes, cls: int, type: int, timeout: object) -> "Deferred[Any]":
        key = (name.decode("ascii"), type)
        self.asked.append(key)
        if key in self.script:
            return succeed(None).addCallback(self._reply, key)
        waiting: Deferred[Any] = Deferred()
        self.waiting[key] = waiting
        return waiting.addCallback(self._reply, key)

    def _reply(self, _: None, key: tuple[str, int]) -> Any:
        reply = self.script[key]
        return Failure(reply) if isinstance(reply, Exception) else (list(reply), [], [])
