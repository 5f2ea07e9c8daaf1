"""The corpus of malformed requests through the whole engine: answered as it says, however it comes, never forwarded."""

import re
from pathlib import Path
from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.http1.limits import HttpLimits
from balancer.testing.corpus import Case, load
from balancer.testing.http import Bench, Party

CORPUS = Path(__file__).parent.parent / "http1" / "corpus"
REFUSED = [case for case in load(CORPUS, "requests") if case.status is not None]
BAD = [case for case in load(CORPUS, "responses") if case.bad]
STATUS_LINE = re.compile(rb"HTTP/1\.1 [0-9]{3} ")
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: x\r\n\r\n"


def cuts(data: bytes, random: Random) -> list[list[bytes]]:
    """The data whole, byte by byte (in pieces of 97 where that were too many), and cut at random."""
    step = 1 if len(data) < 1000 else 97
    places = sorted(random.randrange(len(data) + 1) for _ in range(5))
    bounds = [0, *places, len(data)]
    return [
        [data],
        [data[at : at + step] for at in range(0, len(data), step)],
        [data[start:end] for start, end in zip(bounds, bounds[1:], strict=False) if start < end],
    ]


def answered(bench: Bench, client: Party, pieces: list[bytes]) -> tuple[bytes, list[bytes]]:
    """Feed the pieces, answer every request that becomes complete; what client and backends received."""
    backends: list[Party] = []
    for piece in pieces:
        client.transport.write(piece)
        bench.run()
        while True:
            if len(bench.connects) > len(backends) and bench.upstream.active:
                backends.append(bench.accept())
            if not (backends and bench.upstream.active and complete(backends[-1].received)):
                break
            backends[-1].received += b"|"
            bench.send(backends[-1], OK)
    return client.received, [backend.received for backend in backends]


def complete(received: bytes) -> bool:
    """Whether what a backend got since it last answered is a whole request."""
    request = received.rpartition(b"|")[2]
    head, end, body = request.partition(b"\r\n\r\n")
    if not end:
        return False
    lines = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
    if b"transfer-encoding" in lines:
        return body.endswith(b"0\r\n\r\n")
    return len(body) >= int(lines.get(b"content-length", b"0"))


class CorpusTests(SynchronousTestCase):
    """Bar 8 at the engine."""

    def limits(self, case: Case) -> dict[str, Any]:
        """The bench's settings for a case."""
        return {"limits": HttpLimits(**case.limits)}

    def test_refused_requests(self) -> None:
        """Each is answered with its status and closes, the same whole, byte by byte and randomly cut; where its head
        is at fault no backend hears of it, where its body is no backend gets its end."""
        random = Random(8)
        for case in REFUSED:
            answers = set()
            for pieces in cuts(case.data, random):
                bench = Bench(**self.limits(case))
                client = bench.client()
                received, backends = answered(bench, client, pieces)
                self.assertEqual(received.count(OK), len(case.messages), case.id)
                last = received[[found.start() for found in STATUS_LINE.finditer(received)][-1] :]
                self.assertTrue(last.startswith(b"HTTP/1.1 %d " % case.status), (case.id, received))
                self.assertIn(b"\r\nConnection: close\r\n", last, case.id)
                self.assertNotEqual(client.closed, "open", case.id)
                answers.add(received)
                seen = b"".join(backends).split(b"|")
                whole = [request for request in seen if request]
                # One refused in its body is not even begun where the refusal comes before the connection.
                allowed = {len(case.messages), len(case.messages) + (case.stage == "body")}
                self.assertIn(len(whole), allowed, (case.id, backends))
                if case.stage == "body" and whole:
                    self.assertFalse(complete(whole[-1]) and len(whole) > len(case.messages), (case.id, whole))
                self.assertEqual(bench.upstream.active, 0, case.id)
            self.assertEqual(len(answers), 1, case.id)

    def test_bad_responses(self) -> None:
        """Each becomes a 502, or aborts the client where the response had begun, however it is cut."""
        random = Random(9)
        for case in BAD:
            if case.method == b"CONNECT":
                continue
            for pieces in cuts(case.data, random) if case.data else [[]]:
                bench = Bench(**self.limits(case))
                client = bench.client(b"%b / HTTP/1.1\r\nHost: test\r\n\r\n" % case.method)
                backend = bench.accept()
                for piece in pieces:
                    bench.send(backend, piece)
                if case.eof:
                    bench.close(backend)
                if any(message.get("status", 200) >= 200 for message in case.messages):
                    # A good response came first; what follows must not become the next one's.
                    self.assertEqual(bench.http["web"].idle, 0, case.id)
                elif case.stage == "head":
                    final = client.received[client.received.rfind(b"HTTP/1.1 ") :]
                    self.assertTrue(final.startswith(b"HTTP/1.1 502 "), (case.id, client.received))
                else:
                    self.assertEqual(client.closed, "reset", (case.id, client.received))
                self.assertNotEqual(backend.closed, "open", case.id)
                self.assertEqual(bench.upstream.active, 0, case.id)
