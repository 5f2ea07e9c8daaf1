"""The settings of an agent check. Only values: what an agent says is read in :mod:`balancer.core.agent`."""

from dataclasses import dataclass
from typing import Annotated

from annotated_types import MaxLen
from pydantic import AfterValidator
from typing_extensions import Doc

from balancer.core.model import is_literal
from balancer.core.units import Port, Seconds, Share, Size


def _literal(text: str) -> str:
    if text and not is_literal(text):
        raise ValueError('an IP address, or "" for the server\'s own')
    return text


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentSettings:
    """An agent that is asked beside the check: HAProxy's `agent-check`."""

    __pydantic_config__ = {"extra": "forbid"}

    port: Annotated[Port, Doc("The port the agent listens on.")]
    address: Annotated[
        str,
        AfterValidator(_literal),
        Doc("Another IP address than the server's, where the agent listens; empty for its own."),
    ] = ""
    send: Annotated[
        str,
        MaxLen(1024),
        Doc(r'What is sent to the agent once connected, as it is (`"web1\n"` ends with a newline); empty for nothing.'),
    ] = ""
    interval: Annotated[Seconds, Doc("Seconds between one answer and the next question.")] = 2.0
    timeout: Annotated[Seconds, Doc("Seconds an answer may take, connecting included.")] = 2.0
    jitter: Annotated[
        Share, Doc("Each wait is changed by up to this share, at random, so that questions do not march in step.")
    ] = 0.1
    read_limit: Annotated[Size, Doc("Bytes within which the line of an answer has to end.")] = 4096
