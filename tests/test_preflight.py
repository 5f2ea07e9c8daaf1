"""What a configuration needs of the machine, found before anything starts."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from balancer import preflight as preflight_module
from balancer.config.chosen import StoreConfig
from balancer.config.schema import Configuration, ListenerConfig, ServerConfig, UpstreamConfig
from balancer.core.nat_policy import NatSettings
from balancer.core.tls import BackendTls, ListenerTls
from balancer.errors import PreflightError
from balancer.health.settings import HttpCheckSettings, TlsCheckSettings
from balancer.preflight import preflight
from balancer.stores.disk import DiskSettings
from balancer.stores.settings import MemorySettings
from balancer.testing.certificates import Authority

SERVERS = (ServerConfig(address="10.0.0.1:80"),)


class PreflightTests(SynchronousTestCase):
    """``preflight``."""

    def missing(self, configuration: Configuration) -> list[str]:
        """The lines of its error; none where all is there."""
        self.reactor = MemoryReactorClock()
        try:
            preflight(configuration, self.reactor, 0.0)
        except PreflightError as error:
            return str(error).splitlines()
        return []

    def listening(self, *descriptions: str) -> Configuration:
        """Listeners at these places."""
        listener = {f"l{index}": ListenerConfig(listen=listen, to="a") for index, listen in enumerate(descriptions)}
        return Configuration(upstream={"a": UpstreamConfig(servers=SERVERS)}, listener=listener)

    def test_nothing_is_opened(self) -> None:
        """Where nothing is missing nothing is said, and no port was opened."""
        self.assertEqual(
            self.missing(self.listening("tcp:80", "unix:/run/x.sock", "tcp6:81", "systemd:domain=INET:index=0")), []
        )
        self.assertEqual((self.reactor.tcpServers, self.reactor.unixServers), ([], []))

    def test_endpoints(self) -> None:
        """A kind of endpoint nobody provides, and certificates that are not there, are told with the listener."""
        found = self.missing(self.listening("tcp:80", "nosuch:1", "ssl:443:privateKey=/none/key.pem"))
        self.assertEqual(len(found), 2)
        self.assertIn('listener "l1" cannot listen on "nosuch:1"', found[0])
        self.assertRegex(found[1], 'No such file.*/none/key.pem.*listener "l2"')

    def test_directories_of_stores(self) -> None:
        """A directory that cannot be one is told with its store; one that is to be made is not made."""
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "file")
            file.touch()
            new = Path(folder, "new", "cache")
            paths = {"good": str(new), "bad": str(file), "worse": f"{file}/cache"}
            store = {name: StoreConfig(type="disk", settings=DiskSettings(path=path)) for name, path in paths.items()}
            found = self.missing(Configuration(store=store))
            self.assertEqual(len(found), 2, found)
            self.assertTrue(found[0].startswith('store "bad": the cache directory '), found)
            self.assertTrue(found[0].endswith(f"cannot be used: '{file}' is no directory"), found)
            self.assertFalse(new.parent.exists())

    def test_stores_without_needs(self) -> None:
        """A store of a kind that needs nothing of the machine is not asked about."""
        memory = StoreConfig(type="memory", settings=MemorySettings())
        self.assertEqual(self.missing(Configuration(store={"large": memory})), [])

    def test_authorities(self) -> None:
        """The authorities of traffic and of checks are read; without verification none are needed."""
        with tempfile.TemporaryDirectory() as directory:
            empty = Path(directory) / "empty.pem"
            empty.write_text("")
            found = self.missing(
                Configuration(
                    upstream={
                        "a": UpstreamConfig(servers=SERVERS, tls=BackendTls(ca=str(empty))),
                        "b": UpstreamConfig(servers=SERVERS, check=HttpCheckSettings(ca="/none/b.pem")),
                        "c": UpstreamConfig(servers=SERVERS, check=TlsCheckSettings(ca="/none/c.pem", verify=False)),
                        "d": UpstreamConfig(servers=SERVERS, check=None),
                        "e": UpstreamConfig(servers=SERVERS, check=TlsCheckSettings(certificate="/none/e.pem")),
                    }
                )
            )
        self.assertEqual(len(found), 3)
        self.assertIn('upstream "e", its check: tls.certificate = "/none/e.pem" cannot be read', found[2])
        self.assertIn('upstream "a": ca', found[0])
        self.assertIn('upstream "b", its check: ca = "/none/b.pem" cannot be read', found[1])

    def test_certificates_of_listeners(self) -> None:
        """Everything wrong with the files of listeners and upstreams is told at once; an expired one is a remark."""
        with tempfile.TemporaryDirectory() as directory:
            past = datetime(2020, 1, 1, tzinfo=UTC), datetime(2021, 1, 1, tzinfo=UTC)
            expired = Authority(directory).issue("a.example", valid=past)
            good = ListenerConfig(listen="tcp:1", to="a", tls=ListenerTls(certificate=expired))
            bad = ListenerConfig(
                listen="tcp:2", to="a", tls=ListenerTls(certificate="/none/x.pem", client_ca="/none/y")
            )
            upstream = UpstreamConfig(servers=SERVERS, tls=BackendTls(ca="/none/z.pem"))
            found = self.missing(Configuration(upstream={"a": upstream}, listener={"good": good, "bad": bad}))
            plain = Configuration(upstream={"a": UpstreamConfig(servers=SERVERS)}, listener={"good": good})
            (remark,) = preflight(plain, self.reactor, datetime(2022, 1, 1, tzinfo=UTC).timestamp())
        self.assertEqual(len(found), 3)
        self.assertIn('upstream "a": ca = "/none/z.pem"', found[0])
        self.assertIn('listener "bad": tls.certificate = "/none/x.pem" cannot be read', found[1])
        self.assertIn('listener "bad": tls.client_ca = "/none/y" cannot be read', found[2])
        self.assertIn('listener "good"', remark)
        self.assertIn("expired at 2021-01-01", remark)

    def test_kernel(self) -> None:
        """Listeners of mode nat need what the kernel was asked for, each is told, and one that has a fallback is warned
        of; nothing is asked where there is none."""
        asked: list[object] = []
        self.patch(preflight_module, "inability", lambda policy: asked.append(policy) or "no nft")
        self.patch(preflight_module, "not_forwarding", lambda families: [f"not forwarding {sorted(families)}"])
        self.missing(self.listening("tcp:80"))
        self.assertEqual(asked, [])
        plain = ListenerConfig(listen="tcp6:80", mode="nat", to="a")
        other = ListenerConfig(listen="tcp:81", mode="nat", to="a", nat=NatSettings(fallback="tcp"))
        upstream = {"a": UpstreamConfig(servers=SERVERS)}
        both = Configuration(upstream=upstream, listener={"plain": plain, "other": other})
        (told,) = self.missing(both)
        self.assertEqual(told, 'listener "plain": the kernel cannot forward: no nft')
        warnings = preflight(Configuration(upstream=upstream, listener={"other": other}), self.reactor, 0.0)
        self.assertIn("this process will, as mode tcp", warnings[0])
        self.patch(preflight_module, "inability", lambda _policy: "")
        self.assertEqual(preflight(both, self.reactor, 0.0), ("not forwarding [4, 6]",))
