"""What differs between two configurations."""

from dataclasses import dataclass, replace

from twisted.trial.unittest import SynchronousTestCase

from balancer.cache.policy import CachePolicy, KeyPolicy, PurgePolicy
from balancer.config.chosen import StoreConfig
from balancer.config.diff import MAX_KEYS, Difference, difference
from balancer.config.schema import Configuration, ListenerConfig, ServerConfig, UpstreamConfig
from balancer.core.access_log import AccessLogSettings
from balancer.core.health import CheckSettings
from balancer.core.policies import RetryPolicy
from balancer.core.route_spec import RouteSpec
from balancer.core.tls import BackendTls


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretSettings(CheckSettings):
    """A check with something to hide."""

    type: str = "secret"
    password: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """A store's own keys."""

    size: int = 1


WEB = UpstreamConfig(servers=(ServerConfig(address="a:1"), ServerConfig(address="b:1")))
PUBLIC = ListenerConfig(listen="tcp:80", to="web")
OLD = Configuration(upstream={"web": WEB}, listener={"public": PUBLIC})


def with_web(**keys: object) -> Configuration:
    return replace(OLD, upstream={"web": replace(WEB, **keys)})  # type: ignore[arg-type]  # keys are each test's


class DifferenceTests(SynchronousTestCase):
    def test_nothing(self) -> None:
        """Equal configurations have no difference."""
        found = difference(OLD, replace(OLD))
        self.assertFalse(found)
        self.assertEqual(str(found), "nothing changed")

    def test_added_and_removed(self) -> None:
        """Upstreams and listeners that came and went are told by name."""
        new = Configuration(upstream={"api": WEB}, listener={"public": PUBLIC, "admin": PUBLIC})
        found = difference(OLD, new)
        self.assertTrue(found)
        self.assertEqual(
            [str(change) for change in found],
            ['upstream "api" added', 'upstream "web" removed', 'listener "admin" added'],
        )
        self.assertEqual(found.names("upstream", "removed"), ("web",))
        self.assertEqual(found.names("listener", "changed"), ())

    def test_servers(self) -> None:
        """Servers that came and went are told by their addresses."""
        servers = (ServerConfig(address="b:1"), ServerConfig(address="c:1"), ServerConfig(address="d:1"))
        found = str(difference(OLD, with_web(servers=servers)))
        self.assertEqual(found, 'upstream "web" changed: servers (added c:1, d:1; removed a:1)')

    def test_order(self) -> None:
        """Only the order changed: that is said."""
        found = str(difference(OLD, with_web(servers=WEB.servers[::-1])))
        self.assertEqual(found, 'upstream "web" changed: servers (another order)')

    def test_keys(self) -> None:
        """Inner keys are told with both values, dotted."""
        found = str(difference(OLD, with_web(balance="first", retry=RetryPolicy(attempts=3), tls=BackendTls())))
        self.assertEqual(
            found,
            'upstream "web" changed: retry.attempts from 1 to 3, balance from "" to "first", '
            "tls from nothing to settings",
        )

    def test_check(self) -> None:
        """Another type of check is told by the types."""
        self.assertEqual(
            str(difference(OLD, with_web(check=SecretSettings()))),
            'upstream "web" changed: check from tcp settings to secret settings',
        )

    def test_secrets(self) -> None:
        """Secrets are not told, only that they changed."""
        old = with_web(check=SecretSettings(password="hunter2", headers=(("Authorization", "hunter3"),)))
        new = with_web(check=SecretSettings(password="hunter4", headers=(("Authorization", "hunter5"),)))
        told = str(difference(old, new))
        self.assertIn("check.password", told)
        self.assertIn('check.headers (added "Authorization"; removed "Authorization")', told)
        self.assertNotIn("hunter", told)

    def test_listener(self) -> None:
        """Routes are told by name or by what they match."""
        route = RouteSpec(path="/x", to="web")
        new = replace(OLD, listener={"public": replace(PUBLIC, route=(route, RouteSpec(name="rest", to="web")))})
        self.assertEqual(str(difference(OLD, new)), 'listener "public" changed: route (added * /x, rest)')

    def test_settings(self) -> None:
        """Settings at the top are told, too."""
        new = replace(OLD, drain=5.0, access_log=AccessLogSettings())
        self.assertEqual(
            str(difference(OLD, new)), "setting access_log from nothing to settings; setting drain from 30.0 to 5.0"
        )

    def test_many(self) -> None:
        """A long list is cut and counted."""
        servers = tuple(ServerConfig(address=f"a:{port}") for port in range(1, MAX_KEYS + 12))
        self.assertIn(" and 10 more", str(difference(OLD, with_web(servers=(*WEB.servers, *servers[1:])))))

    def test_value(self) -> None:
        """A difference is a value."""
        self.assertEqual(difference(OLD, OLD), Difference(()))
        self.assertEqual(difference(OLD, with_web(balance="x")), difference(OLD, with_web(balance="x")))

    def test_caches(self) -> None:
        """Caches that came and went, and what changed in one, without its token."""
        old = replace(OLD, cache={"pages": CachePolicy(), "files": CachePolicy()})
        purge = PurgePolicy(token="a-long-secret-token", sources=("10.0.0.0/8",))
        new = replace(OLD, cache={"pages": CachePolicy(ttl=5.0, purge=purge, key=KeyPolicy(headers=("x-t",)))})
        found = difference(old, new)
        self.assertEqual(found.names("cache", "removed"), ("files",))
        self.assertEqual(
            str(found),
            'cache "pages" changed: key.headers (added "x-t"), ttl from nothing to 5.0, purge from nothing to settings'
            '; cache "files" removed',
        )
        changed = replace(new.cache["pages"], purge=replace(purge, token="another-secret-token"))
        again = str(difference(new, replace(new, cache={"pages": changed})))
        self.assertEqual(
            again, 'cache "pages" changed: purge.token from a value that is not shown to a value that is not shown'
        )

    def test_stores(self) -> None:
        """A store's keys are told as a file writes them, beside its type."""
        small, large = (StoreConfig(type="memory", settings=Keeping(size=size)) for size in (1, 2))
        found = difference(replace(OLD, store={"a": small}), replace(OLD, store={"a": large, "b": small}))
        self.assertEqual(str(found), 'store "a" changed: size from 1 to 2; store "b" added')
        other = StoreConfig(type="other", settings=Keeping())
        found = difference(replace(OLD, store={"a": small}), replace(OLD, store={"a": other}))
        self.assertEqual(str(found), 'store "a" changed: type from "memory" to "other"')
        self.assertEqual(found.names("store", "changed"), ("a",))

    def test_a_cache_for_an_upstream(self) -> None:
        """Which cache an upstream has is a key of it."""
        self.assertEqual(
            str(difference(OLD, with_web(cache="pages"))), 'upstream "web" changed: cache from "" to "pages"'
        )
