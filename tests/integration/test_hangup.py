"""SIGHUP to a balancer as a user starts it: without a file, and while it starts."""

import os
import signal
import socket
import ssl
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.certificates import Authority
from balancer.testing.process import PATIENCE, BalancerProcess

ONE = """
[upstream.a]
servers = ["127.0.0.1:9"]
check = "none"
[listener.one]
listen = "tcp:0:interface=127.0.0.1"
to = "a"
"""
TWO = ONE + ONE[ONE.index("[listener") :].replace("one", "two")


class HangupTests(SynchronousTestCase):
    """What the signal does."""

    def setUp(self) -> None:
        """A directory."""
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def test_without_a_file_certificates_are_read_again(self) -> None:
        """A balancer without --config says that there is no file, and shows the certificate that is there by now."""
        authority = Authority(str(self.directory))
        shown = self.directory / "shown.pem"
        shown.write_bytes(Path(authority.issue("old.example")).read_bytes())
        options = ("--https", "127.0.0.1:0", "--cert", str(shown), "--to", "127.0.0.1:9")
        with BalancerProcess(*options) as balancer:
            (address,) = balancer.addresses.values()
            self.assertIn("old.example", self.name_shown(authority, address, "old.example"))
            shown.write_bytes(Path(authority.issue("new.example")).read_bytes())
            balancer.process.send_signal(signal.SIGHUP)
            balancer.wait_for("SIGHUP: started without --config")
            balancer.wait_for("has new certificates")
            self.assertIn("new.example", self.name_shown(authority, address, "new.example"))
            self.assertIsNone(balancer.process.poll())

    def name_shown(self, authority: Authority, address: tuple[str, int], name: str) -> str:
        """The names of the certificate that a client gets who asks for this one, and verifies it."""
        context = ssl.create_default_context(cafile=authority.file)
        with (
            socket.create_connection(address, PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname=name) as client,
        ):
            return str(client.getpeercert())

    def test_the_demonstration_goes_on(self) -> None:
        """The demonstration, which has nothing to read again, says so and goes on."""
        options = ("--demo", "--http", "127.0.0.1:0", "--tcp", "127.0.0.1:0")
        with BalancerProcess(*options, expect=2) as balancer:
            balancer.wait_for(r"127\.0\.0\.1:\d+ is up: ")  # the reactor runs
            balancer.process.send_signal(signal.SIGHUP)
            balancer.wait_for("SIGHUP: the demonstration has nothing to read again")
            self.assertIsNone(balancer.process.poll())

    def test_while_it_starts(self) -> None:
        """A signal that comes while the file is read is heeded when the balancer runs: the file is read again."""
        fifo = self.directory / "balancer.toml"
        os.mkfifo(fifo)
        with BalancerProcess("--config", str(fifo), expect=0) as balancer:
            with fifo.open("w") as file:  # opens when the balancer opens it for reading
                balancer.process.send_signal(signal.SIGHUP)
                file.write(ONE)
            balancer.wait_for("listener 'one' is open")
            with fifo.open("w") as file:
                file.write(TWO)
            balancer.wait_for("listener 'two' is open")
