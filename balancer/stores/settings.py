"""The keys of the stores in memory and of memory over another. Only values: nothing here keeps anything."""

from dataclasses import dataclass, field
from typing import Annotated

from typing_extensions import Doc

from balancer.core.units import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySettings:
    """`type = "memory"`: responses are kept in this process, and gone when it ends."""

    __pydantic_config__ = {"extra": "forbid"}

    type: Annotated[str, Doc("`memory`")] = "memory"
    size: Annotated[
        Size,
        Doc("Bytes of memory that everything takes together: bodies, heads, keys and what is needed to find them."),
    ] = 256 * 2**20
    max_object: Annotated[Size, Doc("Bytes of the largest body that is kept; never more than an eighth of `size`.")] = (
        16 * 2**20
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UpperSettings:
    """The memory of a tiered store: as a store in memory, but for smaller bodies."""

    __pydantic_config__ = {"extra": "forbid"}

    size: Annotated[Size, Doc("Bytes of memory that everything takes together.")] = 256 * 2**20
    max_object: Annotated[
        Size,
        Doc(
            "Bytes of the largest body that is kept in memory too; never more than an eighth of `size`. Larger ones "
            "are read from the store below each time."
        ),
    ] = 64 * 2**10


@dataclass(frozen=True, slots=True, kw_only=True)
class TieredSettings:
    """`type = "tiered"`: memory over another store, which has everything."""

    __pydantic_config__ = {"extra": "forbid"}

    type: Annotated[str, Doc("`tiered`")] = "tiered"
    over: Annotated[str, Doc("The name of the other `[store.NAME]`, which keeps everything.")]
    memory: Annotated[UpperSettings, Doc("The memory, for what is asked for again.")] = field(
        default_factory=UpperSettings
    )
