//! The public node: its makers' relay server, as their program `iroh-relay` sets it up.

use std::sync::Arc;

use iroh_relay::{
    defaults::{DEFAULT_HTTP_PORT, DEFAULT_HTTPS_PORT, DEFAULT_RELAY_QUIC_PORT},
    server::{CertConfig, QuicConfig, RelayConfig, Server, ServerConfig, TlsConfig},
};
use n0_error::{Result, StdResultExt};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};
use serde_json::json;

use crate::{Relay, events::tell};

/// Serves until it is ended: HTTPS for relaying, QUIC to tell members their addresses, HTTP for their portal check.
pub async fn run(config: Relay) -> Result<()> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(&config.certificate)
        .and_then(Iterator::collect)
        .std_context("certificate")?;
    let key = PrivateKeyDer::from_pem_file(&config.key).std_context("key")?;
    let tls = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .std_context("protocol versions")?
        .with_no_client_auth()
        .with_single_cert(certificates, key)
        .std_context("certificate and key")?;
    let mut relay = RelayConfig::new((config.address, DEFAULT_HTTP_PORT));
    relay.tls = Some(TlsConfig::new(
        (config.address, DEFAULT_HTTPS_PORT),
        CertConfig::Manual { server_config: tls },
    ));
    let mut server = ServerConfig::default();
    server.relay = Some(relay);
    server.quic = Some(QuicConfig::new((config.address, DEFAULT_RELAY_QUIC_PORT)));
    let mut serving = Server::spawn(server).await?;
    tell("ready", json!({}));
    serving.join().await.std_context("relay")??;
    Ok(())
}
