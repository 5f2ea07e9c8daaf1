"""What the machine can do, asked without a trace."""

import tempfile
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from balancer.core.nat_policy import NatPolicy
from balancer.errors import NatError
from balancer.nat import ability
from balancer.nat.ability import inability, not_forwarding


class AbilityTests(SynchronousTestCase):
    """``inability`` and ``not_forwarding``."""

    def test_leaves_nothing(self) -> None:
        """One transaction makes a table of its own with all that rules may have, and takes it out."""
        asked: list[tuple[list[dict[str, Any]], float]] = []
        self.patch(ability, "run_now", lambda commands, timeout: asked.append((commands, timeout)))
        self.assertEqual(inability(NatPolicy(timeout=2.0)), "")
        ((commands, timeout),) = asked
        self.assertEqual(timeout, 2.0)
        tables = [command["delete"]["table"] for command in commands if "table" in command.get("delete", {})]
        self.assertEqual(commands[-1], {"delete": {"table": tables[0]}})
        self.assertNotEqual(tables[0]["name"], NatPolicy().table)
        text = str(commands)
        for word in ("numgen", "'inc'", "'random'", "jhash", "fib", "masquerade", "snat", "reject", "ip6", "udp"):
            self.assertIn(word, text)

    def test_cannot(self) -> None:
        """Why not is passed on."""

        def run_now(*_: object) -> None:
            raise NatError("no nft")

        self.patch(ability, "run_now", run_now)
        self.assertEqual(inability(NatPolicy()), "no nft")

    def test_forwarding(self) -> None:
        """Each family that the machine does not forward is told once, with the command that turns it on."""
        with tempfile.TemporaryDirectory() as directory:
            on, off = Path(directory) / "on", Path(directory) / "off"
            on.write_text("1\n")
            off.write_text("0\n")
            self.patch(ability, "FORWARDING", {4: (str(on), "net.four"), 6: (str(off), "net.six")})
            self.assertEqual(not_forwarding([4, 4]), [])
            (warning,) = not_forwarding([6, 4, 6])
            self.assertIn("sysctl -w net.six=1", warning)
            self.patch(ability, "FORWARDING", {4: (f"{directory}/none", "net.four")})
            self.assertEqual(len(not_forwarding([4])), 1)
