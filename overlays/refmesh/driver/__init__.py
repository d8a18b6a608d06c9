"""The thin part that touches the kernel: TUN, sockets, one event loop, the status socket."""
