"""What was purged: a ledger that makes any purge one entry, whatever it meets, and tells of each stored response
whether a purge met it. It never touches a stored response.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """One purge.

    :ivar kind: what ``what`` is: the URI ``scheme://host/path?query`` as a key has it; its beginning; a host as keys
        have it (any scheme); a tag; or everything (and ``what`` is empty).
    :ivar soft: what it meets is stale from now on, not gone.
    """

    kind: Literal["url", "prefix", "host", "tag", "all"]
    what: bytes = b""
    soft: bool = False
