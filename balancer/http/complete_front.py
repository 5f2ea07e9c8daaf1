"""What an exchange may ask of any front, and never does of one whose request is complete and that has neither tunnels
nor interim responses.

It never sends anything.
"""

from balancer.http.front import Driven
from balancer.http.gathering import Gathering
from balancer.http1.heads import Fields, Framing


class CompleteFront(Gathering):
    """See the module: those parts of a :class:`~balancer.http.fetch.Fetch`."""

    __slots__ = ("can_tunnel", "speaks_interim")

    def drive(self, driven: Driven) -> None:
        """Never asked for: a fetch starts its own exchange."""
        raise NotImplementedError("a fetch drives its exchange itself")

    def send_interim(self, status: int, reason: bytes, fields: Fields) -> None:
        """Never asked for: ``speaks_interim`` is False."""

    def send_lines(self, status: int, reason: bytes, lines: bytes, framing: Framing, body: bytes) -> None:
        """Never asked for: an exchange has fields."""
        raise NotImplementedError("an exchange sends fields")

    def source(self) -> None:
        """The request is complete."""

    def open_tunnel(self, tunnel: Driven) -> None:
        """Never asked for: ``can_tunnel`` is False."""
        raise NotImplementedError("a fetch has no tunnels")

    def end_tunnel_output(self) -> bool:
        """Never asked for."""
        return False

    def pause_request(self) -> None:
        """The request is complete."""

    def resume_request(self) -> None:
        """The request is complete."""
