"""The contract of a selector, as tests its author inherits; and what is needed to call one without a balancer.

    class ZoneContract(SelectorContract, TestCase):
        plugin = zone_plugin.zone
        arguments = ("eu-1",)

The balancer's own selectors pass the same tests. Nothing here needs hypothesis, a reactor or a clock.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from balancer.core.model import MAX_WEIGHT, Backend, BackendSpec, Member
from balancer.core.tiers import RAMP_STEPS
from balancer.core.traits import NOTHING_KNOWN, Traits
from balancer.interfaces import ISelector, ISelectorPlugin, SelectionOptions

if TYPE_CHECKING:
    from unittest import TestCase
else:
    TestCase = object  # a mixin: pytest must not collect the contract itself


CROWDS = ((1, 1), (2, MAX_WEIGHT), (3, 1), (5, MAX_WEIGHT * RAMP_STEPS), (12, 4), (200, 3))
"""How many members a crowd of the contract has, and the largest weight in it."""


class HandClock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def seconds(self) -> float:
        """The time."""
        return self.now


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Traits of a request about which everything is known; see :class:`~balancer.core.traits.Traits`."""

    source_address: str | None = "192.0.2.1"
    method_name: bytes | None = b"GET"
    authority: bytes | None = b"example.org"
    target_path: bytes | None = b"/a/b/c"
    target_query: bytes | None = b"user=7&page=2"
    fields: Mapping[bytes, bytes] = field(default_factory=lambda: {b"x-tenant": b"blue", b"cookie": b"session=12; a=b"})

    def source(self) -> str | None:
        """The client's address."""
        return self.source_address

    def method(self) -> bytes | None:
        """The request's method."""
        return self.method_name

    def host(self) -> bytes | None:
        """The request's authority."""
        return self.authority

    def path(self) -> bytes | None:
        """The target's path."""
        return self.target_path

    def query(self) -> bytes | None:
        """The target's query."""
        return self.target_query

    def header(self, name: bytes) -> bytes | None:
        """The value of a field."""
        return self.fields.get(name)


def a_member(number: int, weight: int = 1, *, usable: bool = True, active: int = 0, limit: int = 0) -> Member:
    """A member at an address of its own (10.0.0.0 + number), as an upstream would hold it."""
    host = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    spec = BackendSpec(host=host, port=80, weight=min(weight, MAX_WEIGHT), max_connections=limit)
    member = Member(Backend(spec.key), spec)
    member.weight = weight
    member.usable = usable
    member.backend.active = active
    member.backend.max_connections = limit
    return member


def some_members(weights: Iterable[int]) -> tuple[Member, ...]:
    """Usable members of these weights."""
    return tuple(a_member(number, weight) for number, weight in enumerate(weights))


def options_with(seed: int = 0, *, hash_type: str = "ring", balance_factor: int = 0) -> SelectionOptions:
    """Options with chance of their own and a clock that stands at 0."""
    return SelectionOptions(
        random=Random(seed), seconds=HandClock().seconds, hash_type=hash_type, balance_factor=balance_factor
    )


def picks(selector: ISelector, number: int, traits: Traits = NOTHING_KNOWN) -> list[Member]:
    """The first candidates of so many requests, none of which takes a lease."""
    return [next(selector.candidates(traits) or iter(())) for _ in range(number)]


