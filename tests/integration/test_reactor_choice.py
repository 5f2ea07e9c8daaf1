"""Which reactor ``twistd balancer`` runs on."""

import os

from twisted.trial.unittest import SynchronousTestCase

from balancer.testing.process import BalancerProcess

QUICK = ("--tcp", "127.0.0.1:0", "--to", "127.0.0.1:9")


class ReactorChoiceTests(SynchronousTestCase):
    """Named, and not named."""

    def test_not_named(self) -> None:
        """Where no reactor is named uvloop's is taken, and one log line says so."""
        chosen = os.environ.pop("BALANCER_TEST_REACTOR", None)
        try:
            with BalancerProcess(*QUICK) as balancer:
                balancer.wait_for(r"reactor class: balancer\.net\.uvloop_reactor\.UvloopReactor")
                said = [line for line in balancer.lines if "no reactor was named: uvloop" in line]
        finally:
            if chosen is not None:
                os.environ["BALANCER_TEST_REACTOR"] = chosen
        self.assertEqual(len(said), 1)

    def test_named(self) -> None:
        """A reactor that is named is left alone, and so is uvloop's when it is named."""
        for name, kind in (("epoll", "EPollReactor"), ("uvloop", "UvloopReactor")):
            with self.subTest(name=name), BalancerProcess(*QUICK, reactor=name) as balancer:
                balancer.wait_for(rf"reactor class: .*\.{kind}")
                self.assertNotIn("no reactor was named", balancer.log)
