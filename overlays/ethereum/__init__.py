"""Ethereum's peer-to-peer layer (devp2p) by geth: content in signed transactions, spread by gossip."""
