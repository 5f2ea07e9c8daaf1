"""Layer 7: the HTTP engine's Twisted edge. It never picks backends by itself and never repairs framing."""
