"""What a stream transport is to us, as one interface. Nothing here does anything.

It does not stand in :mod:`balancer.net.flow` because a class of another metaclass than ``type`` cannot be compiled.
"""

from twisted.internet.interfaces import IConsumer, IPushProducer, ITCPTransport


class IConnection(ITCPTransport, IConsumer, IPushProducer):
    """What every stream transport of Twisted's is, though no one interface says so."""
