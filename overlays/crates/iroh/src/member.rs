//! A member behind a NAT: it is reached through the relay, and directly once a path is open.

use std::{collections::HashMap, sync::Arc};

use data_encoding::HEXLOWER;
use iroh::{
    Endpoint, EndpointId, RelayConfig, RelayMap, RelayMode, RelayUrl, SecretKey,
    endpoint::{Incoming, presets},
    tls::CaTlsConfig,
};
use iroh_relay::RelayQuicConfig;
use n0_error::{Result, StdResultExt, anyerr};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{Member, events::tell, peer::Peer, streams};

/// Names the protocol that is spoken over a connection.
pub const ALPN: &[u8] = b"overlaybench/tcp/1";

/// Serves until it is ended.
pub async fn run(config: Member) -> Result<()> {
    let relay: RelayUrl = config.relay.parse()?;
    let node = bind(&config, &relay).await?;
    let mut names = HashMap::new();
    for (name, target) in config.peers {
        let id = EndpointId::from_bytes(&key(&target.id)?)?;
        names.insert(id, name.clone());
        let listener = TcpListener::bind(&target.listen)
            .await
            .with_std_context(|_| target.listen.clone())?;
        let peer = Peer::new(node.clone(), name, id, relay.clone(), config.relayed);
        tokio::spawn(streams::offer(listener, Arc::new(peer)));
    }
    // Connected to its relay: from here on others reach it. Addresses of its own are told to peers as they are found.
    let accepting = tokio::spawn(accept(node.clone(), Arc::new(names), config.service));
    node.online().await;
    tell("ready", json!({"id": node.id().to_string()}));
    accepting.await.std_context("accepting")
}

async fn bind(config: &Member, relay: &RelayUrl) -> Result<Endpoint> {
    let authority: Vec<_> = CertificateDer::pem_file_iter(&config.authority)
        .and_then(Iterator::collect)
        .std_context("authority")?;
    let relays = RelayMap::from(RelayConfig::new(relay.clone(), Some(RelayQuicConfig::default())));
    let mut builder = Endpoint::builder(presets::Minimal)
        .secret_key(SecretKey::from_bytes(&key(&config.seed)?))
        .alpns(vec![ALPN.to_vec()])
        .relay_mode(RelayMode::Custom(relays))
        .ca_tls_config(CaTlsConfig::custom_roots(authority));
    if !config.direct {
        builder = builder.clear_ip_transports();
    }
    Ok(builder.bind().await?)
}

async fn accept(node: Endpoint, names: Arc<HashMap<EndpointId, String>>, service: String) {
    while let Some(incoming) = node.accept().await {
        let (names, service) = (names.clone(), service.clone());
        tokio::spawn(async move {
            if let Err(error) = take(incoming, &names, service).await {
                tell("lost", json!({"error": format!("{error:#}")}));
            }
        });
    }
}

async fn take(incoming: Incoming, names: &HashMap<EndpointId, String>, service: String) -> Result<()> {
    let connection = incoming.await?;
    let Some(name) = names.get(&connection.remote_id()) else {
        connection.close(1u32.into(), b"not a member");
        return Err(anyerr!("{} is no member", connection.remote_id()));
    };
    tell("accepted", json!({"peer": name}));
    loop {
        let (send, receive) = connection.accept_bi().await.anyerr()?;
        tokio::spawn(streams::deliver(send, receive, service.clone()));
    }
}

fn key(text: &str) -> Result<[u8; 32]> {
    let bytes = HEXLOWER.decode(text.as_bytes()).std_context("key")?;
    bytes
        .try_into()
        .map_err(|_| anyerr!("a key has 32 bytes in hexadecimal"))
}
