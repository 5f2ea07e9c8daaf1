"""One client and one backend, joined: accepted, placed, connected, relayed, ended, recorded.

Back-pressure is Twisted's own: each side's reading is registered as the producer of the other's transport, which
pauses it while more than its buffer waits. Bytes that come before the backend is connected are held, within the same
limit. What an end, a close or a reset means for the other side is decided by :mod:`balancer.core.relay`.
"""

from typing import TYPE_CHECKING

from balancer.core.lease import Lease, Outcome
from balancer.core.record import ConnectionRecord
from balancer.core.relay import Relay, Step
from balancer.core.termination import Termination
from balancer.core.traits import ConnectionTraits, Traits
from balancer.core.upstream import Upstream
from balancer.net.flow import BULK, CHUNK, HOLD, can_half_close, keep_alive, peer_name, tune
from balancer.net.timers import Timer, nothing
from balancer.net.tls import TlsClients
from balancer.tcp.opening import Opening
from balancer.tcp.side import Side, discard

if TYPE_CHECKING:
    from balancer.tcp.factory import ForwardingFactory

LASTING = 10.0
"""Seconds after which a connection to a backend gets its keep-alive probes. They come after minutes at the earliest
(tcp(7): 2 h), most connections are over by then, and setting one costs as much as opening a tenth of a connection."""


