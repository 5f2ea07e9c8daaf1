"""The Twisted edge shared by L4 and L7: connecting, listening, TLS, timers, flow. It never decides who serves."""
