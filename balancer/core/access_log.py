"""The settings of the access log: frozen values. What writes it is :mod:`balancer.admin.access_log`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from annotated_types import MinLen
from typing_extensions import Doc

from balancer.core.units import Count, Seconds, Size

STDOUT = "-"
"""The path that means standard output."""


@dataclass(frozen=True)
class AccessLogSettings:
    """Settings: where a line for each exchange and each TCP connection goes, and how it looks."""

    __pydantic_config__ = {"extra": "forbid"}

    path: Annotated[
        str,
        MinLen(1),
        Doc(
            'File that lines are appended to, or "-" for standard output. A file that was moved away or removed is '
            "noticed within the flush interval and a new one opened."
        ),
    ] = STDOUT
    format: Annotated[
        Literal["common", "combined", "json"],
        Doc("NCSA common or combined, with key=value pairs behind, or one JSON object a line."),
    ] = "combined"
    flush_interval: Annotated[
        Seconds, Doc("Longest time a line waits before it is written. Default: what a person with tail -f accepts.")
    ] = 1.0
    batch: Annotated[
        Count,
        Doc(
            "Lines written at once, without waiting for the interval. Making 200 lines takes one to three "
            "milliseconds, the longest other connections then wait; fewer means more system calls."
        ),
    ] = 200
    buffer: Annotated[
        Size,
        Doc(
            "Memory for lines that cannot be written yet (a stalled reader); beyond it they are dropped and "
            'counted. Default "8MiB": about 8000 lines.'
        ),
    ] = 8 * 2**20
