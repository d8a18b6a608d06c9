"""The protocol without I/O: datagrams, `now` and `rng` in; datagrams, events and the next deadline out."""
