"""What probes say: a machine that turns single results into UP and DOWN by ``rise`` and ``fall``.

Sources: HAProxy's check/rise/fall/fastinter/downinter semantics. It never sends a probe and never reads a clock:
it is told results and answers with the verdict and the wait before the next probe.
"""

from dataclasses import dataclass
from random import Random
from typing import Annotated, Literal

from typing_extensions import Doc

from balancer.core.model import Health
from balancer.core.units import Count, Port, Seconds, SecondsOrZero, Share


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckTiming:
    """When a backend is probed and how many agreeing results change the verdict."""

    __pydantic_config__ = {"extra": "forbid"}

    interval: Annotated[Seconds, Doc("Seconds between probes of a backend whose state is settled.")] = 5.0
    fast_interval: Annotated[
        Seconds, Doc("Seconds between probes while results disagree with the state, until it is settled.")
    ] = 1.0
    down_interval: Annotated[
        SecondsOrZero, Doc("Seconds between probes of a backend that is down; 0 takes `interval`.")
    ] = 0.0
    timeout: Annotated[Seconds, Doc("Seconds a probe may take, connecting included.")] = 2.0
    rise: Annotated[Count, Doc("Passes in a row that bring a backend up.")] = 2
    fall: Annotated[Count, Doc("Failures in a row that take a backend down.")] = 3
    jitter: Annotated[
        Share, Doc("Each wait is changed by up to this share, at random, so that probes do not march in step.")
    ] = 0.1
    start: Annotated[
        Literal["wait", "up", "down"],
        Doc(
            "What a new backend is before its first result: `wait` (serves after one pass), "
            "`up` (serves at once), `down` (serves after `rise` passes)."
        ),
    ] = "wait"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings(CheckTiming):
    """What every check has, whatever it probes. A probe plugin's settings are a subclass, frozen and hashable:
    equal settings for one backend are one probe stream."""

    type: Annotated[
        str, Doc("The probe: `tcp`, `tls`, `http`, `expect`, `udp` or a plugin's; `none` for no check.")
    ] = "tcp"
    port: Annotated[Port | None, Doc("Another port to probe than the one that serves.")] = None
    address: Annotated[str, Doc("Another IP address to probe than the one that serves; empty for the same.")] = ""
    send_proxy: Annotated[
        Literal["", "none", "v1", "v2"],
        Doc(
            "The PROXY protocol header that a probe's connection begins with, in which the balancer speaks for itself "
            "(LOCAL, UNKNOWN); empty sends what the upstream does, unless `port` or `address` say another place."
        ),
    ] = ""


class HealthMachine:
    """The state of one probe stream. ``repr`` tells it whole.

    :ivar health: UNKNOWN until the first verdict, then UP or DOWN.
    :ivar streak: results in a row that disagree with :attr:`health`.
    """

    __slots__ = ("health", "streak", "timing")

    def __init__(self, timing: CheckTiming) -> None:
        self.timing = timing
        self.health = Health.DOWN if timing.start == "down" else Health.UNKNOWN
        self.streak = 0

    def __repr__(self) -> str:
        timing = self.timing
        return f"<HealthMachine {self.health.value} streak={self.streak} rise={timing.rise} fall={timing.fall}>"

    def result(self, passed: bool) -> bool:
        """Take one result. Returns whether :attr:`health` changed, which happens only on the agreeing result
        that completes ``rise`` or ``fall``; from UNKNOWN one pass is enough."""
        if passed is (self.health is Health.UP) and self.health is not Health.UNKNOWN:
            self.streak = 0
            return False
        if self.health is Health.UNKNOWN and passed:
            self.streak = 0
            self.health = Health.UP
            return True
        self.streak += 1
        needed = self.timing.rise if passed else self.timing.fall
        if self.streak < needed:
            return False
        self.streak = 0
        self.health = Health.UP if passed else Health.DOWN
        return True

    def wait(self, random: Random) -> float:
        """Seconds before the next probe."""
        timing = self.timing
        if self.streak or self.health is Health.UNKNOWN:
            base = min(timing.fast_interval, timing.interval)
        elif self.health is Health.DOWN:
            base = timing.down_interval or timing.interval
        else:
            base = timing.interval
        return base * (1 + timing.jitter * (2 * random.random() - 1))
