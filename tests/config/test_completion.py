"""Defaults that depend on other keys."""

from dataclasses import dataclass

from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.policy import CachePolicy
from balancer.config.chosen import StoreConfig
from balancer.config.completion import BALANCE, NAT_BALANCE, TCP_BALANCE, completed
from balancer.config.schema import Configuration, ListenerConfig, ServerConfig, UpstreamConfig
from balancer.config.vocabulary import Vocabulary
from balancer.core.health import CheckSettings
from balancer.core.route_spec import RouteSpec
from balancer.health.settings import UdpCheckSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class TcpSettings(CheckSettings):
    """A replaced check with a key of its own."""

    more: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """A store."""

    over: str = ""


def upstream(balance: str = "", check: CheckSettings | None = None) -> UpstreamConfig:
    return UpstreamConfig(servers=(ServerConfig(address="a:1"),), balance=balance, check=check)


class CompletionTests(SynchronousTestCase):
    def test_balance(self) -> None:
        """An upstream that no listener of mode http uses takes leastconn, one that mode nat uses too turns, any other,
        and one that nobody uses, two random choices; what was written stays."""
        names = ("l4", "l7", "both", "none", "tls", "kernel")
        configuration = Configuration(
            upstream={name: upstream() for name in names} | {"own": upstream("first")},
            listener={
                "a": ListenerConfig(listen="tcp:1", mode="tcp", to="l4"),
                "b": ListenerConfig(listen="tcp:2", mode="tcp", to="both"),
                "c": ListenerConfig(listen="tcp:3", to="l7", route=(RouteSpec(to="both"),)),
                "e": ListenerConfig(listen="tcp:5", mode="tls-passthrough", to="tls"),
                "d": ListenerConfig(listen="tcp:4", mode="tcp", to="own"),
                "f": ListenerConfig(listen="udp:6", mode="nat", to="kernel"),
                "g": ListenerConfig(listen="udp:7", mode="udp", to="kernel"),
            },
        )
        done = completed(configuration, Vocabulary())
        self.assertEqual(
            {name: config.balance for name, config in done.upstream.items()},
            {
                "l4": TCP_BALANCE,
                "l7": BALANCE,
                "both": BALANCE,
                "none": BALANCE,
                "own": "first",
                "tls": TCP_BALANCE,
                "kernel": NAT_BALANCE,
            },
        )
        self.assertEqual(completed(done, Vocabulary()), done)
        self.assertEqual(done.listener, configuration.listener)

    def test_check_of_datagrams(self) -> None:
        """An upstream that only mode udp uses and that says nothing of a check is asked by datagrams; one that says
        something, or that others use as well, is not."""
        servers = (ServerConfig(address="a:1"),)
        vocabulary = Vocabulary(checks={"tcp": CheckSettings, "udp": UdpCheckSettings})
        configuration = Configuration(
            upstream={
                "plain": UpstreamConfig(servers=servers),
                "both": UpstreamConfig(servers=servers),
                "tcp": UpstreamConfig(servers=servers, check=CheckSettings()),
                "off": upstream(),
            },
            listener={
                name: ListenerConfig(listen=f"udp:{port}", mode="udp", to=name)
                for port, name in enumerate(("plain", "both", "tcp", "off"), 1)
            }
            | {"t": ListenerConfig(listen="tcp:1", mode="tcp", to="both")},
        )
        done = completed(configuration, vocabulary)
        self.assertEqual(
            {name: config.check for name, config in done.upstream.items()},
            {"plain": UdpCheckSettings(), "both": CheckSettings(), "tcp": CheckSettings(), "off": None},
        )
        self.assertEqual(completed(done, vocabulary), done)
        self.assertEqual(completed(configuration, Vocabulary()).upstream["plain"].check, CheckSettings())

    def test_check(self) -> None:
        """A check that was left out, or built from the bare settings, gets the class of its type, values kept."""
        vocabulary = Vocabulary(checks={"tcp": TcpSettings})
        given = {
            "bare": upstream(check=CheckSettings(rise=7)),
            "none": upstream(),
            "own": upstream(check=TcpSettings(more=2)),
            "strange": upstream(check=CheckSettings(type="strange")),
        }
        done = completed(Configuration(upstream=given), vocabulary).upstream
        self.assertEqual(done["bare"].check, TcpSettings(rise=7))
        self.assertIsNone(done["none"].check)
        self.assertEqual(done["own"].check, TcpSettings(more=2))
        self.assertEqual(done["strange"].check, CheckSettings(type="strange"))

    def test_the_store_that_is_not_written(self) -> None:
        """ "memory" is filled in where a cache or another store uses it, and left as it is where it is written."""
        words = Vocabulary(stores={"memory": Keeping})
        memory = StoreConfig(type="memory", settings=Keeping())
        cached = Configuration(cache={"pages": CachePolicy()})
        self.assertEqual(completed(cached, words).store, {"memory": memory})
        self.assertEqual(completed(completed(cached, words), words), completed(cached, words))
        over = StoreConfig(type="tiered", settings=Keeping(over="memory"))
        behind = Configuration(cache={"pages": CachePolicy(store="t")}, store={"t": over})
        self.assertEqual(completed(behind, words).store, {"t": over, "memory": memory})
        written = Configuration(cache={"pages": CachePolicy()}, store={"memory": over})
        self.assertEqual(completed(written, words).store, {"memory": over})
        elsewhere = Configuration(cache={"pages": CachePolicy(store="disk")})
        self.assertEqual(completed(elsewhere, words).store, {})
        self.assertEqual(completed(cached, Vocabulary()).store, {})
