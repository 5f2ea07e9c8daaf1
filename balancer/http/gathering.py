"""Those who wait for one fetch: who may join, who gets what it brings, who is let go.

One of them asked first, and its request is the one that is sent: it gets whatever comes. The others get what may be
reused for them (RFC 9111 section 4), and where that is nothing they ask for themselves, all at once. It never asks the
origin (:mod:`balancer.http.fetch` does).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from balancer.cache.asked import Asked
from balancer.cache.partial import covers
from balancer.cache.ranges import SUFFIX, wanted
from balancer.cache.reuse import HIT, STALE, Decision, decide, usable_on_error
from balancer.cache.stored import Stored
from balancer.cache.vary import nominate
from balancer.core.record import ExchangeRecord
from balancer.core.termination import Termination
from balancer.http.arriving import Arriving
from balancer.http1.heads import RequestHead

if TYPE_CHECKING:
    from balancer.http.cache import Cache
    from balancer.http.cached import CachedExchange

STARTED, SPREADING, THROUGH, FRESH, AGAIN, IGNORED, OURS, OVER = range(8)
"""Where a fetch stands: no final head came; the response is stored, or goes to several; it goes to the one who asked;
it was a 304 to what is stored; a 304 to nothing; nobody wants it; it is our own answer to a failure; over."""
AHEAD = 2**20
"""Bytes beyond what has arrived of a response, at which a range may begin that waits for them."""

NAMES = ("started", "spreading", "through", "fresh", "again", "ignored", "ours", "over")


def _far_ahead(head: RequestHead, size: int) -> bool:
    """Whether a range begins far beyond the bytes that have arrived."""
    return any(first == SUFFIX or first > size + AHEAD for first, _ in wanted(head) or ())


class Gathering:
    """See the module. A :class:`~balancer.http.fetch.Fetch` is one.

    :param leader: who asked; in the background whose request is repeated.
    :param decision: why the origin is asked, and what is validated or may be sent if it fails.
    :param found: what is stored under the key.
    :param shared: others may join it.
    :param background: nobody waits for it.
    :ivar key: what it is for.
    :ivar answered: the status of the origin's answer; 0 while there is none.
    :ivar aged: the origin's answer had an Age: it comes from another cache.
    :ivar own: field lines for the client who asked alone, whatever is stored: cookies, and what a directive names.
    """

    __slots__ = (
        "_arriving", "_asked", "_background", "_cache", "_decision", "_found", "_guess", "_head", "_leader", "_ranged",
        "_settings", "_shared", "_spoiled", "_state", "_stored", "_through", "_waiting", "aged", "answered",
        "key", "own", "record",
    )  # fmt: skip

    record: ExchangeRecord

    def __init__(
        self,
        cache: "Cache",
        leader: "CachedExchange",
        decision: Decision,
        found: Sequence[Stored],
        shared: bool,
        background: bool = False,
    ) -> None:
        self.key = leader.key
        self.answered = 0
        self.aged = False
        self.own = b""
        self._cache = cache
        self._decision = decision
        self._found = found
        self._shared = shared
        self._background = background
        self._settings = leader.settings
        self._asked: Asked = leader.asked
        self._head: RequestHead = leader.head
        self._ranged = leader.asked.ranged and decision.stored is None and not background
        self._guess = self._nominated(leader.head)
        self._leader: CachedExchange | None = None if background else leader
        self._waiting: list[CachedExchange] = [] if background else [leader]
        self._through: CachedExchange | None = None  # who alone gets the response
        self._state = STARTED
        self._stored: Stored | None = None  # the response, once its head came, if others may have it
        self._arriving: Arriving | None = None
        self._spoiled = False

    def __repr__(self) -> str:
        return f"<Fetch {NAMES[self._state]} {self._head.target!r} followers={self.followers}>"

    def pause(self) -> None:
        """The one who alone gets the response does not read: the fetch pauses the backend."""
        raise NotImplementedError

    def resume(self) -> None:
        """He reads again."""
        raise NotImplementedError

    def _close(self) -> None:
        """Nobody joins it any more."""
        raise NotImplementedError

    def _give_up(self, termination: Termination, reason: str) -> None:
        """Nobody wants it any more: the fetch does."""
        raise NotImplementedError

    # -- who waits ----------------------------------------------------------------------------------------------------

    @property
    def followers(self) -> int:
        """Clients that wait for it or are being served from it."""
        return len(self._waiting) + (self._arriving.readers if self._arriving is not None else 0)

    @property
    def keeping(self) -> bool:
        """Whether what arrives will be found later."""
        return self._arriving is not None and self._arriving.storing and not self._spoiled

    def may_answer(self, asked: Asked, head: RequestHead) -> bool:
        """Whether such a request may join it."""
        if self._ranged and head.get(b"range") != self._head.get(b"range"):
            return False
        if self._state == STARTED:
            return self._nominated(head) == self._guess
        arriving = self._arriving
        if self._state != SPREADING or arriving is None or not arriving.whole:
            return False
        if asked.ranged and _far_ahead(head, arriving.size):
            return False  # who seeks would wait for all before it
        return self._usable(asked, head)

    def join(self, follower: "CachedExchange") -> None:
        """One more."""
        if self._state == STARTED:
            self._waiting.append(follower)
        else:
            assert self._stored is not None and self._arriving is not None
            follower.follow(self, self._stored, self._arriving, True)

    def left(self, follower: "CachedExchange", termination: Termination, reason: str) -> None:
        """A client is gone (its delivery has left already)."""
        if follower is self._through:
            self._through = None
            self._give_up(termination, reason)
            return
        if follower in self._waiting:
            self._waiting.remove(follower)
        if follower is self._leader:
            self._leader = None
        if self._state == STARTED and not self._waiting and not self._background:
            self._give_up(termination, reason)
        elif self._state == SPREADING:
            self._give_up_if_useless()

    def spoil(self) -> None:
        """What it brings is outdated already: those who wait may have it, nobody later."""
        self._spoiled = True

    def _nominated(self, head: RequestHead) -> bytes | None:
        """What this request says of what the responses stored by now vary by."""
        return nominate(self._found[0].get_all(b"vary"), head) if self._found else b""

    def _usable(self, asked: Asked, head: RequestHead) -> bool:
        """Whether the response may be used for a request that was not the one it answers (RFC 9111 section 4)."""
        stored = self._stored
        if stored is None:
            return False
        return decide(asked, head, (stored,), self._cache.policy, self._cache.wall(), 1.0).kind in (HIT, STALE)

    # -- what they get ------------------------------------------------------------------------------------------------

    def _mark(self, stored: Stored) -> None:
        """Whether others are to wait for the like of it."""
        cache = self._cache
        if stored.lifetime <= stored.age and not stored.while_revalidate:
            cache.pass_by(self.key, self._settings.timers.seconds(), cache.policy.uncacheable)
        else:
            cache.stored(self.key)

    def _hand_out(self, stored: Stored, fetched: bool) -> None:
        """It is whole: everybody who may have it gets it."""
        self._stored = stored
        self._mark(stored)
        leader, waiting = self._leader, self._waiting
        self._waiting = []
        for follower in waiting:
            if follower is leader:
                follower.fetched(stored, self, fetched)
            elif self._usable(follower.asked, follower.head):
                follower.collapsed(stored, self.answered)
            else:
                follower.alone()

    def _send_stale(self, now: float, why: str) -> bool:
        """To those who may have a stale response; whether nobody is left then (in the background nobody was)."""
        stored = self._decision.fallback
        if stored is None:
            return False
        self._close()  # a client that has its answer may ask for the same at once
        left: list[CachedExchange] = []
        waiting, self._waiting = self._waiting, []
        for follower in waiting:
            if follower.over:
                continue
            if usable_on_error(follower.asked, stored, now) and self._fits(follower, stored):
                if follower is self._leader:
                    self._leader = None
                follower.rescued(stored, self, why)
            else:
                left.append(follower)
        self._waiting = left
        return not left

    def _fits(self, follower: "CachedExchange", stored: Stored) -> bool:
        if follower is self._leader:
            return True
        return covers(stored, follower.head) and nominate(stored.get_all(b"vary"), follower.head) == stored.nominated

    def _give_up_if_useless(self) -> None:
        arriving = self._arriving
        if self._state == SPREADING and arriving is not None and not arriving.readers and not self.keeping:
            self._give_up(Termination.CLIENT_LEFT, "nobody is left who wants it, and it is not stored")
