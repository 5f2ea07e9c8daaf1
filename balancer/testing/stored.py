"""What tests of stores, and of what uses them, need: responses that are stored, and a store to keep them in.

It never tests anything itself.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from balancer.cache.stored import SOFT_PURGED, Stored, StoredBody
from balancer.interfaces import ICacheStore, ICacheStorePlugin, ICacheWriter

if TYPE_CHECKING:
    from unittest import TestCase
else:
    TestCase = object  # a mixin: pytest must not collect it


MAX_TURNS = 1000
"""Turns of the reactor that an answer may take."""

LINES = b"Date: Tue, 24 Nov 2026 12:00:00 GMT\r\nContent-Type: text/plain\r\n"

URI = b"http://example.org/a?b=c"

REST = b"\nmain"


def a_stored(
    body: bytes | StoredBody = b"hello", nominated: bytes = b"", *, serial: int = 0, tags: Sequence[bytes] = (),
    lifetime: float = 60.0, flags: int = 0, lines: bytes = LINES,
) -> Stored:  # fmt: skip
    """A response that is stored: 200, fresh for a minute."""
    return Stored(
        200, b"OK", lines, 1000.0, 1.5, lifetime, 10.0, 20.0, flags, nominated, tuple(tags), serial, body, None, -1
    )


def head_of(stored: Stored) -> tuple[Any, ...]:
    """All of it but the body and the serial, which is the store's to raise."""
    return (
        stored.status, stored.reason, stored.lines, stored.arrived, stored.age, stored.lifetime,
        stored.while_revalidate, stored.if_error, stored.flags, stored.nominated, stored.tags, stored.parts,
        stored.total,
    )  # fmt: skip


class StoreCase(TestCase):
    """A started store of a plugin, as :attr:`store`, and what fills and reads it.

    :ivar plugin: the plugin to test.
    :ivar settings: settings of a store that keeps at least 4 MiB and each of 200 bodies of 1 KiB; ``None`` for
        the plugin's defaults.
    :ivar too_large: bytes of a body that it does not keep; 0 where it keeps any.
    :ivar capacity: bytes that it keeps at most, all together; 0 skips that test.
    :ivar reactor: what the store gets; set it in ``setUp`` before calling ours.
    """

    plugin: ICacheStorePlugin
    settings: object = None
    too_large = 0
    capacity = 0
    reactor: Any = None

    def setUp(self) -> None:
        """A store that is started."""
        super().setUp()
        if self.reactor is None:
            self.reactor = Clock()
        self.store = self.open()
        self.resumed: list[bytes] = []

    def others(self, name: str) -> ICacheStore:
        """The other stores of the configuration; for a store that is made of others, override it."""
        raise KeyError(name)

    def open(self) -> ICacheStore:
        """One more store with these settings."""
        settings = self.plugin.settings() if self.settings is None else self.settings
        store: ICacheStore = self.plugin.store(settings, self.reactor, self.others)
        self.result(store.start())
        self.addCleanup(lambda: self.result(store.stop()))
        return store

    def turn(self) -> None:
        """Let the reactor do what is due."""
        self.reactor.advance(0.01)

    def result(self, value: Any) -> Any:
        """The value, or what a Deferred fires with within :data:`MAX_TURNS` turns."""
        if not isinstance(value, Deferred):
            return value
        found: list[Any] = []
        failed: list[Any] = []
        value.addCallbacks(found.append, failed.append)
        for _ in range(MAX_TURNS):
            if found or failed:
                break
            self.turn()
        if failed:
            failed[0].raiseException()
        self.assertTrue(found, "no answer")
        return found[0]

    def get(self, key: bytes = URI + REST) -> list[Stored]:
        """What is found under the key."""
        return list(self.result(self.store.get(key)))

    def put(self, key: bytes = URI + REST, body: bytes = b"hello", **fields: Any) -> Stored:
        """Store one that is asked for now."""
        fields.setdefault("serial", self.store.serial)
        stored = a_stored(body, **fields)
        self.store.put(key, stored)
        return stored

    def content(self, stored: Stored) -> bytes:
        """All bytes of the body."""
        if isinstance(stored.body, bytes):
            return stored.body
        reader = stored.body.open()
        try:
            return self.read(reader, 0, stored.body.size)
        finally:
            reader.close()

    def read(self, reader: Any, offset: int, size: int) -> bytes:
        """So many bytes from there, in as many reads as it takes."""
        data = b""
        while len(data) < size:
            more = self.result(reader.read(offset + len(data), size - len(data)))
            self.assertTrue(more, "nothing was read before the end")
            self.assertLessEqual(len(more), size - len(data))
            data += more
        return data

    def begin(self, key: bytes = URI + REST, size: int = -1, **fields: Any) -> ICacheWriter:
        """Begin to write one that is asked for now."""
        fields.setdefault("serial", self.store.serial)
        writer = self.store.begin(key, a_stored(b"", **fields), size, lambda: self.resumed.append(key))
        self.assertIsNotNone(writer, "it is not wanted")
        assert writer is not None
        return writer

    def write(self, writer: ICacheWriter, data: bytes, piece: int = 10000, key: bytes = URI + REST) -> None:
        """Write all of it in pieces, waiting where the store asks for that."""
        for start in range(0, len(data), piece):
            del self.resumed[:]
            more = writer.write(data[start : start + piece])
            self.assertEqual(self.resumed, [], "resume was called from within a call")
            for _ in range(0 if more else MAX_TURNS):
                if key in self.resumed:
                    break
                self.turn()
            self.assertTrue(more or key in self.resumed, "it never took more")

    def bodies(self, key: bytes = URI + REST) -> list[bytes]:
        """What is found, its bodies alone."""
        return [self.content(stored) for stored in self.get(key)]

    def flags(self, key: bytes = URI + REST) -> list[bool]:
        """What is found: whether each is soft purged."""
        return [bool(stored.flags & SOFT_PURGED) for stored in self.get(key)]
