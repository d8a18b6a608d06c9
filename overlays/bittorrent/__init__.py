"""BitTorrent: content by libtorrent, over uTP and TCP, between peers that a public peer introduces."""
