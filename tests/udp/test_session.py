"""One client and one backend: what ends a session, what an error means, what is told of it."""

from errno import EAGAIN, ECONNREFUSED, EHOSTUNREACH, EMFILE, EMSGSIZE, ENETUNREACH, ENOSPC
from os import strerror

from balancer.core.datagrams import Drop
from balancer.core.model import AdminState, Health
from balancer.core.policies import OutlierPolicy, RetryPolicy, UpstreamPolicy
from balancer.core.termination import Termination
from balancer.testing.fakes import make_specs, make_upstream
from balancer.udp.settings import KEPT
from tests.udp.stage import ALICE, BOB, StageTestCase


def trouble(number: int) -> OSError:
    """An error of the system's."""
    return OSError(number, strerror(number))


REFUSED = trouble(ECONNREFUSED)


class ExchangeTests(StageTestCase):
    def test_there_and_back(self) -> None:
        """A datagram goes to a backend as it is, and the answer to the client it came from."""
        sock = self.ask(b"who?")
        self.assertEqual((sock.peer, sock.sent), (("10.0.0.1", 80), [b"who?"]))
        self.answer(sock, b"me")
        self.assertEqual(self.port.replies, [(b"me", ALICE)])

    def test_one_session_for_one_client(self) -> None:
        """Further datagrams of a client go the same way, another client's another way; each gets its own answers."""
        first, again = self.ask(b"1"), self.ask(b"2")
        other = self.ask(b"3", BOB)
        self.assertIs(first, again)
        self.assertEqual((first.sent, other.sent), ([b"1", b"2"], [b"3"]))
        self.answer(other, b"to Bob")
        self.answer(first, b"to Alice")
        self.assertEqual(self.port.replies, [(b"to Bob", BOB), (b"to Alice", ALICE)])

    def test_boundaries_are_kept(self) -> None:
        """Datagrams of no byte and of the largest size pass one by one, in both directions."""
        sizes = (0, 65507, 1, 0)
        sock = self.ask(b"first")
        for size in sizes:
            self.ask(b"a" * size)
        self.answer(sock, *[b"b" * size for size in sizes])
        self.assertEqual([len(data) for data in sock.sent[1:]], [*sizes])
        self.assertEqual([len(data) for data, _ in self.port.replies], [*sizes])

    def test_another_port_is_another_client(self) -> None:
        """Two ports of one address have two sessions."""
        self.ask(b"1", ("192.0.2.1", 1))
        self.ask(b"2", ("192.0.2.1", 2))
        self.assertEqual(self.forwarder.connections, 2)


