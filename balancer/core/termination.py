"""Every way an exchange or a TCP connection can end: its word in the log, the status, and what it means.

One table for the engines, which answer with the status, for the access log, which writes the word, and for
the manual. Nothing here decides that something has ended.
"""

from enum import Enum


class Termination(Enum):
    """Why it ended.

    :ivar word: ``value``, the word in logs and metrics, without the call that an enum makes of it.
    :ivar status: what the client is answered if no response has begun; 0: nothing can be answered, the client's
        connection is closed or, once a response has begun, aborted.
    :ivar explanation: one line for a person.
    :ivar blame: ``client``, ``backend``, ``balancer`` (limits, configuration, operator) or empty when nobody is.
    """

    word: str
    status: int
    explanation: str
    blame: str

    def __new__(cls, word: str, status: int, blame: str, explanation: str) -> "Termination":
        member = object.__new__(cls)
        member._value_ = member.word = word
        member.status = status
        member.blame = blame
        member.explanation = explanation
        return member

    DONE = ("done", 0, "", "the response, or the TCP connection, was finished in both directions")
    UPGRADED = ("upgraded", 0, "", "the exchange became a tunnel after 101 and the tunnel ended in order")

    CLIENT_LEFT = ("client_left", 0, "client", "the client closed before the end; the backend was told at once")
    REFUSED = ("refused", 400, "client", "the gate refused the request; the reason names what was found")
    NO_ROUTE = ("no_route", 404, "client", "no route of the listener matches the request, or the name asked for in TLS")
    NOT_CACHED = ("not_cached", 504, "client", "the client wanted a stored response only, and there is none that fits")
    CLIENT_HEAD_TIMEOUT = ("client_head_timeout", 408, "client", "the request's head was not complete in time")
    CLIENT_BODY_TIMEOUT = ("client_body_timeout", 408, "client", "the request's body stopped arriving")
    CLIENT_BODY_MALFORMED = ("client_body_malformed", 400, "client", "the request's body broke its own framing")
    CLIENT_WRITE_TIMEOUT = ("client_write_timeout", 0, "client", "the client stopped reading the response")
    CLIENT_TLS_FAILED = ("client_tls_failed", 0, "client", "the client's TLS handshake failed or took too long")
    NOT_TLS = ("not_tls", 0, "client", "the client of a listener that passes TLS through sent no TLS")
    CLIENT_PROXY_REFUSED = (
        "client_proxy_refused", 0, "client",
        "its PROXY header is missing, late or wrong, or it is not one of those who may send one",
    )  # fmt: skip
    BODY_TOO_LARGE = ("body_too_large", 413, "client", "the request's body is larger than the limit")

    LIMIT = ("limit", 503, "balancer", "a connection or request limit of the listener was reached")
    NO_BACKEND = ("no_backend", 503, "balancer", "the upstream has no backend that is available")
    QUEUE_TIMEOUT = ("queue_timeout", 503, "balancer", "no backend had room within the queue's timeout")
    QUEUE_FULL = ("queue_full", 503, "balancer", "no backend had room and the queue was full")
    TOTAL_TIMEOUT = ("total_timeout", 504, "balancer", "the exchange took longer than its total timeout")
    SHUTDOWN = ("shutdown", 503, "balancer", "the balancer was stopped and the time to drain was over")
    STORE_FAILED = ("store_failed", 0, "balancer", "a stored response could not be read to its end")
    MAX_LIFETIME = ("max_lifetime", 0, "balancer", "the connection was open as long as the listener's guard allows")
    INTERNAL = ("internal", 500, "balancer", "the balancer failed; the log has the traceback")

    CONNECT_REFUSED = ("connect_refused", 502, "backend", "every backend tried refused or reset the connect")
    CONNECT_UNREACHABLE = ("connect_unreachable", 502, "backend", "no way to the backend, or its name is not known")
    CONNECT_TIMEOUT = ("connect_timeout", 504, "backend", "no backend tried accepted within the connect timeout")
    BACKEND_TLS_FAILED = ("backend_tls_failed", 502, "backend", "the TLS handshake with the backend failed")
    BACKEND_TLS_TIMEOUT = ("backend_tls_timeout", 504, "backend", "the TLS handshake with the backend took too long")
    FIRST_BYTE_TIMEOUT = ("first_byte_timeout", 504, "backend", "the backend did not begin to answer in time")
    BACKEND_CLOSED_EARLY = ("backend_closed_early", 502, "backend", "the backend closed before any byte of a response")
    MALFORMED_RESPONSE = ("malformed_response", 502, "backend", "the backend's response is not HTTP, or is ambiguous")
    TRUNCATED_RESPONSE = (
        "truncated_response", 502, "backend",
        "the backend closed in the middle of the response; the client's connection was aborted",
    )  # fmt: skip
    BACKEND_IDLE_TIMEOUT = ("backend_idle_timeout", 504, "backend", "the backend stopped in the middle of the response")
    BACKEND_WRITE_TIMEOUT = ("backend_write_timeout", 504, "backend", "the backend stopped reading the request")
    BACKEND_RESET = ("backend_reset", 502, "backend", "the backend reset the connection; the client's was reset too")

    TUNNEL_IDLE = ("tunnel_idle", 0, "", "no byte in either direction for as long as the idle timeout")
    SESSION_IDLE = ("session_idle", 0, "", "no datagram of the UDP session in either direction for its idle time")
