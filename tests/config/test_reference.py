"""The reference and the commented configuration are what the schema says."""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import Doc

from balancer.cache.policy import CachePolicy, PurgePolicy
from balancer.config.completion import completed
from balancer.config.layout import Table, tables
from balancer.config.reader import read, reads
from balancer.config.reference import EXAMPLE, REFERENCE, example, main, reference
from balancer.config.schema import Configuration, ListenerConfig, ServerConfig, UpstreamConfig
from balancer.config.vocabulary import Vocabulary
from balancer.core.health import CheckSettings
from balancer.core.units import Size
from balancer.errors import ConfigurationError
from balancer.service import vocabulary


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """In memory."""

    __pydantic_config__ = {"extra": "forbid"}

    size: Annotated[Size, Doc("Bytes.")] = 2**26
    max_object: Annotated[Size, Doc("Bytes.")] = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """On a disk."""

    __pydantic_config__ = {"extra": "forbid"}

    path: Annotated[str, Doc("A directory.")]
    size: Annotated[Size, Doc("Bytes.")] = 2**30


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiered:
    """Over another one."""

    __pydantic_config__ = {"extra": "forbid"}

    over: Annotated[str, Doc("Another store.")]
    memory: Annotated[Memory, Doc("The memory.")] = Memory()


ROOT = Path(__file__).parents[2]


class LayoutTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.tables = list(tables(vocabulary()))

    def test_every_key(self) -> None:
        """Every key a file may have is in a table that is laid out."""
        keys = {(table.header, table.chosen, key.name) for table in self.tables for key in table.values}
        for expected in (
            ("", "", "drain"),
            ("[upstream.NAME]", "", "balance"),
            ("[upstream.NAME.queue]", "", "limit"),
            ("[[upstream.NAME.servers]]", "", "weight"),
            ("[upstream.NAME.check]", "", "interval"),
            ("[upstream.NAME.check]", "http", "path"),
            ("[upstream.NAME.tls]", "", "verify"),
            ("[listener.NAME]", "", "listen"),
            ("[[listener.NAME.route]]", "", "path_prefix"),
            ("[listener.NAME.limits]", "", "request_line"),
            ("[listener.NAME.forwarded]", "", "trusted_proxies"),
            ("[access_log]", "", "format"),
            ("[resolve]", "", "max_ttl"),
            ("[cache.NAME]", "", "stale_if_error"),
            ("[cache.NAME.key]", "", "exclude_query"),
            ("[cache.NAME.bypass]", "", "cookies"),
            ("[cache.NAME.purge]", "", "token"),
            ("[store.NAME]", "", "type"),
        ):
            self.assertIn(expected, keys)

    def test_documented(self) -> None:
        """Every table and every key has a manual entry, the checks' included."""
        for table in self.tables:
            self.assertTrue(table.doc, table.header)
            self.assertEqual([key.name for key in table.values if not key.doc], [], table.header)

    def test_no_table_is_a_value(self) -> None:
        """What is a table of its own is no value."""
        top = next(table for table in self.tables if table.kind is Configuration)
        self.assertEqual([key.name for key in top.values], ["drain", "splices"])


class ReferenceTests(SynchronousTestCase):
    def test_current(self) -> None:
        """docs/reference.md is current; if not: python -m balancer.config.reference"""
        self.assertEqual((ROOT / REFERENCE).read_text(), reference(vocabulary()))

    def test_every_key(self) -> None:
        """Each key stands in the section of its table, with its default."""
        sections = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", reference(vocabulary()), re.MULTILINE | re.DOTALL))
        for table in tables(vocabulary()):
            section = sections[_title(table)]
            for key in table.values:
                self.assertRegex(section, rf"(?m)^\| `{key.name}` \| .+ \| .+ \| .+ \|$")
        self.assertIn('| `connect` | a duration above 0 | `"3s"` |', sections["`[upstream.NAME.timeouts]`"])

    def test_command(self) -> None:
        """The command writes both files."""
        with tempfile.TemporaryDirectory() as directory:
            root = Path(directory)
            (root / REFERENCE).parent.mkdir()
            (root / EXAMPLE).parent.mkdir()
            main(root)
            self.assertEqual((root / REFERENCE).read_text(), reference(vocabulary()))
            self.assertEqual((root / EXAMPLE).read_text(), example(vocabulary()))


