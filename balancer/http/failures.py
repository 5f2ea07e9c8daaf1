"""What a failure at the backend is called, for the log, for the backend's record and for a retry. Tables only."""

from typing import Final

from balancer.core.lease import Outcome
from balancer.core.policies import RetryCondition
from balancer.core.termination import Termination

_CONNECT: Final = {
    Outcome.CONNECT_REFUSED: Termination.CONNECT_REFUSED,
    Outcome.CONNECT_TIMEOUT: Termination.CONNECT_TIMEOUT,
    Outcome.CONNECT_FAILED: Termination.CONNECT_UNREACHABLE,
    Outcome.UNUSED: Termination.LIMIT,  # no descriptor or port was left on this machine
}
_HANDSHAKE: Final = {
    Outcome.CONNECT_TIMEOUT: Termination.BACKEND_TLS_TIMEOUT,
    Outcome.CONNECT_FAILED: Termination.BACKEND_TLS_FAILED,
}
_RESPONSE: Final = {
    Termination.BACKEND_CLOSED_EARLY: Outcome.EMPTY_RESPONSE,
    Termination.BACKEND_RESET: Outcome.RESET,
    Termination.TRUNCATED_RESPONSE: Outcome.BAD_RESPONSE,
    Termination.MALFORMED_RESPONSE: Outcome.BAD_RESPONSE,
}

GATEWAY_ERRORS: Final = frozenset({502, 503, 504})
"""Statuses of a backend that count as its failure: what lies behind it does not answer."""

REFUSALS: Final = {408: Termination.CLIENT_BODY_TIMEOUT, 413: Termination.BODY_TOO_LARGE}
"""Why a request's body was refused, by status; any other is malformed."""


def connect_failure(outcome: Outcome, handshaking: bool) -> Termination:
    """What a connect that failed is called, during the TLS handshake or before it."""
    if handshaking and outcome in _HANDSHAKE:
        return _HANDSHAKE[outcome]
    return _CONNECT.get(outcome, Termination.CONNECT_UNREACHABLE)


def response_failure(termination: Termination, reused: bool) -> tuple[Outcome, RetryCondition | None]:
    """What a response that failed says about the backend, and the condition under which it may be tried again.

    A kept connection that closed before any byte says nothing about the backend: it only was idle for too long.
    """
    if termination is not Termination.BACKEND_CLOSED_EARLY:
        return _RESPONSE[termination], None
    return (Outcome.UNUSED, "reused-closed") if reused else (Outcome.EMPTY_RESPONSE, "empty-response")
