"""A body that arrives for several: everyone gets all of it, in order, and no more is held than a buffer."""

from random import Random
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.stored import Stored
from balancer.http.arriving import Arriving
from balancer.http.delivery import TO_THE_END, Delivery
from balancer.net.timers import TimerWheel
from balancer.testing.caching import PlainStore

BUFFER = 1000


class Client:
    """Front and taker of one delivery; it reads when it is told to."""

    def __init__(self) -> None:
        self.received = b""
        self.done = False
        self.delivery: Any = None

    def send_body(self, data: bytes) -> None:
        """Keep it."""
        self.received += data

    def flush(self) -> None:
        """Nothing is held."""

    def sink(self) -> None:
        """None."""

    def sent(self, size: int) -> None:
        """Not counted."""

    def delivered(self) -> None:
        """It has all."""
        self.done = True

    def undeliverable(self, reason: str) -> None:
        """Never."""
        raise AssertionError(reason)


class ArrivingTests(SynchronousTestCase):
    """Random clients that come, pause, go on and leave, while a body arrives in random pieces."""

    def setUp(self) -> None:
        """The backend reads on."""
        self.paused = False

    def pause(self) -> None:
        """The backend is to stop."""
        self.assertFalse(self.paused)
        self.paused = True

    def resume(self) -> None:
        """It is to go on."""
        self.assertTrue(self.paused)
        self.paused = False

    def play(self, chance: Random, most: int, stored: bool, stop: int = -1) -> None:
        """One body; the checks."""
        body = chance.randbytes(5000)
        store = PlainStore()
        writer = store.begin(b"key", Stored(200, b"OK", b"", 0.0, 0.0, 60.0), -1, lambda: None) if stored else None
        arriving = Arriving(writer, most, BUFFER, self.pause, self.resume, TimerWheel(Clock()))
        clients: list[Client] = []

        def join() -> None:
            client: Any = Client()
            client.delivery = Delivery(client, arriving, [(0, TO_THE_END)], client)
            arriving.join(client.delivery)
            clients.append(client)
            client.delivery.go()

        for _ in range(3):
            join()
        at = 0
        while at < len(body):
            act = chance.random()
            client = chance.choice(clients)
            if act < 0.4 and not self.paused:
                piece = body[at : at + chance.randrange(1, 400)]
                at += len(piece)
                store.stopped = 0 <= stop < at
                arriving.add(piece)
                arriving.flush()
            elif act < 0.6:
                client.delivery.pause()
            elif act < 0.9 or self.paused:
                client.delivery.resume()
            elif act < 0.95 and arriving.whole:
                join()
            elif len(clients) > 1:
                clients.remove(client)
                client.delivery.stop()
            self.assertLess(arriving._held_size, BUFFER + 400)
            for each in clients:
                self.assertTrue(body.startswith(each.received))
        arriving.secure()
        arriving.complete()
        for client in clients:
            client.delivery.resume()
        self.assertEqual([client.received == body for client in clients], [True] * len(clients))
        self.assertEqual([client.done for client in clients], [True] * len(clients))
        self.assertEqual(arriving.readers, 0)
        self.assertFalse(self.paused)
        self.assertEqual(arriving._held_size, 0)
        self.assertEqual(store.readers, 0)

    def test_not_stored(self) -> None:
        """Nothing is stored: what is held is bounded by the slowest."""
        for seed in range(60):
            self.paused = False
            with self.subTest(seed=seed):
                self.play(Random(seed), 0, False)

    def test_stored(self) -> None:
        """Everything is: nothing is held, and nobody waits for anybody."""
        for seed in range(30):
            with self.subTest(seed=seed):
                self.play(Random(seed), 10**6, True)

    def test_stored_in_part(self) -> None:
        """It grows beyond what is stored: the rest is held."""
        for seed in range(60):
            self.paused = False
            with self.subTest(seed=seed):
                self.play(Random(seed), 2000, True)

    def test_a_store_that_stops(self) -> None:
        """The store gives up what it has, at any moment: who lags behind reads on, and the rest is held."""
        for seed in range(60):
            self.paused = False
            with self.subTest(seed=seed):
                self.play(Random(seed), 10**6, True, 100 * seed)

    def test_nobody_is_left(self) -> None:
        """When all have left, and the last of them lagged behind, nothing is read any more, though more is stored."""
        store = PlainStore()
        writer = store.begin(b"key", Stored(200, b"OK", b"", 0.0, 0.0, 60.0), -1, lambda: None)
        arriving = Arriving(writer, 10**6, BUFFER, self.pause, self.resume, TimerWheel(Clock()))
        client: Any = Client()
        client.delivery = Delivery(client, arriving, [(0, TO_THE_END)], client)
        arriving.join(client.delivery)
        client.delivery.pause()
        arriving.add(b"a part")
        self.assertEqual(store.readers, 1)
        client.delivery.stop()
        self.assertEqual(store.readers, 0)
        arriving.add(b"another")
        arriving.secure()
        arriving.complete()
        self.assertEqual(store.readers, 0)