class ExampleTests(SynchronousTestCase):
    def test_current(self) -> None:
        """etc/balancer.toml is current; if not: python -m balancer.config.reference"""
        self.assertEqual((ROOT / EXAMPLE).read_text(), example(vocabulary()))

    def test_defaults(self) -> None:
        """What it says with every key is what is so without."""
        servers = (ServerConfig(address="127.0.0.1:8001"), ServerConfig(address="127.0.0.1:8002"))
        plain = Configuration(
            upstream={"web": UpstreamConfig(servers=servers)},
            listener={"web": ListenerConfig(listen="tcp:8080", to="web")},
        )
        self.assertEqual(read(str(ROOT / EXAMPLE), vocabulary()), completed(plain, vocabulary()))

    def test_every_key(self) -> None:
        """Each key is there, on or off."""
        text = example(vocabulary())
        for table in tables(vocabulary()):
            for key in table.values:
                self.assertRegex(text, rf"(?m)^#?{key.name} =")

    def test_off_tables(self) -> None:
        """Switched on as they stand, the tables that are off are read without a mistake, too."""
        text = example(vocabulary())
        for header in ("[upstream.web.tls]", "[access_log]"):
            blocks = re.findall(rf"(?ms)^#{re.escape(header)}\n.*?(?=^#?\[|\Z)", text)
            self.assertEqual(len(blocks), 1)
            text = text.replace(blocks[0], re.sub(r"(?m)^#(?! )", "", blocks[0]))
        made = reads(text, "b", vocabulary())
        self.assertIsNotNone(made.access_log)
        self.assertIsNotNone(made.upstream["web"].tls)

    def test_checks(self) -> None:
        """The keys of every other type of check are its keys, with its defaults."""
        block = r"(?ms)^#\[upstream\.web\.check\]\n(#type.*?)(?=^#?\[|^# [^\n]*\n#?\[|\Z)"
        blocks = re.findall(block, example(vocabulary()))
        chosen = [table for table in tables(vocabulary()) if table.chosen and table.shared is CheckSettings]
        self.assertEqual(len(blocks), len(chosen))
        for block in blocks:
            check = re.sub(r"(?m)^#(?! )", "", block)
            made = reads(f'[upstream.web]\nservers = ["a:1"]\n[upstream.web.check]\n{check}\n', "b", vocabulary())
            settings = made.upstream["web"].check
            self.assertIsNotNone(settings)
            self.assertEqual(settings, type(settings)())

    def test_caches(self) -> None:
        """Switched on as it stands, the cache is one with every default; of its purge only the token is to be said."""
        text = example(vocabulary()).replace("#token =", '#token = "to-be-kept-to-yourself"')
        cache = text[text.index("#[cache.web]") : text.index("#[store.web]")]
        made = reads(re.sub(r"(?m)^#(?! )(?!\w+ =$)", "", cache), "b", vocabulary())
        purge = PurgePolicy(token="to-be-kept-to-yourself")
        self.assertEqual(made.cache, {"web": CachePolicy(purge=purge)})

    def test_stores(self) -> None:
        """The keys of every type of store are its keys, with its defaults; what has to be given is left to be said."""
        words = Vocabulary(stores={"memory": Memory, "disk": Disk})
        text = example(words)
        blocks = re.findall(r"(?ms)^#\[store\.web\]\n(#type.*?)(?=^#?\[|^# [^\n]*\n#?\[|\Z)", text)
        self.assertEqual(len(blocks), 2)
        for block, settings in zip(blocks, (Disk(path="/a"), Memory()), strict=True):
            store = re.sub(r"(?m)^#(?! )", "", block).replace("path =\n", 'path = "/a"\n')
            self.assertEqual(reads(f"[store.web]\n{store}\n", "b", words).store["web"].settings, settings)
        section = reference(words).split('## `[store.NAME]` with `type = "disk"`')[1].split("\n##")[0]
        self.assertIn('On a disk. Beside "type" it has:', section)
        words = Vocabulary(stores={"tiered": Tiered})
        text = reference(words)
        self.assertIn("## `[store.NAME.memory]`\n\nThe memory.\n\n| key |", text)
        self.assertIn("\n#[store.web.memory]\n", example(words))
        self.assertIn("| `path` | a text | has to be given | A directory. |", section)

    def test_settings_of_stores(self) -> None:
        """The settings of every store of this installation refuse a key that they do not have."""
        for name, settings in vocabulary().stores.items():
            self.assertEqual(getattr(settings, "__pydantic_config__", {}).get("extra"), "forbid", name)

    def test_minimal(self) -> None:
        """etc/minimal.toml is read, and says the same as the other one with less."""
        minimal = read(str(ROOT / "etc" / "minimal.toml"), vocabulary())
        self.assertEqual(minimal, read(str(ROOT / EXAMPLE), vocabulary()))


class PageTests(SynchronousTestCase):
    def test_examples(self) -> None:
        """Every TOML example of docs/configuration.md is read; together with what it refers to."""
        page = (ROOT / "docs" / "configuration.md").read_text()
        examples = re.findall(r"(?s)```toml\n(.*?)```", page)
        self.assertGreater(len(examples), 1)
        web = '[upstream.web]\nservers = ["a:1"]\n'
        for text in examples:
            reads(text if "[upstream.web]" in text else text + web, "configuration.md", vocabulary())

    def test_udp(self) -> None:
        """Every TOML example of docs/udp.md is read, and is complete."""
        examples = re.findall(r"(?s)```toml\n(.*?)```", (ROOT / "docs" / "udp.md").read_text())
        self.assertEqual(len(examples), 2)
        for text in examples:
            self.assertEqual([each.mode for each in reads(text, "udp.md", vocabulary()).listener.values()], ["udp"])

    def test_cache(self) -> None:
        """Every TOML example of docs/cache.md is read."""
        stores = {"memory": Memory, "tiered": Tiered, "disk": Disk, **vocabulary().stores}
        examples = re.findall(r"(?s)```toml\n(.*?)```", (ROOT / "docs" / "cache.md").read_text())
        self.assertGreater(len(examples), 4)
        for text in examples:
            reads(text, "cache.md", Vocabulary(stores=stores))

    def test_report(self) -> None:
        """The report that docs/configuration.md shows is what such a file gives."""
        page = (ROOT / "docs" / "configuration.md").read_text()
        shown = re.findall(r"(?s)```\n(2 mistakes.*?)```", page)[0]
        text = (
            '[upstream.api]\nservers = ["a:1"]\n'
            + '[upstream.web]\nservers = ["a:1", { address = "b:1", weight = "ten" }]\n'
            + '[listener.public]\nlisten = "tcp:8080"\nto = "wbe"\n'
        )
        with self.assertRaises(ConfigurationError) as caught:
            reads(text, "balancer.toml", vocabulary())
        self.assertEqual(re.sub(r":\d+:", ":", str(caught.exception)), re.sub(r":\d+:", ":", shown.strip()))


def _title(table: Table) -> str:
    title = f"`{table.header}`" if table.header else "The top"
    return title + (f' with `type = "{table.chosen}"`' if table.chosen else "")
