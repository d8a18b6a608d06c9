"""BitTorrent: content by libtorrent, over uTP, between peers that a public peer introduces."""
