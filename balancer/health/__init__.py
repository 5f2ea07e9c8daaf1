"""Active probes, one stream per backend and check. It never serves traffic and never picks a backend."""
