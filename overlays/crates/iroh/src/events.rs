//! What the node tells of itself.

use std::time::{SystemTime, UNIX_EPOCH};

use iroh::endpoint::Connection;
use serde_json::{Map, Value, json};

/// Writes one event; `t` is Unix time in seconds.
pub fn tell(event: &str, fields: Value) {
    let t = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0.0, |since| since.as_secs_f64());
    let mut line = Map::from_iter([("event".to_owned(), json!(event)), ("t".to_owned(), json!(t))]);
    if let Value::Object(fields) = fields {
        line.extend(fields);
    }
    println!("{}", Value::Object(line));
}

/// Says which way a connection's data go now, and to which address; None: a path is yet to be selected.
pub fn way(connection: &Connection) -> Option<(&'static str, String)> {
    let paths = connection.paths();
    let path = paths.iter().find(|path| path.is_selected())?;
    let word = if path.is_relay() { "relayed" } else { "direct" };
    Some((word, format!("{:?}", path.remote_addr())))
}
