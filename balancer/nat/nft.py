"""Runs ``nft``: one transaction of JSON in, its answer out, never more than a limit of either time or bytes.

The reactor is not blocked: :class:`Nft` starts a process of it (and so needs a reactor that was run with its signal
handlers, as twistd's is). Only before anything is served (:func:`run_now`) the program waits. It never decides what is
run.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ProcessDone
from twisted.internet.protocol import ProcessProtocol
from twisted.python.failure import Failure

from balancer.errors import NatError

MOST_ANSWER = 16 << 20
"""Bytes of an answer: a listing of 10,000 servers' counters is 4 MiB."""

MOST_WORDS = 300
"""Characters of what ``nft`` says that are passed on: its first complaint, not all the rules it shows with it."""

_PLACES = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where it is, though the PATH of an ordinary user does not have it."""

_REMEDIES = {
    "Operation not permitted": "the privilege is missing: start as root, or grant CAP_NET_ADMIN (and do not drop it)",
    "Operation not supported": "this kernel lacks what NAT by nftables needs (nf_tables, nft_nat, nft_numgen, "
    "nft_hash, nft_fib, nft_reject)",
    "Protocol not supported": "this kernel has no nf_tables",
}


class Nft:
    """The tool, on a reactor.

    :param reactor: starts processes, and ends those that take too long.
    :ivar timeout: seconds.
    """

    def __init__(self, reactor: Any, timeout: float) -> None:
        self.timeout = timeout
        self._reactor = reactor

    def __repr__(self) -> str:
        return f"<Nft timeout={self.timeout:g}>"

    def run(self, commands: Sequence[dict[str, Any]]) -> "Deferred[list[dict[str, Any]]]":
        """Run one transaction: all of it happens or nothing.

        :returns: what it answers; or a :class:`~balancer.errors.NatError`.
        """
        try:
            path = tool()
            talk = _Talk(_written(commands), self._reactor, self.timeout)
            self._reactor.spawnProcess(talk, path, [path, "-j", "-f", "-"], env=_environment())
        except NatError as error:
            return fail(error)
        except OSError as error:
            return fail(NatError(f"nft cannot be started: {error}"))
        return talk.done


class _Talk(ProcessProtocol):
    """One run."""

    transport: Any

    def __init__(self, text: bytes, reactor: Any, timeout: float) -> None:
        self.done: Deferred[list[dict[str, Any]]] = Deferred()
        self._text = text
        self._told: dict[int, bytearray] = {1: bytearray(), 2: bytearray()}
        self._wrong = ""
        self._timer = reactor.callLater(timeout, self._end, f"nft did not answer within {timeout:g} s")

    def connectionMade(self) -> None:
        """It runs."""
        self.transport.write(self._text)
        self.transport.closeStdin()

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """It says something."""
        self._told[childFD] += data
        if len(self._told[childFD]) > MOST_ANSWER:
            self._end(f"nft answered more than {MOST_ANSWER} bytes")

    def processEnded(self, reason: Failure) -> None:
        """It is gone, and all it said is here."""
        if self._timer.active():
            self._timer.cancel()
        if self._wrong or not reason.check(ProcessDone):
            words = self._wrong or complaint(bytes(self._told[2]).decode(errors="replace"))
            self.done.errback(NatError(words))
            return
        try:
            answer = _read(bytes(self._told[1]))
        except ValueError as error:
            self.done.errback(NatError(f"nft answered what is no JSON: {error}"))
        else:
            self.done.callback(answer)

    def _end(self, why: str) -> None:
        if not self._wrong:
            self._wrong = why
            self.transport.signalProcess("KILL")


def run_now(commands: Sequence[dict[str, Any]], timeout: float) -> list[dict[str, Any]]:
    """The same, and wait for it: before the reactor runs.

    :raises NatError: it did not do it.
    """
    path = tool()
    try:
        ended = subprocess.run(
            [path, "-j", "-f", "-"], input=_written(commands), capture_output=True, timeout=timeout, env=_environment()
        )
        if ended.returncode:
            raise NatError(complaint(ended.stderr.decode(errors="replace")))
        return _read(ended.stdout)
    except subprocess.TimeoutExpired:
        raise NatError(f"nft did not answer within {timeout:g} s") from None
    except (OSError, ValueError) as error:
        raise NatError(f"nft cannot be run: {error}") from error


def tool() -> str:
    """Where ``nft`` is.

    :raises NatError: nowhere.
    """
    path = shutil.which("nft", path=os.pathsep.join([os.environ.get("PATH", os.defpath), *_PLACES]))
    if path is None:
        raise NatError("there is no nft on this machine: install nftables (Debian: apt install nftables)")
    return path


def complaint(text: str) -> str:
    """What ``nft`` complains of, in one line, and what helps."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = next((line for line in lines if "Error" in line), lines[0] if lines else "no reason was given")
    remedy = next((words for sign, words in _REMEDIES.items() if sign in text), "")
    return f"nft: {first[:MOST_WORDS]}" + (f"; {remedy}" if remedy else "")


def _written(commands: Sequence[dict[str, Any]]) -> bytes:
    return json.dumps({"nftables": list(commands)}).encode()


def _read(answer: bytes) -> list[dict[str, Any]]:
    """What it lists; nothing where it says nothing.

    :raises ValueError: it is no JSON of the form that nft has.
    """
    if not answer.strip():
        return []
    read = json.loads(answer)
    if not isinstance(read, dict) or not isinstance(listed := read.get("nftables", []), list):
        raise ValueError('an object with a list "nftables" was expected')
    return [item for item in listed if isinstance(item, dict)]


def _environment() -> dict[str, str]:
    """Messages in English: their meaning is looked at."""
    return {**os.environ, "LC_ALL": "C"}
