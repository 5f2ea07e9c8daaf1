"""Datagrams that go one way."""

from dataclasses import replace
from errno import EAGAIN, ECONNREFUSED, EMFILE, ENETUNREACH, ENOSPC

from balancer.core.datagrams import Drop, UdpPolicy
from balancer.core.policies import OutlierPolicy, UpstreamPolicy
from balancer.core.termination import Termination
from balancer.testing.fakes import make_specs, make_upstream
from tests.udp.stage import ALICE, BOB, FakePort, FakeSocket, StageTestCase
from tests.udp.test_forwarder import Broken
from tests.udp.test_session import trouble


class FlowTests(StageTestCase):
    def setUp(self) -> None:
        self.stage(one_way=True, idle=5.0)

    def send(self, data: bytes = b"x") -> FakeSocket:
        return self.ask(data)

    def test_all_clients_share_a_socket(self) -> None:
        """Whoever sends, one backend has one socket, and each datagram is a use of it that is over at once."""
        one, other = self.ask(b"1", ALICE), self.ask(b"2", BOB)
        self.assertIs(one, other)
        self.assertEqual(one.sent, [b"1", b"2"])
        backend = self.upstream.members[0].backend
        self.assertEqual((backend.active, backend.total, self.forwarder.connections), (0, 2, 1))

    def test_answers_go_nowhere(self) -> None:
        """What a backend sends back is dropped and counted."""
        self.answer(self.send(), b"a", b"b")
        self.assertEqual((self.port.replies, self.forwarder.drops.counts[Drop.NOT_ASKED]), ([], 2))

    def test_idle(self) -> None:
        """A flow ends when nothing was sent for a while; one record says how much went there."""
        self.send(b"123")
        self.wait(4)
        self.send(b"45")
        self.wait(6)
        record = self.over()
        self.assertIs(record.termination, Termination.SESSION_IDLE)
        self.assertEqual(
            (record.client, record.datagrams_in, record.bytes_in, record.backend), ("", 2, 5, "10.0.0.1:80")
        )

    def test_refused(self) -> None:
        """An ICMP message is a failure, and enough of them in a row eject the backend."""
        self.stage(make_upstream(2, UpstreamPolicy(outlier=OutlierPolicy(failures=2))), one_way=True)
        for _ in range(2):
            self.answer(self.send(), trouble(ECONNREFUSED))
        backend = self.upstream.members[0].backend
        self.assertEqual((backend.failures, backend.state, backend.active), (2, "ejected", 0))
        self.assertEqual(self.send().peer, ("10.0.0.2", 80))
        self.assertEqual([record.termination for record in self.records], [Termination.CONNECT_REFUSED] * 2)

    def test_refused_while_sending(self) -> None:
        """Where a send tells of an earlier refusal, another backend gets this datagram."""
        first = self.send(b"1")
        first.refuses.append(trouble(ECONNREFUSED))
        second = self.send(b"2")
        self.assertEqual((second.peer, second.sent, first.sent), (("10.0.0.2", 80), [b"2"], [b"1"]))
        self.assertEqual(self.upstream.members[0].backend.failures, 1)

    def test_drops(self) -> None:
        """What cannot be sent is dropped with its reason: no room, no way, no socket, no backend, all full, a selector
        that fails."""
        self.send().refuses.append(trouble(EAGAIN))
        self.send()
        self.assertEqual(self.forwarder.drops.counts[Drop.TO_BACKEND], 1)
        for number, times, drop in ((ENETUNREACH, 3, Drop.UNREACHABLE), (EMFILE, 1, Drop.NO_SOCKET)):
            self.stage(one_way=True)
            self.troubles.extend([trouble(number)] * times)
            self.forwarder.received(b"x", ALICE)
            self.assertEqual((self.forwarder.drops.counts[drop], self.upstream.active), (1, 0))
        self.stage(make_upstream(0), one_way=True)
        self.forwarder.received(b"x", ALICE)
        self.assertEqual(self.forwarder.drops.counts[Drop.NO_BACKEND], 1)
        self.stage(make_upstream(make_specs(1, max_connections=1)), one_way=True)
        self.upstream.members[0].backend.active = 1
        self.forwarder.received(b"x", ALICE)
        self.assertEqual(self.forwarder.drops.counts[Drop.BACKENDS_FULL], 1)
        self.stage(make_upstream(1, build_selector=Broken), one_way=True)
        self.forwarder.received(b"x", ALICE)
        self.assertEqual(self.forwarder.drops.counts[Drop.INTERNAL], 1)
        self.flushLoggedErrors(ZeroDivisionError)

    def test_no_watch(self) -> None:
        """Where the socket cannot be watched it is closed again, and nothing is left behind."""
        self.watch.trouble.append(trouble(ENOSPC))
        self.forwarder.received(b"x", ALICE)
        self.assertEqual(self.forwarder.drops.counts[Drop.NO_SOCKET], 1)
        self.assertEqual((self.sockets[0].fileno(), self.upstream.active, len(self.timers)), (-1, 0, 0))
        self.assertEqual(self.forwarder.connections, 0)

    def test_drain(self) -> None:
        """A listener that closes waits for nothing."""
        self.send()
        self.forwarder.drain()
        self.assertIs(self.over().termination, Termination.DONE)
        self.assertFalse(self.port.open)
        self.forwarder.received(b"x", ALICE)
        self.assertEqual(self.forwarder.drops.counts[Drop.DRAINING], 1)

    def test_abort_and_open_again(self) -> None:
        """A listener that is closed and opened again begins new ones."""
        self.send()
        self.forwarder.close()
        self.assertIs(self.over().termination, Termination.SHUTDOWN)
        self.forwarder.attach(FakePort())
        self.assertEqual(self.send(b"2").sent, [b"2"])

    def test_configure(self) -> None:
        """Another upstream, or sessions from now on, end what goes one way; anything else does not."""
        self.send()
        self.forwarder.configure(self.upstream, replace(self.settings, policy=UdpPolicy(one_way=True, idle=9.0)))
        self.assertEqual(self.forwarder.connections, 1)
        self.forwarder.configure(self.upstream, replace(self.settings, policy=UdpPolicy()))
        self.assertIs(self.over().termination, Termination.DONE)
        self.answer(self.send(), b"answer")
        self.assertEqual(self.port.replies, [(b"answer", ALICE)])
