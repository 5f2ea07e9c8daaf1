"""Servers and addresses made into specs."""

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from balancer.config.schema import ServerConfig
from balancer.core.tls import BackendTls
from balancer.discovery.specs import expand, names_of


def server(address: str, **keys: object) -> ServerConfig:
    return ServerConfig(address=address, **keys)  # type: ignore[arg-type]


hosts = st.sampled_from(["10.0.0.1", "10.0.0.2", "[fd00::1]", "a.example", "b.example"])
servers = st.lists(st.builds(lambda host, port: server(f"{host}:{port}"), hosts, st.integers(80, 82)), max_size=6)
addresses = st.lists(st.sampled_from(["10.0.0.1", "10.0.0.3", "fd00::1", "fd00::2"]), max_size=4, unique=True)
answers = st.dictionaries(st.sampled_from(["a.example", "b.example"]), addresses)


class Expansions(SynchronousTestCase):
    def test_every_address_of_a_name_is_a_backend_with_all_the_server_says(self) -> None:
        """Weight, limits, tags and name of the server entry go to each of its addresses."""
        entry = server("db.example:5432", weight=7, backup=True, max_connections=9, tags={"z": "1", "a": "2"})
        expansion = expand([entry], {"db.example": ("10.0.0.1", "fd00::1")}, None)
        self.assertEqual([spec.address for spec in expansion.specs], ["10.0.0.1:5432", "[fd00::1]:5432"])
        for spec in expansion.specs:
            self.assertEqual((spec.weight, spec.backup, spec.max_connections), (7, True, 9))
            self.assertEqual((spec.name, spec.tags), ("db.example", (("a", "2"), ("z", "1"))))
            self.assertIsNone(spec.tls_name)

    def test_the_order_is_that_of_the_file(self) -> None:
        """The selector `first` goes by the order as written, so the set keeps it."""
        entries = [server("10.0.0.9:80"), server("a.example:80"), server("10.0.0.1:80")]
        expansion = expand(entries, {"a.example": ("10.0.0.5", "10.0.0.6")}, None)
        self.assertEqual([spec.host for spec in expansion.specs], ["10.0.0.9", "10.0.0.5", "10.0.0.6", "10.0.0.1"])

    def test_a_name_is_matched_whatever_its_case(self) -> None:
        """DB.Example and db.example are one name."""
        self.assertEqual(
            names_of([server("DB.Example:1"), server("db.example:2"), server("10.0.0.1:3")]), ("db.example",)
        )
        self.assertEqual(len(expand([server("DB.Example:1")], {"db.example": ("10.0.0.1",)}, None).specs), 1)

    def test_two_spellings_of_an_address_are_one_backend(self) -> None:
        """IPv6 addresses are brought to one spelling before they are compared."""
        expansion = expand([server("[fd00:0:0::1]:80"), server("[FD00::1]:80")], {}, None)
        self.assertEqual([spec.host for spec in expansion.specs], ["fd00::1"])
        self.assertEqual(len(expansion.duplicates), 1)

    def test_the_first_of_two_servers_at_one_address_decides(self) -> None:
        """A duplicate is left out and reported, in words that name both."""
        entries = [server("a.example:80", weight=3), server("10.0.0.1:80", weight=5)]
        expansion = expand(entries, {"a.example": ("10.0.0.1",)}, None)
        self.assertEqual([spec.weight for spec in expansion.specs], [3])
        self.assertEqual(expansion.duplicates, ("10.0.0.1:80 is 10.0.0.1:80, which a.example:80 is already",))

    def test_the_tls_name_is_the_setting_or_each_servers_own(self) -> None:
        """Without a name in the TLS settings each server is asked for, and verified, by its host as written."""
        entries = [server("A.Example.:443"), server("10.0.0.2:443")]
        known = {"a.example.": ("10.0.0.1",)}
        own = expand(entries, known, BackendTls())
        self.assertEqual([spec.tls_name for spec in own.specs], ["a.example", "10.0.0.2"])
        given_name = expand(entries, known, BackendTls(name="x.example"))
        self.assertEqual([spec.tls_name for spec in given_name.specs], ["x.example", "x.example"])

    @given(servers, answers, st.booleans())
    def test_law_every_address_is_there_once_and_nothing_else(self, entries: list, known: dict, tls: bool) -> None:
        """Keys are unique, they are exactly the addresses written and resolved, and what is left out is reported."""
        expansion = expand(entries, known, BackendTls() if tls else None)
        keys = [spec.key for spec in expansion.specs]
        self.assertEqual(len(set(keys)), len(keys))
        wanted = []
        for entry in entries:
            host, port = entry.address.rsplit(":", 1)
            found = known.get(host, ()) if "example" in host else (host.strip("[]"),)
            wanted += [(address, int(port), host.strip("[]") if tls else None) for address in found]
        self.assertEqual(set(keys), set(wanted))
        self.assertEqual(len(expansion.duplicates), len(wanted) - len(keys))
