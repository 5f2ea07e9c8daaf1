"""What the engine expects of a transport: what Twisted's TCP, UNIX and TLS transports have. A description only."""

from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport


class IStreamTransport(ITCPTransport, IConsumer, IPushProducer):
    """A stream that pauses whoever writes too much, can be paused itself, and can be reset."""
