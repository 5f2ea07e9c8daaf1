"""Many clients ask for the same thing at once, on real connections: the server is asked once, and all are served."""

import contextlib
import threading
from collections.abc import Iterator

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.origins import Answer, Client, Origin, Told, ask, response, together
from balancer.testing.pattern import fits, piece
from balancer.testing.process import PATIENCE, BalancerProcess

CLIENTS = 100
HALF = 100_000
LARGE = 8 << 20

CONFIG = """
[cache.pages]
[cache.pages.purge]
token = "a-token-that-nobody-guesses"
[store.memory]
type = "memory"
size = "{size}"
[upstream.web]
servers = ["{address}"]
check = {{ type = "none" }}
cache = "pages"
[listener.http]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
"""


class Scripted:
    """Answers by path, where it is held until the test lets it go.

    :ivar head: set by the test: the head and the first half may go; ``rest``: so may the second half.
    """

    def __init__(self) -> None:
        self.head, self.rest = threading.Event(), threading.Event()
        self.own = threading.Barrier(CLIENTS - 1)

    def __call__(self, told: Told) -> Iterator[bytes]:
        if told.target == "/probe":
            yield response(b"", "Cache-Control: no-store")
        elif told.target == "/validated":
            lines = ("Cache-Control: max-age=60", 'ETag: "x"')
            if "if-none-match" in told.fields:
                assert self.head.wait(PATIENCE)
                yield response(b"", *lines, status="304 Not Modified").replace(b"Content-Length: 0\r\n", b"")
            else:
                yield response(b"body", *lines)
        elif told.target == "/private":
            if "x-number" in told.fields and not self.head.is_set():
                assert self.head.wait(PATIENCE)
            else:
                self.own.wait(PATIENCE)  # until all of them are here: they do not come one after the other
            yield response(told.fields["x-number"].encode(), "Cache-Control: private, max-age=60")
        else:
            assert self.head.wait(PATIENCE)
            size = LARGE if told.target == "/large" else 2 * HALF
            if told.target == "/chunked":
                yield b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n"
                yield b"%x\r\n%b\r\n" % (HALF, piece(0, HALF))
                assert self.rest.wait(PATIENCE)
                yield b"%x\r\n%b\r\n0\r\n\r\n" % (HALF, piece(HALF, HALF))
                return
            yield b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: %d\r\n\r\n" % size
            yield piece(0, HALF)
            assert self.rest.wait(PATIENCE)
            for at in range(HALF, size, HALF):
                yield piece(at, min(HALF, size - at))


