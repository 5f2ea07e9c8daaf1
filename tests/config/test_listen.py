"""Where listeners listen, as text."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.endpoints import serverFromString
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.listen import ALLOWED, Place, checked_listen, description, place, split_place


class PlaceTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        """Port, interface and path are read, positional or named, with escapes."""
        for text, expected in (
            ("tcp:8080", Place("tcp", 8080)),
            ("tcp:port=8080:backlog=5", Place("tcp", 8080)),
            ("tcp:80:interface=127.0.0.1", Place("tcp", 80, "127.0.0.1")),
            (r"tcp6:80:interface=\:\:1", Place("tcp6", 80, "::1")),
            ("tcp:0", Place("tcp", 0)),
            ("ssl:443:privateKey=k.pem:certKey=c.pem", Place("ssl", 443)),
            (r"unix:/run/a\:b", Place("unix", 0, "/run/a:b")),
            ("udp:53", Place("udp", 53)),
            (r"udp6:53:interface=\:\:1", Place("udp6", 53, "::1")),
            ("udp:53:interface=127.0.0.1", Place("udp", 53, "127.0.0.1")),
            ("udp6:53", Place("udp6", 53)),
            ("systemd:domain=INET:index=0", Place("systemd")),
            ("plugin:what=ever", Place("plugin")),
        ):
            self.assertEqual(place(text), expected, text)

    def test_refused(self) -> None:
        """What no endpoint could be made of is refused with what is allowed."""
        for text in (
            "", "tcp", "tcp:", "tcp:http", "tcp:65536", "tcp:-1", "tcp:80:81", "tcp:80:interfaec=::1", "unix:", "unix",
            "tcp:80:interface=a=b", "nonsense", ":80", "tcp:80\\", "tcp:\u0663",
        ):  # fmt: skip
            with self.assertRaises(ValueError, msg=text) as caught:
                checked_listen(text)
            self.assertIn(ALLOWED, str(caught.exception))

    def test_datagrams(self) -> None:
        """Datagrams collide with datagrams alone, and take no backlog."""
        self.assertFalse(place("udp:53").collides(place("tcp:53")))
        self.assertFalse(place("udp:53").collides(place("udp6:53")))
        self.assertTrue(place("udp:53").collides(place("udp:53:interface=127.0.0.1")))
        with self.assertRaises(ValueError):
            place("udp:53:backlog=5")
        self.assertEqual(description("::1", 53, "udp"), r"udp6:53:interface=\:\:1")
        self.assertEqual(description("", 53, "udp"), "udp:53")

    def test_bare_port(self) -> None:
        """A port or an address is answered with the description it would be, as TOML writes it."""
        for text, meant in (
            ("8080", '"tcp:8080"'),
            ("127.0.0.1:80", '"tcp:80:interface=127.0.0.1"'),
            ("[::1]:80", '"tcp6:80:interface=\\\\:\\\\:1"'),
        ):
            with self.assertRaises(ValueError) as caught:
                place(text)
            self.assertIn(f"here {meant}", str(caught.exception))

    def test_unknown_option(self) -> None:
        """An option that the kind does not take is named, with those it takes."""
        with self.assertRaises(ValueError) as caught:
            place("tcp:80:interfaec=x")
        self.assertIn('tcp does not take "interfaec", it takes port, interface, backlog', str(caught.exception))

    @given(st.text(alphabet="tcp6unix:=\\/0123456789. ", max_size=30))
    @settings(max_examples=200, deadline=None)
    def test_any_text(self, text: str) -> None:
        """Any text is a place or a ValueError."""
        try:
            place(text)
        except ValueError as error:
            self.assertIn("allowed" if not str(error) else "a Twisted endpoint description", str(error))

    def test_twisted_agrees(self) -> None:
        """What is accepted of Twisted's own kinds, Twisted accepts."""
        for text in ("tcp:8080", "tcp:port=8080:backlog=5", r"tcp6:80:interface=\:\:1", r"unix:/run/a\:b:mode=600"):
            place(text)
            self.assertIsNotNone(serverFromString(MemoryReactorClock(), text))


class CollisionTests(SynchronousTestCase):
    def test_collide(self) -> None:
        """Two places collide where both cannot be open, in either order."""
        for one, other, collide in (
            ("tcp:80", "tcp:80", True),
            ("tcp:80", "ssl:80:privateKey=k", True),
            ("tcp:80", "tcp:80:interface=127.0.0.1", True),
            ("tcp:80:interface=0.0.0.0", "tcp:80:interface=127.0.0.1", True),
            ("tcp:80:interface=127.0.0.2", "tcp:80:interface=127.0.0.1", False),
            ("tcp:80", "tcp:81", False),
            ("tcp:0", "tcp:0", False),
            ("tcp:80", "tcp6:80", False),
            ("udp:53", "udp:53:interface=127.0.0.1", True),
            ("udp:53", "tcp:53", False),
            ("udp:53", "udp6:53", False),
            (r"tcp6:80:interface=\:\:", r"tcp6:80:interface=\:\:1", True),
            ("unix:/a", "unix:/a", True),
            ("unix:/a", "unix:/b", False),
            ("unix:/a", "tcp:80", False),
        ):
            self.assertIs(place(one).collides(place(other)), collide, (one, other))
            self.assertIs(place(other).collides(place(one)), collide, (other, one))


class SplitTests(SynchronousTestCase):
    def test_forms(self) -> None:
        """A port, an address with a port and a bracketed one are split, and back into a description."""
        for text, parts, described in (
            ("8080", ("", 8080), "tcp:8080"),
            ("127.0.0.1:8080", ("127.0.0.1", 8080), "tcp:8080:interface=127.0.0.1"),
            ("[::1]:8080", ("::1", 8080), r"tcp6:8080:interface=\:\:1"),
            ("0", ("", 0), "tcp:0"),
        ):
            self.assertEqual(split_place(text), parts)
            self.assertEqual(description(*parts), described)
            self.assertEqual(place(described).port, parts[1])

    def test_refused(self) -> None:
        """Anything else is refused with the three forms."""
        for text in ("", ":", ":80", "x", "localhost:80", "127.0.0.1", "::1:80", "[127.0.0.1]:80", "1:2:3", "80 "):
            with self.assertRaises(ValueError, msg=text) as caught:
                split_place(text)
            self.assertIn("PORT, IP:PORT or [IPV6]:PORT", str(caught.exception))