class SelectorContract(TestCase):
    """What every selector promises.

    :ivar plugin: the plugin to test.
    :ivar arguments: arguments it takes.
    :ivar traits: a request it has a key for.
    :ivar options: fields of :class:`~balancer.interfaces.SelectionOptions` to set beside chance and clock.
    :ivar keeps_keys: it places the same request on the same member.
    """

    plugin: ISelectorPlugin
    arguments: Sequence[str] = ()
    traits: Traits = Asked()
    options: Mapping[str, Any] = MappingProxyType({})
    keeps_keys = False

    def make(self, members: Sequence[Member], seed: int = 0) -> ISelector:
        """A selector for these members."""
        return self.plugin.selector(self.arguments, members, replace(options_with(seed), **self.options))

    def crowd(self, seed: int) -> tuple[Member, ...]:
        """From 1 to 200 members, some not usable, with loads, and weights up to the largest of slow start."""
        chance = Random(seed)
        number, top = CROWDS[seed % len(CROWDS)]
        return tuple(
            a_member(
                index, chance.randint(1, top), usable=chance.random() < 0.8, active=chance.choice((0, 0, 1, 5, 70))
            )
            for index in range(number)
        )

    def offered(self, selector: ISelector) -> list[Member]:
        """All candidates for the traits, in order."""
        found = selector.candidates(self.traits)
        self.assertIsNotNone(found, "the selector has no key for the contract's traits; set `traits`")
        return list(found or ())

    def test_arguments_are_accepted(self) -> None:
        """The plugin accepts the arguments it is tested with, and refuses what cannot be meant."""
        self.plugin.check(self.arguments)
        with self.assertRaises(ValueError):
            self.plugin.check(("no such argument", "nor another", "of a selector"))

    def test_every_usable_member_once(self) -> None:
        """The candidates are the usable members, each exactly once."""
        for seed in range(12):
            members = self.crowd(seed)
            selector = self.make(members, seed)
            for _ in range(3):
                found = self.offered(selector)
                self.assertEqual(len(found), len(set(found)), "a member came twice")
                self.assertEqual(set(found), {member for member in members if member.usable})

    def test_refresh_follows_usability(self) -> None:
        """After refresh the candidates are those usable now, whoever was usable before."""
        for seed in range(12):
            members = self.crowd(seed)
            selector = self.make(members, seed)
            for turn in range(3):
                for index, member in enumerate(members):
                    member.usable = (index + turn) % 3 == 0
                selector.refresh()
                self.assertEqual(set(self.offered(selector)), {member for member in members if member.usable})

    def test_a_member_lost_on_the_way_is_not_offered(self) -> None:
        """A member that stops being usable while candidates are read is not offered any more; the others are, once."""
        for seed in range(3):
            members = some_members([1 + seed] * 12)
            selector = self.make(members, seed)
            reading = selector.candidates(self.traits) or iter(())
            found = [next(reading)]
            for member in members[::2]:
                member.usable = False
            selector.refresh()
            found.extend(reading)
            self.assertEqual(len(found), len(set(found)))
            self.assertTrue(all(member.usable for member in found[1:]))
            self.assertEqual(set(found[1:]), {member for member in members if member.usable} - {found[0]})

    def test_full_members_are_offered(self) -> None:
        """Members at their limit are offered like others: passing over them is the upstream's part."""
        members = tuple(a_member(number, 2, active=3, limit=3) for number in range(6))
        self.assertEqual(set(self.offered(self.make(members))), set(members))

    def test_nobody(self) -> None:
        """Without members, and without usable ones, there is no candidate and no error."""
        self.assertEqual(list(self.make(()).candidates(self.traits) or ()), [])
        members = tuple(a_member(number, usable=False) for number in range(3))
        self.assertEqual(list(self.make(members).candidates(self.traits) or ()), [])

    def test_candidates_are_an_iterator(self) -> None:
        """Candidates come from an iterator that may be left at any point and harms no other."""
        members = some_members([1, 2, 3, 4])
        selector = self.make(members)
        left = selector.candidates(self.traits)
        self.assertTrue(left is not None and iter(left) is left)
        next(left or iter(()))
        self.assertEqual(set(self.offered(selector)), set(members))

    def test_only_reads(self) -> None:
        """A selector changes neither members nor backends."""
        for seed in range(6):
            members = self.crowd(seed)
            before = [_seen(member) for member in members]
            selector = self.make(members, seed)
            self.offered(selector)
            for member in members:
                selector.observe(member, 0.1, 1.0)
            selector.refresh()
            self.offered(selector)
            self.assertEqual([_seen(member) for member in members], before)

    def test_same_seed_same_choices(self) -> None:
        """Two selectors with one seed and one state choose alike: chance comes from the options alone."""
        for seed in range(6):
            members = self.crowd(seed)
            one, other = self.make(members, seed), self.make(members, seed)
            for _ in range(5):
                self.assertEqual(self.offered(one), self.offered(other))

    def test_a_former_member_is_never_offered(self) -> None:
        """A lease older than the selector may come back; its member is not offered for that."""
        for number in (3, 200):
            old, new = some_members([1] * number), some_members([1] * number)
            for member in new:
                member.backend.active = 1  # the former ones would be the better choice
            selector = self.make(new)
            self.offered(selector)
            for member in old[:3]:
                selector.observe(member, 0.01, 1.0)
            found = [self.offered(selector) for _ in range(3)]
            self.assertTrue(all(set(each) == set(new) for each in found))

    def test_a_request_without_any_key(self) -> None:
        """Of a connection about which nothing is known a selector says ``None`` or offers each usable member once."""
        members = some_members([1, 1, 2])
        found = self.make(members).candidates(NOTHING_KNOWN)
        self.assertTrue(found is None or sorted(map(id, found)) == sorted(map(id, members)))

    def test_same_key_same_member(self) -> None:
        """Where a selector keeps keys, a request like the last one meets the same candidates, with any seed."""
        if not self.keeps_keys:
            return
        for seed in range(6):
            members = self.crowd(seed)
            selector = self.make(members, seed)
            expected = self.offered(selector)
            self.assertEqual(self.offered(selector), expected)
            selector.refresh()
            self.assertEqual(self.offered(selector), expected)
            self.assertEqual(self.offered(self.make(members, seed + 1)), expected)


def _seen(member: Member) -> tuple[object, ...]:
    backend = member.backend
    return (member.weight, member.usable, member.spec, backend.active, backend.total, backend.failures, backend.state)
