"""SIGHUP before there is anybody to hear it."""

import os
import signal

from twisted.application.service import IServiceMaker
from twisted.trial.unittest import SynchronousTestCase

from balancer import plugins
from balancer.hangup import Hangup


class HangupTests(SynchronousTestCase):
    """In this process."""

    def setUp(self) -> None:
        """Its disposition comes back afterwards."""
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.done: list[str] = []

    def hang_up(self) -> None:
        """A signal to ourselves, whose handler has run when this returns."""
        os.kill(os.getpid(), signal.SIGHUP)

    def test_kept_and_given(self) -> None:
        """What comes early ends nothing and is done once, later; what comes then is done each time."""
        hangup = Hangup()
        hangup.hold()
        self.hang_up()
        self.hang_up()
        hangup.give(lambda: self.done.append("early" if len(self.done) < 1 else "later"))
        self.assertEqual(self.done, ["early"])
        self.hang_up()
        self.hang_up()
        self.assertEqual(self.done, ["early", "later", "later"])

    def test_nothing_came(self) -> None:
        """Where nothing came nothing is done; and to hold what was given already changes nothing."""
        hangup = Hangup()
        hangup.hold()
        hangup.give(lambda: self.done.append("done"))
        hangup.hold()
        self.assertEqual(self.done, [])
        self.hang_up()
        self.assertEqual(self.done, ["done"])

    def test_the_command_holds_it(self) -> None:
        """Asked for its options, the command keeps the signal before it imports them."""
        hangup = Hangup()
        self.patch(plugins, "HANGUP", hangup)
        command = plugins.Command("balancer", "balancer.tap", "words", "balancer")
        loading = plugins._load

        def load(reference: str) -> object:
            self.hang_up()
            return loading(reference)

        self.patch(plugins, "_load", load)
        self.assertEqual(command.options.__name__, "Options")
        hangup.give(lambda: self.done.append("done"))
        self.assertEqual(self.done, ["done"])

    def test_it_is_the_command(self) -> None:
        """What twistd finds is such a command."""
        found = plugins.every(IServiceMaker)
        self.assertIs(type(found["balancer"]), plugins.Command)
