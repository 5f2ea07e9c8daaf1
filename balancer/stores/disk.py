"""The plugin ``disk``: responses in files of one directory, for more than memory holds and for longer than a process.

Its parts: ``disk_record`` says what a file is, ``disk_files`` and ``disk_body`` read and write them, ``disk_index``
knows them, ``disk_shelf`` has them come and go, ``disk_purging`` and ``disk_sweep`` purge, ``disk_loading`` finds what
is there at the start, ``disk_recovery`` begins anew where that was emptied, and ``disk_store`` is the store.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

from typing_extensions import Doc
from zope.interface import implementer

from balancer.core.units import Count, Size
from balancer.interfaces import ICacheStore, ICacheStorePlugin
from balancer.stores.disk_directory import look
from balancer.stores.disk_store import DiskStore

SHARE = 8
"""A body may take one part in so many of the room, unless it is configured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiskSettings:
    """`type = "disk"`: responses are kept in files, and there again after a restart."""

    __pydantic_config__ = {"extra": "forbid"}

    type: Annotated[str, Doc("`disk`")] = "disk"
    path: Annotated[
        str,
        Doc(
            "Its directory, made where it is not there: for this store of this process alone, on a disk that is near. "
            "It is closed to other users (mode 0700), and not to be removed while the process runs. A relative one is "
            "taken from the working directory of the process."
        ),
    ]
    size: Annotated[
        Size,
        Doc("What all files may take of the disk; what is asked for least goes first."),
    ] = 10 * 2**30
    max_object: Annotated[Size | None, Doc("The largest body that is kept; absent: an eighth of `size`.")] = None
    objects: Annotated[
        Count, Doc("Responses that are kept at most: each takes about 650 bytes of memory, whatever its size.")
    ] = 1_000_000
    sync: Annotated[
        bool,
        Doc(
            "Whether a purge waits until it is on the disk, and so survives a power failure. It survives the end of "
            "the process, kill -9 included, in any case."
        ),
    ] = False


@implementer(ICacheStorePlugin)
class DiskStores:
    """See the module."""

    name = "disk"
    settings = DiskSettings

    def check(self, settings: object) -> None:
        """See :class:`~balancer.interfaces.ICacheStorePlugin`: whether the directory is there and ours to write, or can
        be made."""
        assert isinstance(settings, DiskSettings)
        look(settings.path)

    def store(self, settings: object, reactor: Any, others: Callable[[str], ICacheStore]) -> ICacheStore:
        """See :class:`~balancer.interfaces.ICacheStorePlugin`."""
        assert isinstance(settings, DiskSettings)
        most = settings.size // SHARE if settings.max_object is None else settings.max_object
        return DiskStore(reactor, settings.path, settings.size, most, settings.objects, settings.sync)


DISK = DiskStores()