class EndTests(StageTestCase):
    def test_idle(self) -> None:
        """A session without a datagram for its idle time ends; what came meanwhile put that off."""
        self.stage(idle=5.0)
        sock = self.ask()
        self.wait(4)
        self.answer(sock, b"answer")
        self.wait(4)
        self.ask(b"more")
        self.wait(4)
        self.assertEqual(self.records, [])
        self.wait(1)
        record = self.over()
        self.assertIs(record.termination, Termination.SESSION_IDLE)
        self.assertEqual((record.datagrams_in, record.datagrams_out, record.bytes_in, record.bytes_out), (2, 1, 12, 6))
        self.assertEqual((record.client, record.client_port, record.backend), ("192.0.2.1", 40000, "10.0.0.1:80"))

    def test_idle_says_nothing_of_the_backend(self) -> None:
        """Where no answer is expected, silence is no failure, and no success either."""
        self.stage(idle=5.0)
        backend = self.upstream.members[0].backend
        backend.failures_in_row = 2
        self.ask()
        self.wait(6)
        self.over()
        self.assertEqual((backend.failures, backend.failures_in_row), (0, 2))

    def test_expected_answers(self) -> None:
        """With the expected number of answers to each datagram the session is over at once."""
        self.stage(responses=2)
        sock = self.ask(b"1")
        self.ask(b"2")
        self.answer(sock, b"a", b"b", b"c")
        self.assertEqual(self.records, [])
        self.answer(sock, b"d")
        record = self.over()
        self.assertIs(record.termination, Termination.DONE)
        self.assertEqual((record.datagrams_in, record.datagrams_out, record.attempts), (2, 4, 1))

    def test_answers_beyond_the_expected(self) -> None:
        """What arrives together with the last expected answer is not sent on: the session is over."""
        self.stage(responses=1)
        sock = self.ask()
        self.answer(sock, b"one", b"two")
        self.over()
        self.assertEqual(self.port.replies, [(b"one", ALICE)])

    def test_silence(self) -> None:
        """Where answers are expected and none came, that is a failure of the backend."""
        self.stage(idle=5.0, responses=1)
        self.ask()
        self.wait(6)
        self.assertIs(self.over().termination, Termination.FIRST_BYTE_TIMEOUT)
        self.assertEqual(self.upstream.members[0].backend.failures, 1)

    def test_too_few_answers(self) -> None:
        """Some but not all expected answers are no failure: datagrams get lost."""
        self.stage(idle=5.0, responses=2)
        self.answer(self.ask(), b"one")
        self.wait(6)
        self.assertIs(self.over().termination, Termination.SESSION_IDLE)
        self.assertEqual(self.upstream.members[0].backend.failures, 0)

    def test_requests(self) -> None:
        """After its number of datagrams the next one begins another session; the first still hears its answers."""
        self.stage(requests=2, responses=1)
        first = self.ask(b"1")
        self.assertIs(self.ask(b"2"), first)
        second = self.ask(b"3")
        self.assertIsNot(first, second)
        self.answer(first, b"late", b"later")
        self.assertEqual(self.port.replies, [(b"late", ALICE), (b"later", ALICE)])
        (record,) = self.records
        self.assertIs(record.termination, Termination.DONE)
        self.assertEqual(self.forwarder.connections, 1)

    def test_one_request_each(self) -> None:
        """With one datagram to a session each datagram is placed by itself."""
        self.stage(requests=1, responses=1)
        sockets = [self.ask(b"1"), self.ask(b"2")]
        for sock in sockets:
            self.answer(sock, b"answer")
        self.assertEqual(len(self.records), 2)
        self.assertEqual(self.forwarder.connections, 0)

    def test_latency(self) -> None:
        """How long the first answer took is what selectors learn, and what the record says."""
        self.stage(responses=1)
        sock = self.ask()
        self.clock.advance(0.25)
        self.answer(sock, b"answer")
        ((member, latency, _),) = self.upstream.selector.observed  # type: ignore[attr-defined]  # the selector is InOrder
        self.assertEqual((member, latency, self.over().first_byte), (self.upstream.members[0], 0.25, 0.25))


