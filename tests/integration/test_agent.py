"""A real agent, judged by us and by a real HAProxy: the same words have the same outcome."""

import csv
import io
import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.peers import SocketServer, free_port, need
from balancer.testing.process import PATIENCE, BalancerProcess

AGENT = """
import pathlib, socketserver, sys
class Answer(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(pathlib.Path(sys.argv[1]).read_bytes())
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
server = Server(("127.0.0.1", int(sys.argv[2])), Answer)
print("ready", flush=True)
server.serve_forever()
"""
"""Agents are small scripts like this one: whatever is in a file is the answer."""

CONFIG = """
[upstream.web]
servers = [{{ address = "{agented}", weight = 100, max_connections = 50 }}, {{ address = "{plain}", weight = 100 }}]
balance = "roundrobin"
check = {{ type = "tcp", interval = "200ms", fast_interval = "50ms", rise = 1, fall = 1 }}
agent = {{ port = {port}, interval = "50ms" }}
[listener.web]
listen = "tcp:0:interface=127.0.0.1"
to = "web"
"""
HAPROXY = """
global
  stats socket {socket} level admin
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen web
  bind 127.0.0.1:{port}
  balance roundrobin
  default-server check inter 200ms rise 1 fall 1 weight 100
  server agented {agented} maxconn 50 agent-check agent-port {agent} agent-inter 50ms
  server plain {plain}
"""


def serve(name: bytes, host: str) -> SocketServer:
    """An HTTP server that answers with its name."""

    def handle(connection: socket.socket) -> None:
        data = b""
        while more := connection.recv(65536):
            data += more
            while b"\r\n\r\n" in data:
                _, _, data = data.partition(b"\r\n\r\n")
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(name), name))

    return SocketServer(handle, host=host)


def shares(port: int, requests: int = 40) -> Counter[str]:
    """Who answered how many requests, each on a connection of its own."""
    found: Counter[str] = Counter()
    for _ in range(requests):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            received = b""
            while data := client.recv(65536):
                received += data
        found[received.rpartition(b"\r\n\r\n")[2].decode()] += 1
    return found


