"""Layer 4: forwards TCP without looking into the bytes. It never parses what it carries."""
