"""Text to frozen objects: schema, reader, diff. It never opens a socket and never starts anything."""
