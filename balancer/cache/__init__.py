"""HTTP caching as RFC 9111 has it: what may be stored, what may be reused, and what a stored response answers.

Decisions only, usable without the rest of the balancer: it never does I/O, never reads a clock and keeps no response
(stores do, :mod:`balancer.stores`).
"""
