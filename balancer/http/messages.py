"""What of a message goes on to the other side: heads re-written for the next hop, bodies re-framed.

Fields are chosen by ``core.headers`` and ``core.forwarded``; here the framing is put back. It never sends anything.
"""

from balancer.core.forwarded import BackendRequest
from balancer.core.headers import forwarded_target, response_fields, with_host, without
from balancer.core.lease import Lease
from balancer.core.record import ExchangeRecord
from balancer.core.termination import Termination
from balancer.errors import RequestRefused
from balancer.http.settings import HttpSettings
from balancer.http1.heads import CHUNKED, CHUNKED_BODY, CLOSE, Fields, Framing, RequestHead, ResponseHead
from balancer.http1.serialize import request_head


def backend_head(head: RequestHead, request: BackendRequest, lease: Lease, closing: bool) -> bytes:
    """The request's head as one backend gets it, always HTTP/1.1.

    A body of known length keeps its Content-Length; any other is sent in chunks.

    :param closing: the connection will not be kept, so the backend is told (RFC 9112 section 9.6).
    """
    fields = request.fields
    if request.needs_host:
        fields = with_host(fields, lease.member.spec.authority.encode("ascii", "replace"))
    if head.framing.kind is CHUNKED:
        fields = [*fields, (b"Transfer-Encoding", b"chunked")]
    if closing:
        fields = [*fields, (b"Connection", b"close")]
    return request_head(head.method, forwarded_target(head.target, head.path, head.query), fields)


def client_fields(head: ResponseHead, settings: HttpSettings) -> Fields:
    """The fields of a final response for the client, framing apart from a Content-Length left out.

    A Date is added where the backend sent none (RFC 9110 section 6.6.1).
    """
    fields = response_fields(head.fields, head.connection, settings.forwarding.response_via[head.minor])
    if head.status == 204:
        fields = without(fields, (b"content-length",))  # RFC 9110 section 8.6
    if head.get(b"date") is None:
        fields.append((b"Date", settings.date()))
    return fields


def client_framing(head: ResponseHead) -> Framing:
    """NONE and LENGTH as they are; a body that ends with the connection is one of unknown length: CHUNKED."""
    return CHUNKED_BODY if head.framing.kind is CLOSE else head.framing


def new_record(settings: HttpSettings, head: RequestHead, peer: str, port: int, waited: float) -> ExchangeRecord:
    """The record of an exchange whose head took ``waited`` seconds to arrive."""
    record = ExchangeRecord(settings.wall() - waited, settings.name, peer, port)
    record.peer = peer
    record.method = head.method
    record.target = head.target
    record.host = head.host
    record.minor = head.minor
    if settings.scheme != b"http":
        record.scheme = settings.scheme.decode("ascii")
    record.referer = head.get(b"referer") or b""
    record.user_agent = head.get(b"user-agent") or b""
    return record


def refused_record(
    settings: HttpSettings, peer: str, port: int, total: float, refusal: RequestRefused
) -> ExchangeRecord:
    """The record, complete, of a request of which not even the head could be read."""
    record = ExchangeRecord(settings.wall() - total, settings.name, peer, port)
    record.peer = peer
    record.scheme = settings.scheme.decode("ascii")
    record.status = refusal.status
    timeout = refusal.status == 408
    record.end(Termination.CLIENT_HEAD_TIMEOUT if timeout else Termination.REFUSED, total, refusal.reason)
    return record
