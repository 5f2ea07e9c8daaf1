"""A stored body read whole, into memory. Whoever asks has looked at its size. (Not compiled: it is seldom done.)"""

from twisted.internet.defer import Deferred

from balancer.cache.stored import StoredBody
from balancer.errors import StoreError


def read_whole(body: StoredBody) -> "Deferred[bytes]":
    """All of it; it has fired already where the store answers at once.

    It fails with a :class:`~balancer.errors.StoreError` where the body cannot be read.
    """
    return Deferred.fromCoroutine(_read(body))


async def _read(body: StoredBody) -> bytes:
    size = body.size
    reader = body.open()
    try:
        read = bytearray()
        while len(read) < size:
            data = reader.read(len(read), size - len(read))
            if isinstance(data, Deferred):
                data = await data
            if not isinstance(data, bytes) or not data:
                raise StoreError("the body ends before its end")
            read += data
        return bytes(read)
    finally:
        reader.close()