class TogetherTests(SynchronousTestCase):
    """See the module."""

    def serve(self, answer: Answer, size: str = "64MiB") -> tuple[Origin, BalancerProcess]:
        """An origin, and the program in front of it, until the test ends."""
        stack = contextlib.ExitStack()
        self.addCleanup(stack.close)
        origin = stack.enter_context(Origin(answer))
        balancer = stack.enter_context(BalancerProcess(config=CONFIG.format(address=origin.address, size=size)))
        self.http = balancer.addresses["http"]
        self.addCleanup(lambda: self.assertEqual(origin.errors, []))
        return origin, balancer

    def seen(self) -> None:
        """What was sent before has been read by the balancer: it answers what was sent later."""
        for _ in range(2):
            ask(self.http, "/probe")

    def test_one_request_for_a_hundred(self) -> None:
        """A hundred clients miss: one request; each has the first half before the server sends the second; and each
        gets every byte, with a length that is known and without, stored or where the store has no room for it."""
        for target, size in (("/sized", "64MiB"), ("/chunked", "64MiB"), ("/sized", "1MiB")):
            with self.subTest(target=target, size=size):
                self.one_request(target, size)

    def one_request(self, target: str, size: str) -> None:
        """One of them, with a store of that size."""
        scripted = Scripted()
        origin, _ = self.serve(scripted, size)
        half = threading.Barrier(CLIENTS, action=scripted.rest.set)
        ready = threading.Barrier(CLIENTS, action=lambda: (self.seen(), scripted.head.set()))
        words = []

        def client(number: int) -> None:
            with Client(self.http) as client:
                client.send(target)
                ready.wait(2 * PATIENCE)
                head = client.head()
                words.append(head.headers["Cache-Status"])
                first = head.read(HALF)
                half.wait(2 * PATIENCE)
                body = first + head.read()
                assert len(body) == 2 * HALF and fits(0, body), f"{len(body)} bytes"

        together(CLIENTS, client)
        self.assertEqual(origin.asked(target), 1)
        self.assertEqual(sum("collapsed" in word for word in words), CLIENTS - 1, words[:3])
        later = ask(self.http, target)
        self.assertEqual(len(later.body), 2 * HALF)
        self.assertTrue(fits(0, later.body))
        self.assertEqual("; hit" in later.cache, size != "1MiB")

    def test_a_private_response_lets_all_go_at_once(self) -> None:
        """What may not be shared goes to the one who asked; the ninety-nine others are asked for all at one time, and
        each gets its own."""
        scripted = Scripted()
        origin, _ = self.serve(scripted)
        ready = threading.Barrier(CLIENTS, action=lambda: (self.seen(), self.once(origin), scripted.head.set()))

        def client(number: int) -> None:
            with Client(self.http) as client:
                client.send("/private", f"X-Number: {number}")
                ready.wait(2 * PATIENCE)
                reply = client.receive()
                assert reply.body == str(number).encode(), reply
                assert "hit" not in reply.cache and "collapsed" not in reply.cache, reply

        together(CLIENTS, client)
        self.assertEqual(origin.asked("/private"), CLIENTS)

    def once(self, origin: Origin) -> None:
        """One request came, before anything was answered."""
        origin.wait_for("/private")
        self.assertEqual(origin.asked("/private"), 1)

    def test_one_validation_for_a_hundred(self) -> None:
        """A soft purge, and a hundred clients: the server is asked once whether it is still good."""
        scripted = Scripted()
        origin, _ = self.serve(scripted)
        ask(self.http, "/validated")
        lines = ("Authorization: Bearer a-token-that-nobody-guesses", "Cache-Purge: soft")
        self.assertEqual(ask(self.http, "/validated", *lines, method="PURGE").body, b'{"purged": 1}\n')
        ready = threading.Barrier(CLIENTS, action=lambda: (self.seen(), scripted.head.set()))

        def client(number: int) -> None:
            with Client(self.http) as client:
                client.send("/validated")
                ready.wait(2 * PATIENCE)
                reply = client.receive()
                assert reply.body == b"body", reply
                assert reply.cache.startswith("balancer; fwd=stale; fwd-status=304; stored"), reply

        together(CLIENTS, client)
        self.assertEqual(origin.asked("/validated"), 2)
        self.assertIn("; hit", ask(self.http, "/validated").cache)

    def test_a_leader_that_is_cut_off(self) -> None:
        """The one who asked first resets its connection, before the head and in the middle of the body: the others get
        all of it from the one request, and it is stored."""
        for moment in ("head", "body"):
            with self.subTest(moment=moment):
                scripted = Scripted()
                origin, _ = self.serve(scripted)
                leader = Client(self.http)
                leader.send("/sized")
                origin.wait_for("/sized")
                others = [Client(self.http) for _ in range(20)]
                for other in others:
                    other.send("/sized")
                self.seen()
                if moment == "head":
                    leader.reset()
                    self.seen()
                scripted.head.set()
                heads = [other.head() for other in others]
                bodies = [head.read(HALF) for head in heads]
                if moment == "body":
                    leader.head().read(1000)
                    leader.reset()
                    self.seen()
                scripted.rest.set()
                bodies = [body + head.read() for body, head in zip(bodies, heads, strict=True)]
                self.assertEqual({len(body) for body in bodies}, {2 * HALF})
                self.assertTrue(all(fits(0, body) for body in bodies))
                self.assertIn("; hit", ask(self.http, "/sized").cache)
                self.assertEqual(origin.asked("/sized"), 1)
                for other in others:
                    other.close()

    def test_one_that_does_not_read(self) -> None:
        """A client that reads nothing keeps the others from nothing, and gets all of it when it reads."""
        scripted = Scripted()
        scripted.head.set()
        scripted.rest.set()
        origin, _ = self.serve(scripted)
        with Client(self.http) as slow:
            slow.send("/large")
            origin.wait_for("/large")

            def client(number: int) -> None:
                body = ask(self.http, "/large").body
                assert len(body) == LARGE and fits(0, body)

            together(10, client)
            body = slow.receive().body
        self.assertEqual(len(body), LARGE)
        self.assertTrue(fits(0, body))
        self.assertEqual(origin.asked("/large"), 1)

    def test_one_that_does_not_read_what_is_not_kept(self) -> None:
        """Where the store has no room for a large body everybody has one of his own, and waits for nobody."""
        scripted = Scripted()
        scripted.rest.set()
        origin, _ = self.serve(scripted, "1MiB")
        with Client(self.http) as slow:
            slow.send("/large")
            origin.wait_for("/large")
            ready = threading.Barrier(10, action=lambda: (self.seen(), scripted.head.set()))

            def client(number: int) -> None:
                with Client(self.http) as client:
                    client.send("/large")
                    ready.wait(2 * PATIENCE)
                    reply = client.receive()
                    assert len(reply.body) == LARGE and fits(0, reply.body)
                    assert reply.cache.endswith('; detail="not kept by the store"'), reply

            together(10, client)
            body = slow.receive().body
        self.assertEqual(len(body), LARGE)
        self.assertTrue(fits(0, body))
        self.assertEqual(origin.asked("/large"), 11)

    def test_all_leave(self) -> None:
        """Where all have left before anything came, the server's connection is given up, and the next one asks anew."""
        scripted = Scripted()
        origin, _ = self.serve(scripted)
        clients = [Client(self.http) for _ in range(5)]
        for client in clients:
            client.send("/sized")
        origin.wait_for("/sized")
        self.seen()
        for client in clients:
            client.reset()
        self.seen()
        with Client(self.http) as late:
            late.send("/sized")
            origin.wait_for("/sized", 2)
            scripted.head.set()
            scripted.rest.set()
            self.assertEqual(len(late.receive().body), 2 * HALF)
        origin.errors.clear()  # nobody was left to read its first answer