class RefusalTests(StageTestCase):
    def test_another_backend_gets_it(self) -> None:
        """A backend that refuses the first datagram has done nothing with it: the next candidate gets it."""
        self.stage(responses=1)
        first = self.ask(b"question")
        self.answer(first, REFUSED)
        second = self.sockets[-1]
        self.assertEqual((second.peer, second.sent), (("10.0.0.2", 80), [b"question"]))
        self.answer(second, b"answer")
        record = self.over()
        self.assertEqual((record.attempts, record.backend, record.datagrams_in), (2, "10.0.0.2:80", 1))
        self.assertIs(record.termination, Termination.DONE)
        self.assertEqual([member.backend.failures for member in self.upstream.members], [1, 0, 0])

    def test_all_refuse(self) -> None:
        """Each candidate is tried once, then the session is over."""
        self.ask()
        for _ in range(3):
            self.answer(self.sockets[-1], REFUSED)
        self.assertIs(self.over().termination, Termination.CONNECT_REFUSED)
        self.assertEqual([member.backend.failures for member in self.upstream.members], [1, 1, 1])

    def test_ejection(self) -> None:
        """Refusals in a row eject a backend, as failed connects do."""
        policy = UpstreamPolicy(outlier=OutlierPolicy(failures=2), retry=RetryPolicy(attempts=0))
        self.stage(make_upstream(3, policy))
        for port in (1, 2):
            self.answer(self.ask(client=("192.0.2.1", port)), REFUSED)
        self.assertEqual(self.upstream.members[0].backend.state, "ejected")
        self.assertEqual(self.ask(client=BOB).peer, ("10.0.0.2", 80))

    def test_no_retry(self) -> None:
        """Where the upstream retries nothing, a refusal ends the session."""
        self.stage(make_upstream(3, UpstreamPolicy(retry=RetryPolicy(attempts=0))))
        self.answer(self.ask(), REFUSED)
        self.assertIs(self.over().termination, Termination.CONNECT_REFUSED)

    def test_a_second_datagram_ends_the_keeping(self) -> None:
        """With more than one datagram sent nobody knows which was refused: the session is over, nothing is repeated."""
        self.ask(b"1")
        sock = self.ask(b"2")
        self.answer(sock, REFUSED)
        self.assertIs(self.over().termination, Termination.CONNECT_REFUSED)
        self.assertEqual(len(self.sockets), 1)

    def test_large_ones_are_not_kept(self) -> None:
        """The first datagram is kept for another backend only up to a size."""
        self.answer(self.ask(b"x" * (KEPT + 1)), REFUSED)
        self.over()
        self.assertEqual(len(self.sockets), 1)

    def test_after_an_answer(self) -> None:
        """A refusal after answers is a reset."""
        sock = self.ask()
        self.answer(sock, b"answer", REFUSED)
        self.assertIs(self.over().termination, Termination.BACKEND_RESET)
        self.assertEqual(self.upstream.members[0].backend.failures, 1)

    def test_a_refusal_told_by_a_send(self) -> None:
        """The system may tell of a refusal when the next datagram is sent, which then was not: both go on, in order."""
        sock = self.ask(b"1")
        sock.refuses.append(REFUSED)
        self.ask(b"2")
        self.assertEqual(sock.sent, [b"1"])
        self.assertEqual(self.sockets[-1].sent, [b"1", b"2"])
        self.assertEqual(self.forwarder.connections, 1)

    def test_a_late_refusal_told_by_a_send(self) -> None:
        """Where the session cannot be saved, the datagram that was not sent begins another."""
        sock = self.ask(b"1")
        self.answer(sock, b"answer")
        sock.refuses.append(REFUSED)
        self.ask(b"2")
        self.assertEqual(self.sockets[-1].sent, [b"2"])
        self.assertEqual([record.termination for record in self.records], [Termination.BACKEND_RESET])
        self.assertEqual(self.forwarder.connections, 1)

    def test_unreachable(self) -> None:
        """No way to a backend is a failure of it, and the next one is asked."""
        self.stage(responses=1)
        self.troubles.append(trouble(ENETUNREACH))
        self.refusals.append(trouble(EHOSTUNREACH))
        sock = self.ask()
        self.assertEqual(sock.peer, ("10.0.0.3", 80))
        self.answer(sock, b"answer")
        self.assertEqual(self.over().attempts, 3)
        self.assertEqual([member.backend.failures for member in self.upstream.members], [1, 1, 0])


