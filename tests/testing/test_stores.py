"""The contract of stores that their authors inherit finds those who break it; the documentation's example keeps it."""

import io
import os
import subprocess
import sys
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.purges import KEEP, Purge
from balancer.cache.stored import SOFT_PURGED
from balancer.testing.stored import a_stored
from balancer.testing.stores import CacheStoreContract

ROOT = Path(__file__).parent.parent.parent
PLACE = ROOT / "etc" / "examples" / "stores" / "twisted" / "plugins" / "table_store.py"
PAGE = ROOT / "docs" / "writing-a-cache-store.md"


def example() -> dict[str, Any]:
    """The names of the example."""
    names: dict[str, Any] = {"__name__": "table_store"}
    exec(compile(PLACE.read_text(), str(PLACE), "exec"), names)
    return names


def failed(plugin: object, **fields: object) -> set[str]:
    """Which of the contract's tests fail for a plugin."""
    body = {"plugin": plugin, "too_large": 2**20 + 1, **fields}
    case = type("Case", (CacheStoreContract, SynchronousTestCase), body)
    tests = unittest.defaultTestLoader.loadTestsFromTestCase(case)
    result = unittest.TextTestRunner(stream=io.StringIO()).run(tests)
    assert result.testsRun > 20
    return {test.id().rpartition(".")[2] for test, _ in [*result.failures, *result.errors]}


def _double(found: list[Any]) -> list[Any]:
    return found + found


def _hurried(writer: Any) -> Callable[[bytes], bool]:
    def write(data: bytes) -> bool:
        writer.body.append(data)
        writer.commit()
        return True

    return write


class Faults(SynchronousTestCase):
    """Stores with one fault each, made of the example."""

    def setUp(self) -> None:
        self.names = example()
        self.table: Any = self.names["Table"]
        self.writer: Any = self.names["Writer"]

    def assertFound(self, *tests: str) -> None:
        """At least these tests of the contract fail."""
        found = failed(self.names["table"])
        self.assertEqual(set(tests) - found, set(), found)

    def test_good(self) -> None:
        """The example passes the whole contract."""
        self.assertEqual(failed(self.names["table"]), set())

    def test_deaf_to_purges(self) -> None:
        """Purges that are not heard are found, each way."""
        self.patch(self.table, "purge", lambda table, purge: None)
        self.assertFound("test_purges", "test_soft_then_hard", "test_purged_while_written", "test_history")

    def test_always_hard(self) -> None:
        """Soft purges that are hard are found."""
        purge = self.table.purge
        self.patch(self.table, "purge", lambda table, one: purge(table, Purge(kind=one.kind, what=one.what)))
        self.assertFound("test_purges", "test_soft_until_freshened", "test_history")

    def test_deaf_on_arrival(self) -> None:
        """A store that keeps what was asked for before a purge is found."""

        def put(table: Any, key: bytes, stored: Any) -> None:
            others = [one for one in table.get(key) if one.nominated != stored.nominated]
            table.keep(key, [self.names["judged"](stored, KEEP, table.ledger.serial), *others])

        self.patch(self.table, "put", put)
        self.assertFound("test_purged_while_written", "test_soft_until_freshened")

    def test_soft_for_good(self) -> None:
        """What stays soft purged after it was freshened is found."""
        put = self.table.put

        def soft(table: Any, key: bytes, stored: Any) -> None:
            old = [one for one in table.get(key) if one.nominated == stored.nominated]
            stored.flags |= old[0].flags & SOFT_PURGED if old else 0
            put(table, key, stored)

        self.patch(self.table, "put", soft)
        self.assertFound("test_soft_until_freshened", "test_remove_soft")

    def test_no_variants(self) -> None:
        """A store that keeps one response of each key is found, and one that keeps all that ever came."""
        keep = self.table.keep
        self.patch(self.table, "keep", lambda table, key, found: keep(table, key, found[:1]))
        self.assertFound("test_variants", "test_freshened", "test_history")
        self.patch(self.table, "keep", lambda table, key, found: keep(table, key, _double(found)))
        self.assertFound("test_put", "test_variants")

    def test_order(self) -> None:
        """Responses in another order than the most recent first are found."""
        get = self.table.get
        self.patch(self.table, "get", lambda table, key: sorted(get(table, key), key=lambda one: one.nominated))
        self.assertFound("test_variants")

    def test_early_and_late(self) -> None:
        """A body that is found before it is complete is found, and one that is not found then."""
        init = self.writer.__init__

        def hurried(writer: Any, *arguments: Any) -> None:
            init(writer, *arguments)
            writer.write = _hurried(writer)

        self.patch(self.writer, "__init__", hurried)
        self.assertFound("test_written", "test_aborted")
        self.patch(self.writer, "__init__", init)
        self.patch(self.writer, "commit", lambda writer: None)
        self.assertFound("test_written", "test_written_empty", "test_variants")

    def test_drops(self) -> None:
        """A store that drops too much is found, and one that drops nothing."""
        self.patch(self.table, "drop", lambda table, key, stored: table.keep(key, []))
        self.assertFound("test_drop")
        self.patch(self.table, "drop", lambda table, key, stored: None)
        self.assertFound("test_drop", "test_history")

    def test_removes(self) -> None:
        """A store that removes by the beginning of a URI is found, and one that counts wrong."""

        def remove(table: Any, uri: bytes, soft: bool) -> int:
            keys = [key for key in table.kept if key.startswith(uri)]
            return sum([len(table.kept.pop(key)) for key in keys])

        self.patch(self.table, "remove", remove)
        self.assertFound("test_remove", "test_remove_soft", "test_purged_while_written")

    def test_boundless(self) -> None:
        """A store that keeps whatever comes is found where it says that it is bounded."""
        plugin = self.names["table"]
        settings = self.names["TableSettings"](objects=10**6)
        self.assertIn("test_bounded", failed(plugin, capacity=10000, settings=settings))

    def test_cuts(self) -> None:
        """A store that loses the end of bodies is found."""
        get = self.table.get

        def cut(table: Any, key: bytes) -> list[Any]:
            return [one.with_body(one.body[:1000]) if isinstance(one.body, bytes) else one for one in get(table, key)]

        self.patch(self.table, "get", cut)
        self.assertFound("test_put", "test_history")


class ExampleTests(SynchronousTestCase):
    """The store that docs/writing-a-cache-store.md explains."""

    def test_it_comes_through_the_same_door(self) -> None:
        """With the example's folder on the path ``table`` is a store like ours."""
        program = (
            "from balancer.interfaces import ICacheStorePlugin; from balancer.plugins import named; "
            "plugin = named(ICacheStorePlugin, 'table'); "
            "assert plugin.store(plugin.settings(objects=5), None, None).get(b'u\\n') == []"
        )
        folder = os.pathsep.join((str(PLACE.parent.parent.parent), str(ROOT)))
        environment = {**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, timeout=60)
        self.assertEqual((done.returncode, done.stderr), (0, b""))

    def test_it_is_bounded(self) -> None:
        """It keeps as many keys as it is told, the last ones."""
        names = example()
        table = names["Table"](names["TableSettings"](objects=2))
        for number in range(3):
            table.put(b"u%d\n" % number, a_stored())
        self.assertEqual([len(table.get(b"u%d\n" % number)) for number in range(3)], [0, 1, 1])

    def test_the_page_shows_the_file(self) -> None:
        """The page prints the example as it is."""
        self.assertIn(PLACE.read_text(), PAGE.read_text())
