"""The server's part of the protocol, without I/O: who may join, where everybody is, and the relay."""
