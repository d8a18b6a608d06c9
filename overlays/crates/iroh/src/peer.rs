//! One peer: a connection to it that is made when first needed, and anew when it has ended.

use std::time::Duration;

use iroh::{
    Endpoint, EndpointAddr, EndpointId, RelayUrl,
    endpoint::{Connection, RecvStream, SendStream},
};
use n0_error::{Result, StdResultExt, anyerr};
use n0_future::StreamExt;
use serde_json::json;
use tokio::{sync::Mutex, time::timeout};

use crate::{
    events::{tell, way},
    member::ALPN,
};

const OPEN_TIMEOUT: Duration = Duration::from_secs(15);

pub struct Peer {
    node: Endpoint,
    name: String,
    address: EndpointAddr,
    relayed: bool,
    connection: Mutex<Option<Connection>>,
}

impl Peer {
    /// Describes a peer. Its relay is all that is known of it at first; `relayed` tells whether streams may go there.
    pub fn new(node: Endpoint, name: String, id: EndpointId, relay: RelayUrl, relayed: bool) -> Self {
        let address = EndpointAddr::new(id).with_relay_url(relay);
        Self {
            node,
            name,
            address,
            relayed,
            connection: Mutex::default(),
        }
    }

    /// Opens a stream. Where it must not be relayed, it waits for a direct path.
    pub async fn open(&self) -> Result<(SendStream, RecvStream)> {
        let in_time = timeout(OPEN_TIMEOUT, self.try_open()).await;
        let opened = in_time.unwrap_or_else(|_| Err(anyerr!("no path within {} s", OPEN_TIMEOUT.as_secs())));
        opened.inspect_err(|error| tell("refused", json!({"peer": self.name, "error": format!("{error:#}")})))
    }

    async fn try_open(&self) -> Result<(SendStream, RecvStream)> {
        let connection = self.connect().await?;
        if !self.relayed {
            let mut changes = connection.paths_stream();
            while !matches!(way(&connection), Some(("direct", _))) {
                changes.next().await.std_context("the connection has ended")?;
            }
        }
        let opened = connection.open_bi().await.anyerr()?;
        if let Some((path, remote)) = way(&connection) {
            tell("stream", json!({"peer": self.name, "path": path, "remote": remote}));
        }
        Ok(opened)
    }

    async fn connect(&self) -> Result<Connection> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.as_ref().filter(|one| one.close_reason().is_none()) {
            return Ok(connection.clone());
        }
        let connection = self.node.connect(self.address.clone(), ALPN).await?;
        tokio::spawn(watch(connection.clone(), self.name.clone(), self.relayed));
        Ok(kept.insert(connection).clone())
    }
}

/// Tells each change of the path. Where streams must not be relayed, they end with the direct path.
async fn watch(connection: Connection, name: String, relayed: bool) {
    let (mut before, mut changes) = (None, connection.paths_stream());
    while changes.next().await.is_some() {
        let now = way(&connection);
        if now == before {
            continue;
        }
        if let Some((path, remote)) = &now {
            tell("path", json!({"peer": name, "path": path, "remote": remote}));
        }
        let was_direct = matches!(before, Some(("direct", _)));
        if !relayed && was_direct && !matches!(now, Some(("direct", _))) {
            connection.close(2u32.into(), b"no direct path any more");
        }
        before = now;
    }
}
