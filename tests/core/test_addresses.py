"""Addresses and trusted proxies."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.core.addresses import MAX_HOPS, TrustedProxies, checked_network, parsed


class ParsedTests(SynchronousTestCase):
    def test_spellings_of_an_address(self) -> None:
        """Ports, brackets, zones and IPv4 inside IPv6 do not change who is meant."""
        for text, address in (
            ("192.0.2.1", "192.0.2.1"), ("192.0.2.1:80", "192.0.2.1"), ("2001:DB8:0::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"), ("[2001:db8::1]:443", "2001:db8::1"), ("fe80::1%eth0", "fe80::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"), ("[::ffff:192.0.2.1]:1", "192.0.2.1"),
        ):  # fmt: skip
            self.assertEqual(str(parsed(text)), address, text)

    def test_what_is_no_address(self) -> None:
        """Anything else is None, never an exception."""
        for text in ("", "unknown", "_hidden", "192.0.2.256", "192.0.2.1:x", "[192.0.2.1]", "[::1", "1.2.3.4, 5.6.7.8"):
            self.assertIsNone(parsed(text), text)

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=40))
    def test_any_text_is_an_address_or_none(self, text: str) -> None:
        """What is returned is an address that spells itself the same way again."""
        address = parsed(text)
        if address is not None:
            self.assertEqual(parsed(str(address)), address)


class TrustedProxiesTests(SynchronousTestCase):
    def test_addresses_networks_and_unix(self) -> None:
        """An entry is an address, a network or ``unix``."""
        trusted = TrustedProxies(["10.0.0.0/8", "192.0.2.1", "2001:db8::/32", "unix"])
        for text in ("10.1.2.3", "192.0.2.1", "2001:db8::5", "::ffff:10.0.0.1"):
            self.assertTrue(trusted.trusts(parsed(text)), text)
        for text in ("11.0.0.1", "192.0.2.2", "2001:db9::1"):
            self.assertFalse(trusted.trusts(parsed(text)), text)
        self.assertTrue(trusted.trusts(None))
        self.assertFalse(TrustedProxies(["10.0.0.0/8"]).trusts(None))
        self.assertFalse(TrustedProxies([]))
        self.assertIn("unix", repr(trusted))

    def test_a_wrong_entry_says_what_is_allowed(self) -> None:
        """Names and networks with host bits are refused."""
        for text in ("proxy.example.com", "10.0.0.1/8", "", "10.0.0.0/33"):
            error = self.assertRaises(ValueError, checked_network, text)
            self.assertIn("allowed are", str(error))
            self.assertRaises(ValueError, TrustedProxies, [text])

    def test_the_client_is_the_rightmost_address_that_is_not_trusted(self) -> None:
        """Whatever a client wrote itself stands further left and does not count."""
        trusted = TrustedProxies(["10.0.0.0/8"])
        for values, client in (
            ([], "10.0.0.1"), ([b"203.0.113.9"], "203.0.113.9"), ([b"1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            ([b"1.1.1.1, 203.0.113.9 ,10.0.0.7"], "203.0.113.9"), ([b"1.1.1.1", b"203.0.113.9"], "203.0.113.9"),
            ([b"10.0.0.9, 10.0.0.8"], "10.0.0.9"), ([b"203.0.113.9, unknown, 10.0.0.8"], "10.0.0.8"),
            ([b"unknown"], "10.0.0.1"), ([b""], "10.0.0.1"), ([b"203.0.113.9:4711"], "203.0.113.9"),
            ([b"[2001:db8::1]:1"], "2001:db8::1"), ([b"\xff\xfe"], "10.0.0.1"),
        ):  # fmt: skip
            self.assertEqual(trusted.client("10.0.0.1", values), client, values)

    def test_no_more_than_a_bounded_number_of_hops_is_examined(self) -> None:
        """A field of very many trusted addresses is not walked to its end."""
        values = [b"203.0.113.9," + b",".join(b"10.0.%d.%d" % divmod(n, 250) for n in range(500))]
        client = TrustedProxies(["10.0.0.0/8"]).client("10.9.9.9", values)
        self.assertEqual(client, "10.0.{}.{}".format(*divmod(500 - MAX_HOPS, 250)))
