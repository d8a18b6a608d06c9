"""Tor: onion services on a private network of authority and relays."""
