"""How a request is answered with what a cache has for it: head, body, record, end.

What it is answered with is decided by the :class:`~balancer.http.cached.CachedExchange`, which is one. It never looks
into a store and never asks an origin.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from balancer.cache.answers import answer
from balancer.cache.asked import Asked
from balancer.cache.reuse import Decision, current_age
from balancer.cache.stored import UNSIZED, Stored, parsed_lines
from balancer.core.record import ExchangeRecord
from balancer.core.termination import Termination
from balancer.errors import StoreError
from balancer.http.arriving import Arriving
from balancer.http.delivery import TO_THE_END, BodySource, Delivery
from balancer.http.front import Front
from balancer.http.gathering import Gathering
from balancer.http.settings import HttpSettings
from balancer.http.sources import sized, source_of
from balancer.http1.heads import CHUNKED_BODY, LENGTH, NO_BODY, Fields, Framing, RequestHead

if TYPE_CHECKING:
    from balancer.http.cache import Cache

SAVED = frozenset({"hit", "stale", "revalidated", "collapsed", "error"})
"""Words of the record for bodies that came from no server, or from one for several clients."""


def _ascending(pieces: Sequence[bytes | tuple[int, int]]) -> bool:
    """Whether the parts of the body come in its own order."""
    at = 0
    for piece in pieces:
        if not isinstance(piece, bytes):
            if piece[0] < at:
                return False
            at = piece[1]
    return True


class Answering:
    """See the module.

    :ivar decision: what was decided about the request.
    """

    __slots__ = (
        "_delivery", "_done", "_fetch", "_paused", "asked", "begun", "cache", "decision", "front", "head", "record",
        "settings",
    )  # fmt: skip

    def __init__(
        self,
        settings: HttpSettings,
        front: Front,
        head: RequestHead,
        record: ExchangeRecord,
        begun: float,
        cache: "Cache",
        asked: Asked,
    ) -> None:
        self.settings = settings
        self.front = front
        self.head = head
        self.record = record
        self.begun = begun
        self.cache = cache
        self.asked = asked
        self.decision: Decision | None = None
        self._fetch: Gathering | None = None
        self._delivery: Delivery | None = None
        self._paused = False
        self._done = False

    def __repr__(self) -> str:
        return f"<CachedExchange {self.head.method!r} {self.head.target!r}{' over' if self._done else ''}>"

    @property
    def over(self) -> bool:
        """Nothing more is sent by it."""
        return self._done

    def _lost(self, stored: Stored, reason: str) -> None:
        """The body is not there any more: find another answer."""
        raise NotImplementedError

    # -- sending ------------------------------------------------------------------------------------------------------

    def _deliver(
        self, stored: Stored, word: str, said: bytes, arriving: Arriving | None = None, aged: bool = True
    ) -> None:
        """Send what a stored response, or one that arrives, answers.

        :param word: for the record; ``said``: for Cache-Status.
        :param aged: it was not made or confirmed for this request, which Age says (RFC 9111 section 5.1).
        """
        record, front = self.record, self.front
        source: BodySource | None = arriving
        if source is None:
            try:
                source = source_of(stored)
            except StoreError as error:
                self._lost(stored, str(error))
                return
        end = source.end
        is_sized = arriving is None or not stored.flags & UNSIZED
        pieces: Sequence[bytes | tuple[int, int]]
        status, reason, lines = stored.status, stored.reason, stored.lines
        if arriving is not None and not is_sized:
            length = TO_THE_END
            pieces = () if self.head.method == b"HEAD" else ((0, TO_THE_END),)
        else:
            whole = stored if end < 0 or not stored.flags & UNSIZED else sized(stored, end)
            made = answer(self.asked, self.head, whole, self.cache.secret)
            status, reason, lines, length, pieces = made.status, made.reason, made.lines, made.length, made.pieces
            if arriving is not None and not _ascending(pieces):  # what has arrived may be let go of: all of it, then
                status, reason, lines, length = whole.status, whole.reason, whole.lines, whole.size
                pieces = ((0, length),)
        if aged:
            lines = b"%bAge: %d\r\n" % (lines, current_age(stored, self.cache.wall()))
        if said:
            lines = b"%bCache-Status: %b\r\n" % (lines, said)
        record.cache = word
        if not record.cache_detail and self.decision is not None:
            record.cache_detail = self.decision.detail or self.decision.reason
        record.status = status
        if length == TO_THE_END:
            front.send_head(status, reason, parsed_lines(lines), CHUNKED_BODY if pieces else NO_BODY, False)
        elif not pieces:
            front.send_lines(status, reason, lines, NO_BODY, b"")
        else:
            front.send_lines(status, reason, lines, Framing(LENGTH, length), b"")
        settings = self.settings
        self._delivery = delivery = Delivery(front, source, pieces, self, settings.sender, settings.splice)
        if arriving is not None:
            arriving.join(delivery)
        if self._paused:
            delivery.pause()
        delivery.go()

    def sent(self, size: int) -> None:
        """So many bytes went to the client."""
        self.record.bytes_out += size

    def delivered(self) -> None:
        """The response is complete."""
        record = self.record
        if record.cache in SAVED:
            self.cache.counters.save(record.bytes_out)
        self._done = True
        self._fetch = self._delivery = None
        self._log(Termination.DONE, "")
        self.front.finish([])

    def undeliverable(self, reason: str) -> None:
        """The rest of the body cannot be had: the client must notice."""
        fetch = self._fetch
        self._done = True
        self._fetch = self._delivery = None
        ended = fetch.record.termination if fetch is not None else None
        self._log(ended if ended not in (None, Termination.DONE) else Termination.STORE_FAILED, reason)
        self.front.abort()

    # -- the end ------------------------------------------------------------------------------------------------------

    def answer_self(self, status: int, reason: bytes, fields: Fields, body: bytes, termination: Termination) -> None:
        """An answer of our own."""
        record = self.record
        head_only = self.head.method == b"HEAD"
        record.status = status
        record.bytes_out = 0 if head_only else len(body)
        self._done = True
        self._log(termination, "")
        self.front.send_head(status, reason, fields, NO_BODY if head_only else Framing(LENGTH, len(body)), False)
        if not head_only:
            self.front.send_body(body)
        self.front.finish([])

    def _log(self, termination: Termination, reason: str) -> None:
        record = self.record
        if record.end(termination, self._now() - self.begun, reason):
            self.front.ended(record)

    def _now(self) -> float:
        return self.settings.timers.seconds()
