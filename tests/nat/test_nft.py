"""One run of ``nft``, by a reactor that starts no process."""

import json
import subprocess
from typing import Any

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from balancer.errors import NatError
from balancer.nat import nft
from balancer.nat.nft import MOST_ANSWER, Nft, complaint, run_now, tool

COMMANDS = [{"add": {"table": {"family": "inet", "name": "t"}}}]


class Spawning(Clock):
    """Keeps what was to be started, in place of its transport."""

    def spawnProcess(self, talk: Any, path: str, words: list[str], env: dict[str, str]) -> None:
        self.talk, self.words, self.env = talk, words, env
        self.written, self.closed, self.signals = b"", False, list[str]()
        talk.makeConnection(self)

    def write(self, data: bytes) -> None:
        self.written += data

    def closeStdin(self) -> None:
        self.closed = True

    def signalProcess(self, name: str) -> None:
        self.signals.append(name)

    def say(self, text: bytes, where: int = 1) -> None:
        """The process says something."""
        self.talk.childDataReceived(where, text)

    def end(self, code: int = 0) -> None:
        """The process ends."""
        self.talk.processEnded(Failure(ProcessTerminated(code) if code else ProcessDone(0)))


class NftTests(SynchronousTestCase):
    """``Nft.run``."""

    def setUp(self) -> None:
        self.patch(nft, "tool", lambda: "/usr/sbin/nft")
        self.reactor = Spawning()
        self.running = Nft(self.reactor, 5.0).run(COMMANDS)

    def refused(self) -> str:
        """Why it failed; nothing is left to be done."""
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        return str(self.failureResultOf(self.running, NatError).value)

    def test_transaction(self) -> None:
        """The commands go in as JSON, and messages are asked for in English."""
        self.assertEqual(self.reactor.words, ["/usr/sbin/nft", "-j", "-f", "-"])
        self.assertEqual((json.loads(self.reactor.written), self.reactor.closed), ({"nftables": COMMANDS}, True))
        self.assertEqual(self.reactor.env["LC_ALL"], "C")
        self.reactor.end()
        self.assertEqual(self.successResultOf(self.running), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_answer(self) -> None:
        """What it lists comes back, in however many pieces it was said; what is no object is passed over."""
        for byte in b'{"nftables": [{"counter": {}}, 7]}\n':
            self.reactor.say(bytes([byte]))
        self.reactor.end()
        self.assertEqual(self.successResultOf(self.running), [{"counter": {}}])

    def test_complaint(self) -> None:
        """What it complains of is told, with what helps."""
        self.reactor.say(b"internal:0:0-0: Error: Could not process rule: Operation not permitted\n\n^^^\n", 2)
        self.reactor.end(1)
        self.assertIn("CAP_NET_ADMIN", self.refused())

    def test_no_json(self) -> None:
        """Answers of another form are an error, not a crash."""
        for answer in (b"table inet t", b"[1]", b'{"nftables": 7}', b"\xff"):
            running = Nft(self.reactor, 5.0).run(COMMANDS)
            self.reactor.say(answer)
            self.reactor.end()
            self.assertIn("no JSON", str(self.failureResultOf(running, NatError).value))

    def test_too_slow(self) -> None:
        """One that does not answer is ended."""
        self.reactor.advance(5.0)
        self.assertEqual(self.reactor.signals, ["KILL"])
        self.reactor.end(9)
        self.assertEqual(self.refused(), "nft did not answer within 5 s")

    def test_too_much(self) -> None:
        """One that says too much is ended, once."""
        self.reactor.say(b" " * MOST_ANSWER)
        self.assertEqual(self.reactor.signals, [])
        self.reactor.say(b"  ")
        self.reactor.say(b"  ")
        self.assertEqual(self.reactor.signals, ["KILL"])
        self.reactor.end(9)
        self.assertIn("more than", self.refused())


class ToolTests(SynchronousTestCase):
    """Where it is, and waiting for it."""

    def test_nowhere(self) -> None:
        """Without nft the error says what to install, waiting or not."""
        self.patch(nft.shutil, "which", lambda *_, **__: None)
        self.assertRaisesRegex(NatError, "install nftables", tool)
        self.assertRaisesRegex(NatError, "install nftables", run_now, [], 1.0)
        self.failureResultOf(Nft(Spawning(), 1.0).run([]), NatError)

    def test_waiting(self) -> None:
        """``run_now`` answers as ``Nft`` does; a process that fails, hangs or cannot start is an error that says so."""
        self.patch(nft, "tool", lambda: "/usr/sbin/nft")

        def ending(code: int, out: bytes, err: bytes = b"") -> Any:
            return lambda *_, **__: subprocess.CompletedProcess([], code, out, err)

        def raising(error: Exception) -> Any:
            def run(*_: object, **__: object) -> None:
                raise error

            return run

        self.patch(nft.subprocess, "run", ending(0, b'{"nftables": [{"a": 1}]}'))
        self.assertEqual(run_now([], 1.0), [{"a": 1}])
        for run, words in (
            (ending(1, b"", b"Error: Operation not supported"), "this kernel lacks"),
            (raising(subprocess.TimeoutExpired("nft", 1.0)), "did not answer within 1 s"),
            (raising(OSError("no such")), "cannot be run"),
            (ending(0, b"x"), "cannot be run"),
        ):
            self.patch(nft.subprocess, "run", run)
            self.assertRaisesRegex(NatError, words, run_now, [], 1.0)

    def test_words(self) -> None:
        """A complaint is one line of bounded length, whatever was said."""
        self.assertEqual(complaint(""), "nft: no reason was given")
        self.assertEqual(complaint("\n warning \n x: Error: bad\nmore"), "nft: x: Error: bad")
        self.assertLess(len(complaint("Error " * 1000)), 400)
