//! An iroh node for overlaybench: a relay, or a member that carries TCP streams to the others.
//!
//!     overlaybench-iroh CONFIG.json
//!
//! What happens is told in JSON, an event a line. Relays are those of the configuration; neither the makers' public ones
//! nor their address lookup by DNS is switched on.

mod events;
mod member;
mod peer;
mod relay;
mod streams;

use std::{collections::BTreeMap, env, fs, net::IpAddr, process::exit};

use n0_error::{Result, StdResultExt, bail_any};
use serde::Deserialize;

/// What the adapter renders.
#[derive(Deserialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Config {
    Relay(Relay),
    Member(Member),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Relay {
    /// Where it listens, on the ports that its makers' program has.
    address: IpAddr,
    /// Its certificate and key, PEM files.
    certificate: String,
    key: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Member {
    /// Of the Ed25519 key, in hexadecimal.
    seed: String,
    /// The relay's URL, and the authority that signed its certificate, a PEM file.
    relay: String,
    authority: String,
    /// May streams go by IP addresses; may they go through the relay? Whatever they may, the relay introduces.
    direct: bool,
    relayed: bool,
    /// HOST:PORT to which incoming streams lead.
    service: String,
    /// By name.
    peers: BTreeMap<String, Target>,
}

/// A peer, and where its service is to be found on this node.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    /// The Ed25519 public key, in hexadecimal.
    id: String,
    /// HOST:PORT
    listen: String,
}

#[tokio::main]
async fn main() {
    if let Err(error) = run().await {
        eprintln!("{error:#}");
        exit(1);
    }
}

async fn run() -> Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [argument] = arguments.as_slice() else {
        bail_any!("usage: overlaybench-iroh CONFIG.json | --version");
    };
    if argument == "--version" {
        println!("iroh {}", library_version());
        return Ok(());
    }
    let text = fs::read_to_string(argument).with_std_context(|_| argument.clone())?;
    match serde_json::from_str(&text).with_std_context(|_| argument.clone())? {
        Config::Relay(config) => relay::run(config).await,
        Config::Member(config) => member::run(config).await,
    }
}

/// Returns the version that Cargo.lock pins.
fn library_version() -> &'static str {
    include_str!("../Cargo.lock")
        .split_once("name = \"iroh\"\nversion = \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("unknown", |(version, _)| version)
}
