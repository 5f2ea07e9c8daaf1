"""A selector of one's own: ``balance = "zone(eu-1)"`` takes the servers tagged ``zone = "eu-1"`` before all others."""

from twisted.plugin import IPlugin
from zope.interface import implementer

from balancer.interfaces import ISelector, ISelectorPlugin


@implementer(ISelector)
class Zone:
    def __init__(self, zone, members, random):
        self.tag, self.members, self.random = ("zone", zone), members, random

    def refresh(self):
        """Nothing is precomputed."""

    def candidates(self, traits):
        usable = [member for member in self.members if member.usable]
        self.random.shuffle(usable)  # so that equals take turns
        usable.sort(key=lambda member: (self.tag not in member.spec.tags, member.backend.active / member.weight))
        return (member for member in usable if member.usable)

    def observe(self, member, latency, now):
        """Latency is of no interest."""


@implementer(IPlugin, ISelectorPlugin)
class ZonePlugin:
    name = "zone"

    def check(self, arguments):
        if len(arguments) != 1:
            raise ValueError("takes one zone, for example eu-1")

    def selector(self, arguments, members, options):
        return Zone(arguments[0], members, options.random)


zone = ZonePlugin()
