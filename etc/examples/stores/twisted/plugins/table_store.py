"""A store of one's own: ``type = "table"`` keeps responses in a dict, as long as there are few."""

from dataclasses import dataclass
from typing import Annotated

from twisted.plugin import IPlugin
from typing_extensions import Doc
from zope.interface import implementer

from balancer.cache.purges import GONE, SOFT, Ledger
from balancer.cache.stored import SOFT_PURGED
from balancer.errors import StoreError
from balancer.interfaces import ICacheStore, ICacheStorePlugin, ICacheWriter
from balancer.stores.chunks import Chunks

LARGEST = 2**20  # bytes of a body


@dataclass(frozen=True, slots=True, kw_only=True)
class TableSettings:
    """`type = "table"`."""

    __pydantic_config__ = {"extra": "forbid"}

    type: Annotated[str, Doc("`table`")] = "table"
    objects: Annotated[int, Doc("Keys that are kept at most; the oldest leaves for one more.")] = 1000


@implementer(ICacheStore)
class Table:
    def __init__(self, settings):
        self.settings = settings
        self.ledger = Ledger()
        self.kept = {}

    serial = property(lambda self: self.ledger.serial)

    @property
    def counters(self):
        found = [stored for variants in self.kept.values() for stored in variants]
        return {"objects": len(found), "bytes": sum(stored.size + len(stored.lines) for stored in found)}

    def start(self):
        """Nothing to open."""

    def stop(self):
        self.kept.clear()

    def get(self, key):
        found = []
        for stored in self.kept.get(key, ()):
            verdict = self.ledger.verdict(key, stored)
            if verdict != GONE:
                found.append(judged(stored, verdict, self.ledger.serial))
        self.keep(key, found)
        return found

    def begin(self, key, stored, size, resume):
        return Writer(self, key, stored) if size <= LARGEST else None

    def put(self, key, stored):
        verdict = self.ledger.arriving(key, stored)
        if verdict == GONE or stored.size > LARGEST:
            return
        others = [one for one in self.get(key) if one.nominated != stored.nominated]
        self.keep(key, [judged(stored, verdict, self.ledger.serial), *others])

    def keep(self, key, variants):
        self.kept.pop(key, None)
        if variants:
            self.kept[key] = variants
        if len(self.kept) > self.settings.objects:
            del self.kept[next(iter(self.kept))]

    def drop(self, key, stored):
        self.keep(key, [one for one in self.get(key) if one is not stored])

    def remove(self, uri, soft):
        count = 0
        for key in [key for key in self.kept if key.partition(b"\n")[0] == uri]:
            found = self.get(key)
            count += len(found)
            self.keep(key, [judged(stored, SOFT, stored.serial) for stored in found] if soft else [])
        self.ledger.removed(uri, soft)
        return count

    def purge(self, purge):
        self.ledger.add(purge)


def judged(stored, verdict, serial):
    """The same, with what purges made of it. A Stored that was handed out is never changed."""
    if stored.serial == serial and verdict != SOFT:
        return stored
    same = stored.with_body(stored.body)
    same.serial = serial
    same.flags |= SOFT_PURGED if verdict == SOFT else 0
    return same


@implementer(ICacheWriter)
class Writer:
    def __init__(self, table, key, stored):
        self.table, self.key, self.stored = table, key, stored
        self.body = Chunks()

    def write(self, data):
        if self.body.size + len(data) > LARGEST:
            raise StoreError("the body is too large for a table")
        self.body.append(data)
        return True

    def commit(self):
        self.table.put(self.key, self.stored.with_body(self.body))

    def abort(self):
        """Nobody has it."""


@implementer(IPlugin, ICacheStorePlugin)
class TablePlugin:
    name = "table"
    settings = TableSettings

    def store(self, settings, reactor, others):
        return Table(settings)


table = TablePlugin()
