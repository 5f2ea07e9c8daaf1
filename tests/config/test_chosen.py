"""Tables whose keys a plugin defines: stores. (Checks: see ``test_reader``.)"""

from dataclasses import dataclass
from typing import Annotated

from twisted.trial.unittest import SynchronousTestCase
from typing_extensions import Doc

from balancer.config.chosen import StoreConfig
from balancer.config.reader import reads
from balancer.config.vocabulary import Vocabulary
from balancer.core.units import Size
from balancer.errors import ConfigurationError
from balancer.stores.disk import DiskSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Keeps it in memory."""

    __pydantic_config__ = {"extra": "forbid"}

    size: Annotated[Size, Doc("Bytes.")] = 2**26


@dataclass(frozen=True, slots=True, kw_only=True)
class Disk:
    """Keeps it on a disk."""

    __pydantic_config__ = {"extra": "forbid"}

    path: Annotated[str, Doc("A directory.")]
    sizes: Annotated[tuple[int, ...], Doc("Numbers.")] = ()
    secret_key: Annotated[str, Doc("Not to be shown.")] = ""


WORDS = Vocabulary(stores={"memory": Memory, "disk": Disk})


class StoreTests(SynchronousTestCase):
    """As a file writes them."""

    def problem(self, text: str, words: Vocabulary = WORDS) -> str:
        """The one mistake, with all that is said of it."""
        with self.assertRaises(ConfigurationError) as caught:
            reads(text, "b.toml", words)
        (problem,) = caught.exception.problems
        return f"{problem.line} {problem.key}: {problem.found} | {problem.allowed} | {problem.hint}"

    def test_its_keys_are_those_of_its_type(self) -> None:
        """The settings are of the class of the type, with lists, defaults and units as anywhere else."""
        text = '[store.a]\ntype = "disk"\npath = "/a"\nsizes = [1, 2]\n[store.b]\ntype = "memory"\nsize = "1KiB"\n'
        read = reads(text, "b.toml", WORDS)
        self.assertEqual(read.store["a"], StoreConfig(type="disk", settings=Disk(path="/a", sizes=(1, 2))))
        self.assertEqual(read.store["b"], StoreConfig(type="memory", settings=Memory(size=1024)))

    def test_without_a_type(self) -> None:
        """It has to be given, and the message says what there is."""
        self.assertEqual(
            self.problem('[store.a]\npath = "/a"\n'),
            '1 store.a.type: nothing: the key has to be given | "disk" or "memory" | ',
        )

    def test_unknown_types(self) -> None:
        """The types there are, and the nearest."""
        self.assertEqual(
            self.problem('[store.a]\ntype = "memroy"\nsize = 5\n'),
            '2 store.a.type: "memroy" | "memory" or "disk" | "memory"',
        )
        self.assertIn('2 store.a.type: 5 | "memory" or "disk" | ', self.problem("[store.a]\ntype = 5\n"))
        self.assertIn("none: no plugin", self.problem('[store.a]\ntype = "disk"\n', Vocabulary()))

    def test_unknown_keys(self) -> None:
        """The keys of its type, and the nearest."""
        self.assertEqual(
            self.problem('[store.a]\ntype = "memory"\nsizee = 5\n'),
            "3 store.a.sizee: an unknown key | the keys type or size | size",
        )

    def test_a_type_of_its_own(self) -> None:
        """Settings that have a key ``type``, as those of the stores that come with the balancer, have it once."""
        words = Vocabulary(stores={"disk": DiskSettings})
        told = self.problem('[store.a]\ntype = "disk"\npath = "/a"\nsizee = 5\n', words)
        self.assertIn("| the keys type, path, size, ", told)

    def test_wrong_values(self) -> None:
        """What the key of that type takes, at its place; a secret is not shown."""
        before = '[store.a]\ntype = "disk"\npath = "/a"\n'
        self.assertEqual(self.problem(before + 'sizes = [1, "x"]\n'), '4 store.a.sizes[1]: "x" | a whole number | ')
        self.assertIn("not shown", self.problem(before + "secret_key = 4711\n"))
        self.assertIn("1 store.a.path: nothing", self.problem('[store.a]\ntype = "disk"\n'))

    def test_no_table(self) -> None:
        """A store is a table."""
        self.assertIn('a table with "type"', self.problem("[store]\na = 5\n"))
        self.assertIn('the name "-a"', self.problem('[store.-a]\ntype = "memory"\n'))
