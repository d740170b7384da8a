//! A trace for people: as text, as a capture that Wireshark opens, as a trace that Chrome opens.

use std::fmt::Write;

use grpc_proto::http2::Side;

use crate::trace::{Entry, Trace, What};

/// One line an entry: time, place, what happened.
pub fn timeline(trace: &Trace) -> String {
    let mut text = String::new();
    for entry in trace.entries() {
        let what = match &entry.what {
            What::Note(note) => note.clone(),
            What::Call { call, begins: true } => format!("call {call} begins"),
            What::Call { call, begins: false } => format!("call {call} is over"),
            What::Wrote(bytes) => format!("writes {}", summary(bytes)),
        };
        let _ = writeln!(text, "{:>12} µs  {:<10} {what}", entry.at_ns / 1000, place(entry));
    }
    text
}

fn place(entry: &Entry) -> String {
    match (entry.conn, entry.side) {
        (Some(conn), Some(Side::Client)) => format!("{conn} client"),
        (Some(conn), Some(Side::Server)) => format!("{conn} server"),
        (Some(conn), None) => conn.to_string(),
        (None, _) => "world".into(),
    }
}

fn summary(bytes: &[u8]) -> String {
    let shown: String = bytes.iter().take(24).map(|byte| format!("{byte:02x}")).collect();
    let more = if bytes.len() > 24 { "…" } else { "" };
    format!("{} bytes: {shown}{more}", bytes.len())
}

/// A pcap file (link type RAW, IPv4 and TCP made up): one packet a write, to port 50051.
pub fn pcap(trace: &Trace) -> Vec<u8> {
    let mut out = Vec::new();
    // Magic of nanoseconds, version 2.4, no zone, no accuracy, whole packets, LINKTYPE_RAW.
    for word in [0xa1b2_3c4d_u32, 4 << 16 | 2, 0, 0, 0x0004_0000, 101] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    let mut sent = std::collections::BTreeMap::<(usize, bool), u32>::new();
    for entry in trace.entries() {
        let (What::Wrote(bytes), Some(conn), Some(side)) = (&entry.what, entry.conn, entry.side)
        else {
            continue;
        };
        // A packet's length has 16 bits.
        for part in bytes.chunks(60_000) {
            let up = side == Side::Client;
            let seq = sent.get(&(conn, up)).copied().unwrap_or(1);
            let ack = sent.get(&(conn, !up)).copied().unwrap_or(1);
            sent.insert((conn, up), seq.wrapping_add(part.len() as u32));
            packet(&mut out, entry.at_ns, conn as u16, up, seq, ack, part);
        }
    }
    out
}

fn packet(out: &mut Vec<u8>, at_ns: u64, conn: u16, up: bool, seq: u32, ack: u32, payload: &[u8]) {
    let len = (40 + payload.len()) as u32;
    for word in [(at_ns / 1_000_000_000) as u32, (at_ns % 1_000_000_000) as u32, len, len] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 2]);
    let (from, to) = if up { (client, server) } else { (server, client) };
    let (client_port, server_port) = (20_000 + conn, 50_051);
    let (source, target) = if up { (client_port, server_port) } else { (server_port, client_port) };
    out.extend_from_slice(&[0x45, 0]);
    out.extend_from_slice(&(len as u16).to_be_bytes());
    out.extend_from_slice(&[0, 0, 0x40, 0, 64, 6, 0, 0]);
    out.extend_from_slice(&from);
    out.extend_from_slice(&to);
    out.extend_from_slice(&source.to_be_bytes());
    out.extend_from_slice(&target.to_be_bytes());
    out.extend_from_slice(&seq.to_be_bytes());
    out.extend_from_slice(&ack.to_be_bytes());
    // Data offset of 5 words, PSH and ACK, an open window.
    out.extend_from_slice(&[0x50, 0x18, 0xff, 0xff, 0, 0, 0, 0]);
    out.extend_from_slice(payload);
}

/// Chrome's trace format: a process a connection, a bar a call, a mark a note.
pub fn chrome(trace: &Trace) -> String {
    let events: Vec<_> = trace
        .entries()
        .iter()
        .filter_map(|entry| {
            let ts = entry.at_ns as f64 / 1000.0;
            let (pid, tid) = (entry.conn.map_or(-1, |conn| conn as i64), place(entry));
            Some(match &entry.what {
                What::Note(note) => serde_json::json!({
                    "name": note, "ph": "i", "s": "p", "ts": ts, "pid": pid, "tid": tid
                }),
                What::Call { call, begins } => serde_json::json!({
                    "name": format!("call {call}"), "cat": "call", "id": call,
                    "ph": if *begins { "b" } else { "e" }, "ts": ts, "pid": pid, "tid": tid
                }),
                What::Wrote(_) => return None,
            })
        })
        .collect();
    serde_json::json!({ "traceEvents": events }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Seeded, generate, run};

    #[test]
    fn a_kept_trace_shows_as_text_as_a_capture_and_for_chrome() {
        let report = run(&generate(&mut Seeded::new(1)), true);
        assert!(timeline(&report.trace).contains("call 0 begins"));
        let capture = pcap(&report.trace);
        // Its magic, and 40 bytes of made-up headers for each packet of at least a byte.
        assert_eq!(capture[..4], [0x4d, 0x3c, 0xb2, 0xa1]);
        assert!(capture.len() > 24 + 16 + 40);
        let parsed: serde_json::Value = serde_json::from_str(&chrome(&report.trace)).unwrap();
        assert!(!parsed["traceEvents"].as_array().unwrap().is_empty());
    }
}
