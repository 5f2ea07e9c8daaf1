"""One stored response as a store in memory keeps it, and what it costs there. Only values: it never keeps anything."""

from typing import Final, TypeAlias

from balancer.cache.stored import SOFT_PURGED, Stored
from balancer.stores.chunks import Chunks
from balancer.stores.packing import flagged, flags_of, unpacked

Variant: TypeAlias = bytes | tuple[bytes, bytes | Chunks]
"""Head and body in one, or the head and the body."""

Entry: TypeAlias = Variant | list[Variant]
"""What is kept under one key: one response, or several with the most recent first."""

LARGEST_PACKED: Final = 2 * 2**10
"""Bytes of the largest body that stands behind its head: it is copied each time the response is unpacked."""

LARGEST_JOINED: Final = 64 * 2**10
"""Bytes of the largest body that is one piece. A larger one is read in pieces, so that no connection has to take all
of it at once."""

BYTES_COST: Final = 33 + 16
"""Bytes that a bytes object takes beside its own: Python's, and what malloc rounds up and notes."""

_PAIR_COST: Final = 80
"""Bytes of a pair, with what the garbage collector notes of it."""

_VARIANT_COST: Final = 24
"""Bytes of a variant's part in a list of them."""


def variant(head: bytes, body: bytes | Chunks) -> Variant:
    """A response of a packed head and a body."""
    if isinstance(body, Chunks):
        if body.size > LARGEST_JOINED:
            return (head, body)
        body = body.joined()
    if len(body) <= LARGEST_PACKED:
        return head + body
    if len(body) <= LARGEST_JOINED:
        return (head, body)
    pieces = Chunks()
    pieces.append(body)
    return (head, pieces)


def head_of(kept: Variant) -> bytes:
    """What begins with its head."""
    return kept if isinstance(kept, bytes) else kept[0]


def stored_of(kept: Variant, serial: int) -> Stored:
    """The response itself."""
    return unpacked(kept, serial, None) if isinstance(kept, bytes) else unpacked(kept[0], serial, kept[1])


def is_soft(kept: Variant) -> bool:
    """Whether a soft purge met it."""
    return flags_of(head_of(kept)) & SOFT_PURGED != 0


def soft(kept: Variant) -> Variant:
    """The same, met by a soft purge."""
    head = head_of(kept)
    head = flagged(head, flags_of(head) | SOFT_PURGED)
    return head if isinstance(kept, bytes) else (head, kept[1])


def variants_of(entry: Entry) -> list[Variant]:
    """The responses of a key."""
    return entry if isinstance(entry, list) else [entry]


def entry_of(variants: list[Variant]) -> Entry:
    """What these, at least one, are kept as."""
    return variants[0] if len(variants) == 1 else variants


def cost_of(variants: list[Variant]) -> int:
    """Bytes of memory."""
    cost = _PAIR_COST + _VARIANT_COST * len(variants) if len(variants) > 1 else 0
    for kept in variants:
        if isinstance(kept, bytes):
            cost += len(kept) + BYTES_COST
            continue
        head, body = kept
        cost += _PAIR_COST + len(head) + BYTES_COST
        cost += len(body) + BYTES_COST if isinstance(body, bytes) else body.cost
    return cost
