"""The chain, its last resort and its memory."""

from collections.abc import Iterator
from random import Random

from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from balancer.core.model import Member
from balancer.core.selection.chain import Chain, Succession
from balancer.core.traits import NOTHING_KNOWN, Traits
from balancer.interfaces import ISelector
from balancer.testing.selectors import options_with, picks, some_members


@implementer(ISelector)
class Scripted:
    """Answers what it is told to and notes what it hears."""

    def __init__(self, answer: list[Member] | None) -> None:
        self.answer = answer
        self.heard: list[object] = []

    def refresh(self) -> None:
        self.heard.append("refresh")

    def candidates(self, traits: Traits) -> Iterator[Member] | None:
        self.heard.append(traits)
        return None if self.answer is None else iter(self.answer)

    def observe(self, member: Member, latency: float, now: float) -> None:
        self.heard.append((member, latency, now))


class Remembering(Scripted):
    """A selector with a memory."""

    def inherit(self, predecessor: Scripted) -> None:
        self.heard.append(predecessor)


class ChainTests(SynchronousTestCase):
    def test_the_first_that_has_a_key(self) -> None:
        """The first selector that answers decides; those after it are not asked."""
        members = some_members([1, 1])
        mute, speaks, after = Scripted(None), Scripted([members[1]]), Scripted([members[0]])
        chain = Chain([mute, speaks, after], members, options_with())
        self.assertEqual(list(chain.candidates(NOTHING_KNOWN)), [members[1]])
        self.assertEqual(after.heard, [])

    def test_an_empty_answer_is_an_answer(self) -> None:
        """A selector that offers nobody has a key all the same: nobody else is asked."""
        chain = Chain([Scripted([]), Scripted(None)], some_members([1]), options_with())
        self.assertEqual(list(chain.candidates(NOTHING_KNOWN)), [])

    def test_nobody_has_a_key(self) -> None:
        """Where none has a key the members take turns by weight, also after some became unusable."""
        members = some_members([2, 1])
        chain = Chain([Scripted(None)], members, options_with())
        self.assertEqual(sorted(map(members.index, picks(chain, 6))), [0, 0, 0, 0, 1, 1])
        members[0].usable = False
        chain.refresh()
        self.assertEqual(picks(chain, 2), [members[1]] * 2)

    def test_all_hear(self) -> None:
        """Every selector of the chain hears of refreshes and leases."""
        members = some_members([1])
        parts = [Scripted(None), Scripted([])]
        chain = Chain(parts, members, options_with())
        chain.refresh()
        chain.observe(members[0], 0.5, 3.0)
        for part in parts:
            self.assertEqual(part.heard, ["refresh", (members[0], 0.5, 3.0)])


class SuccessionTests(SynchronousTestCase):
    def test_memory_is_handed_on(self) -> None:
        """A selector with a memory meets its predecessor at each rebuild; one without is left alone."""
        build = Succession([lambda members: Remembering([]), lambda members: Scripted([])], options_with())
        first, second, third = build(()), build(()), build(())
        self.assertEqual(first.selectors[0].heard, [])
        self.assertEqual(second.selectors[0].heard, [first.selectors[0]])
        self.assertEqual(third.selectors[0].heard, [second.selectors[0]])
        self.assertEqual(third.selectors[1].heard, [])

    def test_a_kind_that_changed_starts_anew(self) -> None:
        """A successor of another class inherits nothing."""
        kinds = [Remembering, Scripted]
        chance = Random(1)
        build = Succession([lambda members: kinds.pop(0)([])], options_with(chance.randrange(9)))
        build(())
        self.assertEqual(build(()).selectors[0].heard, [])
