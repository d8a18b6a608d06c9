"""libp2p: circuit relay v2 and DCUtR, with a small Go node of our own."""