class AgentTests(SynchronousTestCase):
    """See the module. The server that has an agent shares an upstream with one whose agent is not there."""

    def setUp(self) -> None:
        self.program = need("haproxy", "haproxy")
        stack = ExitStack()
        self.addCleanup(stack.close)
        self.directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agent-test-")))
        agented = stack.enter_context(serve(b"agented", "127.0.0.1"))
        plain = stack.enter_context(serve(b"plain", "127.0.0.2"))  # where no agent is
        self.port = free_port()
        self.words = self.directory / "words"
        self.say("up ready 100% maxconn:50")
        self.agent = self.start_agent()
        stack.callback(self.end, self.agent)
        self.places = places = {"agented": agented.address, "plain": plain.address}
        self.ours = stack.enter_context(BalancerProcess(config=CONFIG.format(**places, port=self.port)))
        self.theirs = free_port()
        self.stats = self.directory / "stats"
        text = HAPROXY.format(**places, socket=self.stats, port=self.theirs, agent=self.port)
        (self.directory / "haproxy.cfg").write_text(text)
        haproxy = subprocess.Popen([self.program, "-db", "-f", str(self.directory / "haproxy.cfg")])
        stack.callback(self.end, haproxy)
        self.eventually(lambda: self.stats.exists() and self.at_haproxy("status") == "UP", "HAProxy")

    def start_agent(self) -> "subprocess.Popen[str]":
        """The script."""
        script = self.directory / "agent.py"
        script.write_text(AGENT)
        words = [sys.executable, str(script), str(self.words), str(self.port)]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), "ready\n")
        return process

    def end(self, process: "subprocess.Popen[str] | subprocess.Popen[bytes]") -> None:
        """End it."""
        process.kill()
        process.wait(PATIENCE)
        if process.stdout is not None:
            process.stdout.close()

    def say(self, words: str) -> None:
        """What the agent answers from now on: all of it, or what it was."""
        new = self.directory / "words.new"
        new.write_text(f"{words}\n")
        os.replace(new, self.words)

    def eventually(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until something holds."""
        pause = threading.Event()
        for _ in range(int(PATIENCE / 0.05)):
            if condition():
                return
            pause.wait(0.05)
        raise AssertionError(f"{what} did not come; we said:\n{self.ours.log}")

    def at_haproxy(self, column: str) -> str:
        """What HAProxy says of the server, as ``show stat`` has it."""
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.stats))
            except OSError:
                return ""
            client.sendall(b"show stat\n")
            text = b""
            while data := client.recv(65536):
                text += data
        rows = csv.DictReader(io.StringIO(text.decode().removeprefix("# ")))
        return next(row[column] for row in rows if row["svname"] == "agented")

    def test_the_same_words_have_the_same_outcome(self) -> None:
        """For each of the protocol's words both give the server the same share of forty requests, and HAProxy's
        status is what our log says."""
        steps = [
            ("drain", "DRAIN", "draining", 0),
            ("ready", "UP", "enabled", 20),
            ("maint", "MAINT", "in maintenance", 0),
            ("ready", "UP", "enabled", 20),
            ("down #no disk", "DOWN", "down", 0),
            ("up", "UP", "up", 20),
            ("fail", "DOWN", "down", 0),
            ("UP,ready", "UP", "up", 20),
            ("stopped\t#at night", "DOWN", "down", 0),
            ("up", "UP", "up", 20),
            ("25%", "UP", "advised", 8),
            ("0%", "UP", "advised", 0),  # DRAIN on its page, but not here
            ("100% up ready nonsense", "UP", "advised", 20),
        ]
        for number, (words, status, ours, share) in enumerate(steps):
            with self.subTest(words=words):
                seen = len(self.ours.lines)
                self.say(words)
                first = re.split(r"[ ,\t]", words)[0]
                said = re.compile(rf"{re.escape(self.places['agented'])} is {ours}: .*says {first}")
                self.ours.wait_until(
                    lambda seen=seen, said=said: any(map(said.search, self.ours.lines[seen:])), f"{number}: {words}"
                )
                self.eventually(
                    lambda status=status: self.at_haproxy("status").startswith(status), f"HAProxy's {status}"
                )
                self.eventually(
                    lambda share=share: self.even(self.ours.addresses["web"][1], share), f"our share {share}"
                )
                self.eventually(lambda share=share: self.even(self.theirs, share), f"HAProxy's share {share}")
        self.assertIn("'nonsense' is no word of the protocol", self.ours.log)
        self.assertIn("(no disk)", self.ours.log)

    def even(self, port: int, share: int) -> bool:
        """Whether the server gets that part of forty requests, give or take where its turn was."""
        return abs(shares(port)["agented"] - share) <= (1 if share else 0)

    def test_the_limit(self) -> None:
        """maxconn: HAProxy shows what the agent said as its limit; ours is told with the same number."""
        self.say("maxconn:7")
        self.ours.wait_for(r"is advised: .*says maxconn:7")
        self.eventually(lambda: self.at_haproxy("slim") == "7", "HAProxy's limit")

    def test_an_agent_that_dies(self) -> None:
        """Its last word stays, with both, and another process at its place brings the server back."""
        self.say("drain")
        self.ours.wait_for("is draining: ")
        self.eventually(lambda: self.at_haproxy("status").startswith("DRAIN"), "HAProxy's drain")
        self.end(self.agent)
        silent = f"{self.places['agented']}: its agent does not answer, what it said last stays: .*refused"
        self.ours.wait_for(silent)
        self.assertEqual(shares(self.ours.addresses["web"][1]), Counter(plain=40))
        self.assertEqual(shares(self.theirs), Counter(plain=40))
        self.say("ready")
        self.agent = self.start_agent()
        self.addCleanup(self.end, self.agent)
        self.ours.wait_for("is enabled: ")
        self.eventually(lambda: self.even(self.ours.addresses["web"][1], 20), "our share")
        self.eventually(lambda: self.even(self.theirs, 20), "HAProxy's share")
