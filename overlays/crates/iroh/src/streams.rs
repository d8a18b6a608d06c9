//! TCP connections over QUIC streams, with the end of either direction passed on by itself.

use std::{io, sync::Arc};

use iroh::endpoint::{RecvStream, SendStream};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{ReadHalf, WriteHalf},
    },
};

use crate::peer::Peer;

const CHUNK_BYTES: usize = 64 * 1024;
/// The other side hears of a stream with its first byte, so whoever opens one sends this ahead.
const OPENING: u8 = 0;

/// Carries every connection to a local port to the service of `peer`.
pub async fn offer(listener: TcpListener, peer: Arc<Peer>) {
    while let Ok((local, _)) = listener.accept().await {
        tokio::spawn(carry(local, peer.clone()));
    }
}

async fn carry(local: TcpStream, peer: Arc<Peer>) {
    match peer.open().await {
        Ok((mut send, receive)) => {
            if send.write_all(&[OPENING]).await.is_ok() {
                join(local, send, receive).await;
            } else {
                refuse(&local);
            }
        }
        Err(_) => refuse(&local), // told by the peer
    }
}

/// Carries a stream that a peer has opened to the service here.
pub async fn deliver(mut send: SendStream, mut receive: RecvStream, service: String) {
    let mut opening = [0; 1];
    if receive.read_exact(&mut opening).await.is_ok()
        && let Ok(local) = TcpStream::connect(&service).await
    {
        join(local, send, receive).await;
    } else {
        abandon(&mut send, &mut receive);
    }
}

/// Copies both ways until both have ended. What breaks on one side is broken on the other.
async fn join(mut local: TcpStream, mut send: SendStream, mut receive: RecvStream) {
    let _ = local.set_nodelay(true); // the sender has waited already, if it wanted to
    let (from_local, to_local) = local.split();
    if tokio::try_join!(upwards(from_local, &mut send), downwards(&mut receive, to_local)).is_err() {
        abandon(&mut send, &mut receive);
        refuse(&local);
    }
}

async fn upwards(mut local: ReadHalf<'_>, send: &mut SendStream) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        match local.read(&mut chunk).await? {
            0 => return send.finish().map_err(io::Error::other),
            count => send.write_all(&chunk[..count]).await?,
        }
    }
}

async fn downwards(receive: &mut RecvStream, mut local: WriteHalf<'_>) -> io::Result<()> {
    while let Some(chunk) = receive.read_chunk(CHUNK_BYTES).await? {
        local.write_all(&chunk).await?;
    }
    local.shutdown().await
}

/// Lets the caller see a reset, not an end, when the connection is dropped.
fn refuse(local: &TcpStream) {
    let _ = local.set_zero_linger();
}

/// A stream that is dropped would count as finished.
fn abandon(send: &mut SendStream, receive: &mut RecvStream) {
    let _ = send.reset(1u32.into());
    let _ = receive.stop(1u32.into());
}
