//! Responses of HTTP/1.1 as bytes (RFC 9112 §4, §7.1).

use crate::plain::HttpResponse;

/// Appends a status line.
pub(crate) fn status_line(status: u16, out: &mut Vec<u8>) {
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&[
        b'0' + (status / 100) as u8,
        b'0' + (status / 10 % 10) as u8,
        b'0' + (status % 10) as u8,
        b' ',
    ]);
    out.extend_from_slice(reason(status).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Appends a field, which the caller knows to be valid.
pub(crate) fn field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    for part in [name, b": ", value, b"\r\n"] {
        out.extend_from_slice(part);
    }
}

/// Appends Content-Length.
pub(crate) fn content_length(len: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(b"content-length: ");
    decimal(len, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends a chunk of `len` bytes that `write` appends.
pub(crate) fn chunk(len: usize, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    if len == 0 {
        // An empty chunk would end the body.
        return;
    }
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4);
    for at in (0..digits).rev() {
        out.push(b"0123456789abcdef"[len >> (4 * at) & 15]);
    }
    out.extend_from_slice(b"\r\n");
    write(out);
    out.extend_from_slice(b"\r\n");
}

/// What ends a body in chunks.
pub(crate) const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
/// The answer to an expectation (RFC 9110 §10.1.1).
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Appends a whole response; `is_head` leaves the body out, whose length is told all the same.
pub(crate) fn response(response: &HttpResponse, keeps: bool, is_head: bool, out: &mut Vec<u8>) {
    status_line(response.status, out);
    for (name, value) in &response.fields {
        field(name.as_bytes(), value.as_bytes(), out);
    }
    // RFC 9110 §8.6: none with 204 and 304.
    let has_body = !matches!(response.status, 204 | 304);
    if has_body {
        content_length(response.body.len(), out);
    }
    if !keeps {
        field(b"connection", b"close", out);
    }
    out.extend_from_slice(b"\r\n");
    if has_body && !is_head {
        out.extend_from_slice(&response.body);
    }
}

fn decimal(mut number: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// The phrase of a status (RFC 9110 §15); it may be empty.
fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        204 => "No Content",
        301 => "Moved Permanently",
        302 => "Found",
        304 => "Not Modified",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        408 => "Request Timeout",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_response_is_framed_by_its_length() {
        let mut out = Vec::new();
        response(&HttpResponse::text(200, "abc"), true, false, &mut out);
        let text = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 3\r\n\r\nabc";
        assert_eq!(out, text.as_bytes());
        out.clear();
        response(&HttpResponse::text(599, "abc"), false, true, &mut out);
        let text = "HTTP/1.1 599 \r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 3\r\nconnection: close\r\n\r\n";
        assert_eq!(out, text.as_bytes());
        out.clear();
        response(&HttpResponse::text(204, "abc"), true, false, &mut out);
        assert!(out.ends_with(b"utf-8\r\n\r\n"));
    }

    #[test]
    fn chunks_tell_their_size_in_hexadecimal() {
        for (len, digits) in [(1, "1"), (15, "f"), (16, "10"), (0x1234, "1234"), (0x10000, "10000")]
        {
            let mut out = Vec::new();
            chunk(len, &mut out, |out| out.push(b'x'));
            assert_eq!(out, format!("{digits}\r\nx\r\n").as_bytes());
        }
        let mut out = Vec::new();
        chunk(0, &mut out, |_| {});
        assert!(out.is_empty());
    }

    #[test]
    fn numbers_are_written_in_decimal_digits() {
        for number in [0, 9, 10, 65_535, usize::MAX] {
            let mut out = Vec::new();
            decimal(number, &mut out);
            assert_eq!(out, number.to_string().as_bytes());
        }
    }
}
