//! Records in words.

use grpc_proto::record::{Outcome, Verb};
use grpc_proto::{CallKey, Metadata};

/// The names of errors, by their number in a recording.
const ERRORS: [&str; 10] = [
    "Full",
    "Ended",
    "TooLarge",
    "TooManyCalls",
    "Closing",
    "Misuse(AfterEnd)",
    "Misuse(HeadersSent)",
    "Misuse(CompressedWithoutEncoding)",
    "Misuse(HeadText)",
    "Misuse(EncodedLength)",
];

fn error(number: u8) -> String {
    let name = usize::from(number).checked_sub(1).and_then(|index| ERRORS.get(index));
    name.map_or_else(|| format!("error {number}"), |name| (*name).to_owned())
}

/// A call by its slot, as short as it can be said.
pub(super) fn name(call: CallKey) -> String {
    format!("call {}", call.index())
}

fn entries(metadata: Option<&Metadata>) -> String {
    match metadata.map_or(0, |metadata| metadata.iter().count()) {
        0 => String::new(),
        count => format!(", {count} entries"),
    }
}

/// A verb and its arguments.
pub(super) fn verb(verb: &Verb<'_>) -> String {
    match verb {
        Verb::PollEvent { visible, fresh, .. } => {
            format!("poll_event of {visible} bytes, {} of them new", fresh.len())
        }
        Verb::PollTransmit { .. } => "poll_transmit".into(),
        Verb::CloseRead { .. } => "close_read".into(),
        Verb::NoteDelivery { .. } => "note_delivery".into(),
        Verb::Shutdown { .. } => "shutdown".into(),
        Verb::Close { code, .. } => format!("close {code}"),
        Verb::Send { call, message } => format!("send {}, {} bytes", name(*call), message.len()),
        Verb::SendEncoded { call, message, .. } => {
            format!("send_encoded {}, {} bytes", name(*call), message.len())
        }
        Verb::SendCompressed { call, message } => {
            format!("send_compressed {}, {} bytes", name(*call), message.len())
        }
        Verb::AskRoom { call, len } => format!("ask_room {}, {len} bytes", name(*call)),
        Verb::Grant { call, bytes } => format!("grant {}, {bytes} bytes", name(*call)),
        Verb::Allot { allotment } => {
            format!("allot {} bytes to receive, {} to send", allotment.assembly, allotment.send)
        }
        Verb::Recycle { bytes } => format!("recycle {bytes} bytes"),
        Verb::RecycleMetadata => "recycle_metadata".into(),
        Verb::Call { head, deadline, .. } => {
            let deadline = deadline.map_or_else(String::new, |at| format!(", until {at}"));
            format!("call {}{}{deadline}", head.path, entries(head.metadata.as_ref()))
        }
        Verb::End { call } => format!("end {}", name(*call)),
        Verb::Cancel { call } => format!("cancel {}", name(*call)),
        Verb::Respond { call, head } => {
            format!("respond {}{}", name(*call), entries(head.metadata.as_ref()))
        }
        Verb::Finish { call, status, trailers } => {
            format!("finish {}, {}{}", name(*call), status.code(), entries(Some(trailers)))
        }
        Verb::Release { call } => format!("release {}", name(*call)),
        other => format!("{other:?}"),
    }
}

/// What came of a verb.
pub(super) fn outcome(outcome: &Outcome<'_>) -> String {
    match outcome {
        Outcome::Nothing { consumed } => format!("no event, {consumed} bytes consumed"),
        Outcome::Event { consumed, kind, call, size, .. } => {
            let call = call.map_or_else(String::new, |call| format!(" of {}", name(call)));
            format!("{kind:?}({size}){call}, {consumed} bytes consumed")
        }
        Outcome::Failed { consumed, .. } => {
            format!("the end of the connection, {consumed} bytes consumed")
        }
        Outcome::OutputHash { len, hash } => format!("{len} bytes of output ({hash:016x})"),
        Outcome::OutputBytes(bytes) => format!("{} bytes of output", bytes.len()),
        Outcome::Result(0) => "success".into(),
        Outcome::Result(number) | Outcome::Called(Err(number)) => error(*number),
        Outcome::Called(Ok(call)) => name(*call),
        Outcome::Timeout(None) => "no timeout".into(),
        Outcome::Timeout(Some(at)) => format!("a timeout at {at}"),
        other => format!("{other:?}"),
    }
}

/// How two outcomes differ.
pub(super) fn differ(recorded: &Outcome<'_>, ours: &Outcome<'_>) -> String {
    if let (Outcome::OutputBytes(recorded), Outcome::OutputBytes(ours)) = (recorded, ours) {
        return outputs_differ(recorded, ours);
    }
    let (was, is) = (outcome(recorded), outcome(ours));
    if was == is {
        return format!("{is}, but what it holds is not what was recorded");
    }
    format!("{is}, and {was} was recorded")
}

/// The first byte that differs, and the frame that it is in: output consists of whole frames.
fn outputs_differ(recorded: &[u8], ours: &[u8]) -> String {
    let at = recorded.iter().zip(ours).position(|(recorded, ours)| recorded != ours);
    let at = at.unwrap_or(recorded.len().min(ours.len()));
    let byte = |bytes: &[u8]| match bytes.get(at) {
        Some(byte) => format!("{byte:#04x}"),
        None => "the end".into(),
    };
    let longer = if ours.len() > at { ours } else { recorded };
    format!(
        "byte {at} of the output is {}, and {} was recorded; {}",
        byte(ours),
        byte(recorded),
        frame_at(longer, at)
    )
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const KINDS: [&str; 10] = [
    "DATA",
    "HEADERS",
    "PRIORITY",
    "RST_STREAM",
    "SETTINGS",
    "PUSH_PROMISE",
    "PING",
    "GOAWAY",
    "WINDOW_UPDATE",
    "CONTINUATION",
];

fn frame_at(output: &[u8], at: usize) -> String {
    let mut start = if output.starts_with(PREFACE) { PREFACE.len() } else { 0 };
    if at < start {
        return "in the preface".into();
    }
    while let Some(&[a, b, c, kind, _, d, e, f, g]) = output[start..].first_chunk::<9>() {
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        let end = start + 9 + len;
        if at < end || end >= output.len() {
            let name = KINDS.get(usize::from(kind)).copied().unwrap_or("an unknown frame");
            let stream = u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff;
            return format!("byte {} of {name} on stream {stream}", at - start);
        }
        start = end;
    }
    "in no frame".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_differs_is_named_with_its_frame() {
        let frame = |kind, stream, payload: &[u8]| {
            let mut bytes = vec![0, 0, payload.len() as u8, kind, 0, 0, 0, 0, stream];
            bytes.extend_from_slice(payload);
            bytes
        };
        let recorded = [PREFACE, &frame(4, 0, b""), &frame(0, 5, b"abc")].concat();
        let ours = [PREFACE, &frame(4, 0, b""), &frame(0, 5, b"axc")].concat();
        let text =
            "byte 43 of the output is 0x78, and 0x62 was recorded; byte 10 of DATA on stream 5";
        assert_eq!(outputs_differ(&recorded, &ours), text);
        let text =
            "byte 33 of the output is the end, and 0x00 was recorded; byte 0 of DATA on stream 5";
        assert_eq!(outputs_differ(&recorded, &recorded[..33]), text);
        assert!(outputs_differ(b"PRI", b"PRO").ends_with("in no frame"));
    }
}