class DropTests(StageTestCase):
    def test_nobody_reachable(self) -> None:
        """A datagram that nobody can have is dropped, counted, and leaves nothing behind."""
        self.troubles.extend([trouble(ENETUNREACH)] * 3)
        self.forwarder.received(b"question", ALICE)
        self.assertEqual(self.forwarder.drops.counts[Drop.UNREACHABLE], 1)
        self.assertEqual((self.forwarder.connections, self.upstream.active, self.records), (0, 0, []))
        self.assertEqual(len(self.timers), 0)

    def test_no_descriptor(self) -> None:
        """Where the system gives no socket no backend is to blame, and no other is asked."""
        self.troubles.append(trouble(EMFILE))
        self.forwarder.received(b"question", ALICE)
        self.assertEqual(self.forwarder.drops.counts[Drop.NO_SOCKET], 1)
        self.assertEqual(([member.backend.failures for member in self.upstream.members], self.sockets), ([0, 0, 0], []))

    def test_no_watch(self) -> None:
        """The same where its socket cannot be watched: it is closed again."""
        self.watch.trouble.append(trouble(ENOSPC))
        self.forwarder.received(b"question", ALICE)
        self.assertEqual(self.forwarder.drops.counts[Drop.NO_SOCKET], 1)
        self.assertEqual((self.sockets[0].fileno(), self.sockets[0].sent, self.upstream.active), (-1, [], 0))

    def test_no_backend(self) -> None:
        """Without a backend a datagram is dropped."""
        self.stage(make_upstream(0))
        self.forwarder.received(b"question", ALICE)
        self.assertEqual(self.forwarder.drops.counts[Drop.NO_BACKEND], 1)

    def test_full(self) -> None:
        """Where all are at their limit datagrams do not wait in the queue."""
        self.stage(make_upstream(make_specs(1, max_connections=1)))
        self.ask()
        self.forwarder.received(b"question", BOB)
        self.assertEqual(self.forwarder.drops.counts[Drop.BACKENDS_FULL], 1)

    def test_buffers_full(self) -> None:
        """What the system's buffers have no room for, or no way carries, is dropped; the session goes on."""
        sock = self.ask(b"1")
        sock.refuses.extend([trouble(EAGAIN), trouble(EMSGSIZE)])
        for data in (b"2", b"3", b"4"):
            self.ask(data)
        self.assertEqual(sock.sent, [b"1", b"4"])
        counts = self.forwarder.drops.counts
        self.assertEqual((counts[Drop.TO_BACKEND], counts[Drop.TOO_LARGE], self.forwarder.connections), (1, 1, 1))

    def test_answers_that_cannot_be_sent(self) -> None:
        """The same for answers."""
        sock = self.ask()
        self.port.trouble.extend([trouble(EAGAIN), trouble(EMSGSIZE)])
        self.answer(sock, b"1", b"2", b"3")
        counts = self.forwarder.drops.counts
        self.assertEqual((counts[Drop.TO_CLIENT], counts[Drop.TOO_LARGE]), (1, 1))
        self.assertEqual(self.port.replies, [(b"3", ALICE)])


class VerdictTests(StageTestCase):
    def test_down(self) -> None:
        """A backend that goes down keeps no client: the next datagram begins a session elsewhere; a late answer still
        arrives."""
        first = self.ask(b"1")
        self.upstream.members[0].backend.judge("probe", Health.DOWN, "test", 0.0)
        second = self.ask(b"2")
        self.assertEqual((second.peer, second.sent), (("10.0.0.2", 80), [b"2"]))
        self.answer(first, b"late")
        self.assertEqual(self.port.replies, [(b"late", ALICE)])
        self.assertIs(self.ask(b"3"), second)

    def test_drain(self) -> None:
        """A backend that drains keeps its sessions and gets no new ones."""
        first = self.ask(b"1")
        self.upstream.members[0].backend.administer(AdminState.DRAIN, "test", 0.0)
        self.assertIs(self.ask(b"2"), first)
        self.assertEqual(self.ask(b"3", BOB).peer, ("10.0.0.2", 80))

    def test_maintenance(self) -> None:
        """One in maintenance does not."""
        self.ask(b"1")
        self.upstream.members[0].backend.administer(AdminState.MAINT, "test", 0.0)
        self.assertEqual(self.ask(b"2").peer, ("10.0.0.2", 80))

    def test_all_down(self) -> None:
        """In panic, where all are used, sessions stay where they are."""
        first = self.ask(b"1")
        for member in self.upstream.members:
            member.backend.judge("probe", Health.DOWN, "test", 0.0)
        self.assertIs(self.ask(b"2"), first)
