"""Sans-io HTTP/1.1: heads, framing, limits. Bytes in, values out; no Twisted, and never a socket."""
