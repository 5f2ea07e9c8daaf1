"""The hash of keys and members: 64 well-mixed bits, the same in every process, on every machine, after every restart.

BLAKE2b (RFC 7693) from the standard library, unkeyed. ``hash()`` would differ from process to process. A client that
chooses its own key can therefore aim at one backend; bounded load (``bounded``) is the answer to that.
"""

from hashlib import blake2b

from balancer.core.model import Backend


def digest(data: bytes) -> int:
    """A number from 0 to 2**64 - 1. About 0.7 us."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "big")


def identity(backend: Backend) -> bytes:
    """What a backend is hashed by: its address and TLS name, nothing that a restart or a new weight changes."""
    return f"{backend.address} {backend.tls_name or ''}".encode()
