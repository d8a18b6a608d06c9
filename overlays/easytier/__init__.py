"""EasyTier, a mesh VPN in Rust, through its Python binding."""
