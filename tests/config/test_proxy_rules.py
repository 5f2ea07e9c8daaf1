"""The keys of the PROXY protocol: what is read, what does not go together, and what checks take from their upstream."""

from textwrap import dedent

from twisted.trial.unittest import SynchronousTestCase

from balancer.config.completion import completed
from balancer.config.reader import reads
from balancer.config.schema import Configuration, ServerConfig, UpstreamConfig
from balancer.config.vocabulary import Vocabulary
from balancer.core.health import CheckSettings
from balancer.core.proxy_policy import AcceptProxy, SendProxy
from balancer.errors import ConfigurationError

HTTP = '[listener.a]\nlisten = "tcp:1"\nto = "web"\n'


class KeyTests(SynchronousTestCase):
    """Texts."""

    def read(self, upstream: str = "", listener: str = HTTP) -> Configuration:
        return reads(dedent(f'[upstream.web]\nservers = ["a:1"]\n{upstream}\n{listener}'), "b.toml", Vocabulary())

    def wrong(self, key: str, word: str, upstream: str = "", listener: str = HTTP) -> None:
        with self.assertRaises(ConfigurationError) as caught:
            self.read(upstream, listener)
        (problem,) = caught.exception.problems
        self.assertEqual(problem.key, key)
        self.assertIn(word, f"{problem.found} / {problem.allowed}")

    def test_read(self) -> None:
        """A version alone, or a table; whom to trust, with units."""
        self.assertEqual(self.read('send_proxy = "v1"').upstream["web"].send_proxy, SendProxy(version="v1"))
        table = 'send_proxy = { version = "v2", tlvs = ["ssl", "unique-id"] }'
        expected = SendProxy(version="v2", tlvs=("ssl", "unique-id"))
        self.assertEqual(self.read(table).upstream["web"].send_proxy, expected)
        accept = 'accept_proxy = { trusted = ["10.0.0.0/8", "unix"], timeout = "2s", limit = "1KiB" }'
        found = self.read(listener=HTTP + accept).listener["a"].accept_proxy
        self.assertEqual(found, AcceptProxy(trusted=("10.0.0.0/8", "unix"), timeout=2.0, limit=1024))

    def test_wrong_values(self) -> None:
        """Errors name the key and what is allowed."""
        self.wrong("upstream.web.send_proxy", '"v1", "v2"', 'send_proxy = "v3"')
        self.wrong("upstream.web.send_proxy.tlvs[0]", "crc32c", 'send_proxy = { version = "v2", tlvs = ["sni"] }')
        start = "listener.a.accept_proxy"
        self.wrong(f"{start}.trusted[0]", "10.0.0.0/8", listener=HTTP + 'accept_proxy = { trusted = ["10.0.0.1/8"] }')
        self.wrong(f"{start}.trusted", "", listener=HTTP + "accept_proxy = { trusted = [] }")
        self.wrong(f"{start}.trusted", "", listener=HTTP + "accept_proxy = {}")
        for limit in ("255", '"65MiB"'):
            self.wrong(
                f"{start}.limit", "256", listener=HTTP + f'accept_proxy = {{ trusted = ["10.0.0.1"], limit = {limit} }}'
            )

    def test_too_late(self) -> None:
        """Behind an endpoint that brings TLS, or takes the header itself, none arrives."""
        for kind in ("ssl:1", "haproxy:tcp:1"):
            listener = f'[listener.a]\nlisten = "{kind}"\nto = "web"\naccept_proxy = {{ trusted = ["10.0.0.1"] }}\n'
            self.wrong("listener.a.accept_proxy", kind, listener=listener)

    def test_version_1_says_no_more(self) -> None:
        """Values need version 2."""
        self.wrong("upstream.web.send_proxy.tlvs", "v2", 'send_proxy = { version = "v1", tlvs = ["ssl"] }')

    def test_nothing_is_kept(self) -> None:
        """Keys about kept connections do nothing beside a header for each client."""
        self.wrong("upstream.web.pool", "send_proxy", 'send_proxy = "v2"\npool = { idle = 4 }')


class CheckTests(SynchronousTestCase):
    """What a probe's connection begins with."""

    def completed(self, check: CheckSettings | None, send_proxy: SendProxy | None) -> CheckSettings | None:
        upstream = UpstreamConfig(servers=(ServerConfig(address="a:1"),), check=check, send_proxy=send_proxy)
        once = completed(Configuration(upstream={"web": upstream}), Vocabulary())
        self.assertEqual(completed(once, Vocabulary()), once)
        return once.upstream["web"].check

    def test_as_the_upstream(self) -> None:
        """By itself as the upstream's; at another place, or where it is said, not."""
        sends = SendProxy(version="v1")
        for check, expected in (
            (CheckSettings(), "v1"),
            (CheckSettings(port=8080), ""),
            (CheckSettings(address="10.0.0.1"), ""),
            (CheckSettings(send_proxy="none"), "none"),
            (CheckSettings(send_proxy="v2", port=8080), "v2"),
        ):
            found = self.completed(check, sends)
            assert found is not None
            self.assertEqual(found.send_proxy, expected)
        self.assertEqual(self.completed(CheckSettings(), None), CheckSettings())
        self.assertIsNone(self.completed(None, sends))
