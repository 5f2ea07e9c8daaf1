"""Layer 4 for datagrams: UDP sessions from clients to an upstream's backends. It never looks into a datagram."""