class Connection:
    """See the module. Made by the factory for each client, with the settings of that moment.

    :ivar client: the protocol for the client's transport.
    :ivar record: what is known of it.
    """

    __slots__ = (
        "_backend",
        "_factory",
        "_held",
        "_held_size",
        "_idle",
        "_lasting",
        "_lease",
        "_limit",
        "_opening",
        "_relay",
        "_settings",
        "_started",
        "_timers",
        "client",
        "record",
    )

    def __init__(self, factory: "ForwardingFactory") -> None:
        self._factory = factory
        self._settings = settings = factory.settings
        self._timers = factory.timers
        self._relay = Relay()
        self._opening: Opening | None = None
        self._lease: Lease | None = None
        self._idle = Timer(factory.timers, nothing)  # of the attempts to connect, then of the relaying
        self._lasting = False  # it has its keep-alive probes, or needs none any more
        self._held: list[bytes] | None = None  # most connections never hold anything
        self._held_size = 0
        # Reading stops when one more read might not fit.
        self._limit = settings.buffer - min(CHUNK, settings.buffer // 2)
        self.client = Side(self, True, self._timers.seconds)
        self._backend = Side(self, False, self._timers.seconds)
        self.record = ConnectionRecord(factory.wall(), settings.name)
        self._started = self._timers.seconds()

    def __repr__(self) -> str:
        return f"<Connection {self.record.client} to {self.record.backend or 'nobody yet'} {self._relay!r}>"

    def stop(self, cause: Termination, reason: str) -> None:
        """Abort it, whatever its state."""
        self._relay.settle(cause, reason)
        self._stop_opening(Outcome.UNUSED)
        self._backend.abort()
        self.client.abort()

    # -- what the sides tell -------------------------------------------------------------------------------------

    def made(self, side: Side) -> None:
        """A side is connected: the client, for whom a backend is to be found, or that backend."""
        if side is self.client:
            tune(side.transport, self._settings.buffer)
            self._open()
        else:
            tune(side.transport, self._settings.buffer, later=True)
            self._join()

    def ended(self, side: Side) -> None:
        """The end of what a side sends was read."""
        if self._opening is None:
            other = self._other(side)
            self._perform(self._relay.ended(side.client, other.gone or can_half_close(other.transport)), side)
        elif not self._held:
            # Nothing was asked, so nobody waits for an answer: it left. With bytes held it may be a half-close.
            self._left("it closed before a backend was connected")
            side.close()

    def flushed(self, side: Side) -> None:
        """What was to be sent to a side is written, and its end with it."""
        if side.lingering:
            self._lasting = True  # no longer; this is the next the timer is for
            self._idle.rearm(self._settings.timeouts.linger)

    def lost(self, side: Side, clean: bool, words: str) -> None:
        """A side is gone."""
        if self._opening is not None:
            self._left(words)
        other = self._other(side)
        other.unsplice()  # there is nobody to write to
        other.take = discard  # it may hold the bound write of a transport that is gone, which uvloop's refuses
        step = self._relay.lost(side.client, clean, words)
        if self._lease is not None and not side.client:
            lease, self._lease = self._lease, None
            lease.release(self._relay.outcome, self._timers.seconds())
        if self.client.gone and self._backend.gone:
            self._finish()
        else:
            self._perform(step, side)

    # -- opening -------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        factory = self._factory
        self._seek(factory.upstream, factory.tls, ConnectionTraits(self._source()))

    def _source(self) -> str | None:
        """The client's address, which the record has from now on."""
        source, record = None, self.record
        peer = peer_name(self.client.transport)
        if peer is not None:
            source, record.client_port = peer
            record.client = source
        return source

    def _seek(self, upstream: Upstream, tls: TlsClients | None, traits: Traits) -> None:
        """Ask for a backend of that upstream; what comes meanwhile is held."""
        self.record.upstream = upstream.name
        self.client.take = self._hold
        sender = self._settings.sender
        self._opening = Opening(
            upstream,
            self._factory.connector,
            self._settings,
            tls,
            self._backend,
            self._failed,
            self.record,
            self._idle,
            b"" if sender is None else sender.preface(self.client.transport, authority=self.record.sni),
        )
        self._opening.begin(traits)

    def _hold(self, data: bytes) -> None:
        if self._held is None:
            self._held = []
        self._held.append(data)
        self._held_size += len(data)
        if self._held_size > self._limit:
            # Paused, its leaving cannot be seen: that is learnt when the connect ends, which has its timeout.
            self.client.flow.pause(HOLD)

    def _failed(self, cause: Termination, reason: str) -> None:
        """No backend can be had: the client is reset, so that it does not take nothing for an empty answer."""
        self._opening = None
        self._relay.settle(cause, reason)
        self.client.abort()

    def _left(self, words: str) -> None:
        self._relay.settle(Termination.CLIENT_LEFT, words)
        self._stop_opening(Outcome.CLIENT_LEFT)

    def _stop_opening(self, outcome: Outcome) -> None:
        opening, self._opening = self._opening, None
        if opening is not None:
            opening.cancel(outcome)

    # -- relaying ------------------------------------------------------------------------------------------------

    def _join(self) -> None:
        opening, self._opening = self._opening, None
        assert opening is not None
        self._lease = opening.opened()
        client, backend = self.client, self._backend
        backend.heard = now = self._timers.seconds()
        self._idle.callback = self._expired
        self._idle.until(now + min(self._settings.timeouts.tunnel, LASTING))
        client.take = backend.transport.write
        backend.take = self._first_answer
        backend.transport.registerProducer(client.flow, True)
        client.transport.registerProducer(backend.flow, True)
        if self._settings.splice and self._settings.splicer is not None:
            client.bulk_at = backend.bulk_at = self._settings.splice
        held, self._held = self._held, None
        if held is None:
            pass
        elif len(held) == 1:
            client.take(held[0])
        else:
            backend.transport.writeSequence(held)
        client.flow.resume(HOLD)
        if client.flow.ended:
            self.ended(client)

    def _first_answer(self, data: bytes) -> None:
        now = self._timers.seconds()
        self.record.first_byte = now - self._started - (self.record.queue or 0.0) - (self.record.connect or 0.0)
        self._backend.take = self.client.transport.write
        self._backend.take(data)

    def bulk(self, side: Side) -> None:
        """A side sends much: let the kernel move it, where that can be done; else try again after as much."""
        other, settings = self._other(side), self._settings
        assert settings.splicer is not None
        side.bulk_at = side.received + settings.splice
        if side.gone or other.gone:
            return
        side.splice = settings.splicer.begin(side.transport, other.transport, side, settings.buffer)
        if side.splice is not None:
            side.flow.pause(BULK)

    def broken(self, side: Side, words: str) -> None:
        """What a side sends cannot be written."""
        self._other(side).cut(words)

    def _expired(self) -> None:
        """No byte in either direction for too long; or one side has lingered enough; or, at first, it lasts."""
        if not self._lasting:
            self._lasting = True
            if not self._backend.gone:
                keep_alive(self._backend.transport)
            if self._heard_lately():
                return
        for side in (self.client, self._backend):
            if side.lingering:
                side.lingering = False
                side.close()
                if not side.gone:  # not all is written: as long again, then it is reset
                    self._idle.rearm(self._settings.timeouts.linger)
                return
        if self._heard_lately():
            return
        seconds = self._settings.timeouts.tunnel
        self.stop(Termination.TUNNEL_IDLE, f"no byte in either direction for {seconds:g} s")

    def _heard_lately(self) -> bool:
        """Whether the idle timeout is not over; then the timer is set for when it may be."""
        # Not re-armed with each chunk: both sides note when it came, and the timer looks when it fires.
        until = max(self.client.heard, self._backend.heard) + self._settings.timeouts.tunnel
        if until <= self._timers.seconds():
            return False
        self._idle.until(until)
        return True

    def _perform(self, step: Step, side: Side) -> None:
        other = self._other(side)
        if step is Step.END_OTHER:
            other.end()
        elif step is Step.CLOSE_BOTH:
            side.close()
            other.close()
        elif step is Step.CLOSE_OTHER:
            other.linger()
        elif step is Step.ABORT_OTHER:
            other.abort()

    def _other(self, side: Side) -> Side:
        return self._backend if side is self.client else self.client

    def _finish(self) -> None:
        """Both are gone."""
        self._idle.cancel()
        self._idle.callback = nothing
        record, relay = self.record, self._relay
        record.bytes_in = self.client.received
        record.bytes_out = self._backend.received
        record.end(relay.cause or Termination.DONE, self._timers.seconds() - self._started, relay.reason)
        self._factory.ended(self)
        self._settings.log(record)
