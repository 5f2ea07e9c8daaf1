"""What is the same for every message with one head: where it goes, and its bytes for the other side.

Kept in the ``notes`` of the head, or of its field lines, and so for as long as the parser's memo keeps them. It holds
for one set of settings and is made anew for another. Whatever differs from request to request (the peer, the id, a
Date of ours, a draw among upstreams) is not in it; where such a thing cannot be told apart there are no bytes, and the
head is written anew each time by :mod:`balancer.http.messages`. It never decides differently from the long way.
"""

from typing import TYPE_CHECKING

from balancer.cache.asked import Asked
from balancer.core.forwarded import Peer
from balancer.core.headers import HOP_COUNTED, ORDINARY_OPTIONS, hops_left, may_upgrade
from balancer.core.routing import Route
from balancer.errors import RequestRefused
from balancer.http.messages import client_fields, client_framing
from balancer.http.settings import HttpSettings
from balancer.http.upstreams import HttpUpstream
from balancer.http1.heads import CHUNKED, Fields, Framing, RequestHead, ResponseHead
from balancer.http1.serialize import field_lines, request_line, response_head

if TYPE_CHECKING:
    from balancer.http.cache import Cache


class Lines:
    """Of a request's field lines: those for the backend, from a peer that is no trusted proxy.

    :ivar plain: whether they are the same for any such peer, in HTTP/1.1 and for an ordinary request line.
    """

    __slots__ = ("after", "before", "end", "plain", "settings")

    def __init__(self, settings: HttpSettings, head: RequestHead) -> None:
        self.settings = settings
        self.before = self.after = self.end = b""
        forwarding = settings.forwarding
        kept = forwarding.told_of_anyone(head)
        self.plain = kept is not None and head.framing.kind is not CHUNKED and not may_upgrade(head.upgrade)
        if kept is not None and self.plain:
            before, after = kept
            self.before = field_lines(before)
            self.after = field_lines(after)
            self.end = b"\r\n"
            if forwarding.id_name:
                self.after += forwarding.id_name + b": "
                self.end = b"\r\n\r\n"

    @staticmethod
    def of(head: RequestHead, settings: HttpSettings) -> "Lines":
        """Those in the notes of the head's field lines, or new ones."""
        if head.method in HOP_COUNTED or head.target[:1] != b"/":
            return Lines(settings, head)  # what these are told is not what others with such field lines are
        known = head.told.notes
        if isinstance(known, Lines) and known.settings is settings:
            return known
        head.told.notes = lines = Lines(settings, head)
        return lines


class Plan:
    """Of a request: where it goes.

    :ivar route: name of the route, empty for the listener's default.
    :ivar upstream: name of the upstream; ``way``: how it is reached.
    :ivar plain: whether :meth:`head_from` can write its head.
    :ivar cache: that of the route, or else of the upstream; ``None`` for none.
    :ivar asked: what the request says about caching, where there is a cache; ``key``: what it finds there, as far as
        its head alone says so; made when first asked for (:meth:`ask`).
    """

    __slots__ = ("_before", "_lines", "_settings", "asked", "cache", "key", "plain", "route", "upstream", "way")

    def __init__(self, settings: HttpSettings, head: RequestHead, route: Route | None, upstream: str) -> None:
        self._settings = settings
        self.route = "" if route is None else route.name
        self.upstream = upstream
        self.way: HttpUpstream = settings.upstreams[upstream]
        self._lines = lines = Lines.of(head, settings)
        self.plain = lines.plain and self.way.policy.idle > 0
        self._before = request_line(head.method, head.target) + lines.before if self.plain else b""
        cache = None if route is None else route.spec.cache
        if cache is None:
            cache = settings.upstream_caches.get(upstream, "")
        self.cache: Cache | None = settings.caches[cache] if cache else None
        self.asked: Asked | None = None
        self.key = b""

    def ask(self, head: RequestHead, cache: "Cache", scheme: bytes) -> Asked:
        """What this very request, which came by this scheme, says about caching."""
        self.key = cache.keys(scheme).key(head)
        self.asked = asked = Asked(head, cache.policy)
        if head.connection - ORDINARY_OPTIONS:
            # The origin does not see these fields, so by them its answer is no other request's.
            asked.bypass = asked.bypass or "Connection names fields"
            asked.cacheable = asked.plain = asked.may_store = False
        return asked

    def again(self, head: RequestHead) -> "Plan":
        """The same way for another head."""
        plan = Plan(self._settings, head, None, self.upstream)
        plan.route = self.route
        return plan

    def holds_for(self, settings: HttpSettings) -> bool:
        """Whether it was made with these settings."""
        return self._settings is settings

    def head_from(self, peer: Peer, request_id: bytes) -> bytes:
        """The head for the backend, from a peer that is no trusted proxy."""
        lines = self._lines
        return self._before + peer.lines + lines.after + request_id + lines.end


def plan_of(head: RequestHead, settings: HttpSettings) -> Plan | None:
    """The one in the head's notes, or a new one; ``None`` where no route matches and there is no default.

    :raises RequestRefused: it is not forwarded.
    """
    known = head.notes
    if isinstance(known, Plan) and known.holds_for(settings):
        return known
    if head.method == b"CONNECT":
        raise RequestRefused(501, "CONNECT is not served here", "RFC 9110 section 9.3.6")
    if head.method in HOP_COUNTED and hops_left(head.fields) == 0:
        reason = "Max-Forwards is 0 and the balancer does not answer this method itself"
        raise RequestRefused(501, reason, "RFC 9110 section 7.6.2")
    route = settings.routes.match(head.method, head.host, head.path, head.get_all)
    name = settings.default if route is None else route.choose(settings.random)
    if not name:
        return None
    plan = Plan(settings, head, route, name)
    if route is None or not route.draws:
        head.notes = plan
    return plan


class Reply:
    """Of a final response: its head for the client, as :meth:`balancer.http.front.Front.send_head` wants it.

    :ivar fields: copy them: fronts add to what they are given.
    :ivar kept_alive: the whole head for an HTTP/1.1 client whose connection is kept.
    """

    __slots__ = ("_closing", "_settings", "fields", "framing", "kept_alive", "reason", "status")

    def __init__(self, settings: HttpSettings, head: ResponseHead) -> None:
        self._settings = settings
        self.status = head.status
        self.reason = head.reason
        self.fields: Fields = client_fields(head, settings)
        self.framing: Framing = client_framing(head)
        self.kept_alive = response_head(self.status, self.reason, self.fields)
        self._closing = b""  # written when first asked for: many heads never come again

    @property
    def closing(self) -> bytes:
        """The whole head for a client whose connection is closed after it."""
        if not self._closing:
            self._closing = response_head(self.status, self.reason, [*self.fields, (b"Connection", b"close")])
        return self._closing

    @staticmethod
    def to(head: ResponseHead, settings: HttpSettings) -> "Reply | None":
        """The one in the head's notes, or a new one; ``None`` where the head lacks what is told anew each time."""
        known = head.notes
        if isinstance(known, Reply) and known._settings is settings:
            return known
        if head.get(b"date") is None:
            return None
        head.notes = reply = Reply(settings, head)
        return reply
