//! Descriptors whose comments are not UTF-8, as `protoc` writes them for files in other encodings.

use crate::schema::wire;

/// The fields that lead to a comment from a `FileDescriptorSet`: the file, its source information, a location, and the
/// comments there.
const FROM_SET: [&[u64]; 4] = [&[1], &[9], &[1], &[3, 4, 6]];
/// The same from a `CodeGeneratorRequest`.
const FROM_REQUEST: [&[u64]; 4] = [&[15, 17], &[9], &[1], &[3, 4, 6]];

/// The set with U+FFFD for what is not UTF-8 in comments; `None` if it is not protobuf.
pub(crate) fn repaired_set(bytes: &[u8]) -> Option<Vec<u8>> {
    repaired(bytes, &FROM_SET)
}

/// The same for a request.
pub(crate) fn repaired_request(bytes: &[u8]) -> Option<Vec<u8>> {
    repaired(bytes, &FROM_REQUEST)
}

fn repaired(mut bytes: &[u8], path: &[&[u64]]) -> Option<Vec<u8>> {
    let Some((numbers, further)) = path.split_first() else {
        return Some(String::from_utf8_lossy(bytes).into_owned().into_bytes());
    };
    let mut out = Vec::with_capacity(bytes.len());
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        wire::varint(&mut out, tag);
        match tag & 7 {
            0 => wire::varint(&mut out, varint(&mut bytes)?),
            1 => out.extend(take(&mut bytes, 8)?),
            2 => {
                let len = varint(&mut bytes)?;
                let content = take(&mut bytes, usize::try_from(len).ok()?)?;
                if numbers.contains(&(tag >> 3)) {
                    let content = repaired(content, further)?;
                    wire::varint(&mut out, content.len() as u64);
                    out.extend(content);
                } else {
                    wire::varint(&mut out, len);
                    out.extend(content);
                }
            }
            5 => out.extend(take(&mut bytes, 4)?),
            // Descriptors have no groups.
            _ => return None,
        }
    }
    Some(out)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (first, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (content, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(content)
}
