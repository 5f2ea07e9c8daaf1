"""What the kernel forwarded to a server, as a value: read from its counters, never counted here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the kernel forwarded to one server, since our table was made.

    :ivar connections: new ones (of UDP: flows).
    :ivar packets_in: from clients to the server; ``bytes_in`` with the headers of IP, as the kernel counts.
    :ivar packets_out: from the server to clients.
    """

    connections: int = 0
    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0

    def __add__(self, other: "Traffic") -> "Traffic":
        return Traffic(
            self.connections + other.connections,
            self.packets_in + other.packets_in,
            self.bytes_in + other.bytes_in,
            self.packets_out + other.packets_out,
            self.bytes_out + other.bytes_out,
        )
