// NOTE FROM THE LEAD (delete me): main now has hyper (http1, http2, server) and hyper-util (server, server-auto, tokio) as dependencies,
// prebuilt in /work/t1 in a few minutes (your build blocks on the lock until then: wait, do not start another target dir).
// Use the server of hyper-util instead of an HTTP parser of our own, and drop httparse. Always export CARGO_TARGET_DIR=/work/t1.
//! HTTP/1.1 on one connection, as far as clients of an API server need it: kept alive, bodies of known length or in
//! chunks, answers that go on for as long as somebody reads them.
//!
//! hyper is in the binary as a client only. Its server would change the features of a crate under every SDK crate, so
//! that all of them are compiled again, for the four things that are done here. The parser is hyper's own.

use std::io;

use crate::twin::Body;
use bytes::{Buf, Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes of a request before its body: what Go's server takes.
const HEAD_MAX: usize = 1 << 20;
const HEADERS_MAX: usize = 256;

/// Bytes that are kept of requests that come while an answer still goes on.
const AHEAD_MAX: usize = 1 << 16;

/// Answers the requests of a connection one after the other, until either side has enough. Of a body that is longer than
/// `body_max` one byte more than that is handed on, and the connection ends. Where `answer` has none, it breaks off.
pub async fn serve<S>(
    stream: S,
    body_max: usize,
    mut answer: impl FnMut(&Parts, &[u8]) -> Option<Response<Body>>,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut connection = Connection { stream, buffer: BytesMut::with_capacity(1 << 13) };
    loop {
        let parts = match connection.head().await? {
            Head::End => return connection.end().await,
            Head::Wrong(status) => return connection.refuse(status).await,
            Head::Request(parts) => parts,
        };
        let Some(length) = length_of(&parts) else { return connection.refuse(StatusCode::BAD_REQUEST).await };
        let expects = parts.headers.get(header::EXPECT).is_some_and(|value| value.as_bytes() == b"100-continue");
        if expects && !matches!(length, Length::Bytes(0)) {
            connection.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        let Some((body, is_whole)) = connection.body(length, body_max).await? else {
            return connection.refuse(StatusCode::BAD_REQUEST).await;
        };
        let Some(response) = answer(&parts, &body) else { return Ok(()) };
        let goes_on = is_whole && is_kept_alive(&parts);
        if !connection.respond(&parts, response, goes_on).await? || !goes_on {
            return connection.end().await;
        }
    }
}

enum Head {
    Request(Box<Parts>),
    Wrong(StatusCode),
    End,
}

/// How long a body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunks,
}

/// How long the body is that follows; `None` where the request contradicts itself.
fn length_of(parts: &Parts) -> Option<Length> {
    let mut lengths = parts.headers.get_all(header::CONTENT_LENGTH).iter();
    let length = match (lengths.next(), lengths.next()) {
        (None, _) => None,
        (Some(only), None) => Some(only.to_str().ok()?.trim().parse::<usize>().ok()?),
        _ => return None,
    };
    match (parts.headers.get(header::TRANSFER_ENCODING), length) {
        (None, length) => Some(Length::Bytes(length.unwrap_or(0))),
        (Some(coding), None) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => Some(Length::Chunks),
        _ => None,
    }
}

fn is_kept_alive(parts: &Parts) -> bool {
    let told = parts.headers.get(header::CONNECTION).map_or(&b""[..], HeaderValue::as_bytes);
    match parts.version {
        Version::HTTP_10 => told.eq_ignore_ascii_case(b"keep-alive"),
        _ => !told.eq_ignore_ascii_case(b"close"),
    }
}

/// The first request in these bytes and how many of them it takes; `None`: there is more to come.
fn parse(bytes: &[u8]) -> Result<Option<(Parts, usize)>, StatusCode> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut headers);
    let length = match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE),
        Err(_) => return Err(StatusCode::BAD_REQUEST),
    };
    let wrong = StatusCode::BAD_REQUEST;
    let method = Method::from_bytes(parsed.method.unwrap_or_default().as_bytes()).map_err(|_| wrong)?;
    let uri: Uri = parsed.path.unwrap_or_default().parse().map_err(|_| wrong)?;
    let version = if parsed.version == Some(0) { Version::HTTP_10 } else { Version::HTTP_11 };
    let (mut parts, ()) = Request::new(()).into_parts();
    (parts.method, parts.uri, parts.version) = (method, uri, version);
    for one in parsed.headers.iter() {
        let name = HeaderName::from_bytes(one.name.as_bytes()).map_err(|_| wrong)?;
        parts.headers.append(name, HeaderValue::from_bytes(one.value).map_err(|_| wrong)?);
    }
    let has_host = parts.headers.contains_key(header::HOST) || version == Version::HTTP_10;
    if has_host { Ok(Some((parts, length))) } else { Err(wrong) }
}

struct Connection<S> {
    stream: S,
    /// What was read and not yet used.
    buffer: BytesMut,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Reads more; whether there was any.
    async fn read(&mut self) -> io::Result<bool> {
        Ok(self.stream.read_buf(&mut self.buffer).await? > 0)
    }

    async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await?;
        self.stream.flush().await
    }

    async fn head(&mut self) -> io::Result<Head> {
        loop {
            match parse(&self.buffer) {
                Err(status) => return Ok(Head::Wrong(status)),
                Ok(Some((parts, length))) => {
                    self.buffer.advance(length);
                    return Ok(Head::Request(Box::new(parts)));
                }
                Ok(None) if self.buffer.len() > HEAD_MAX => {
                    return Ok(Head::Wrong(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE));
                }
                Ok(None) => {}
            }
            if !self.read().await? {
                return Ok(Head::End);
            }
        }
    }

    /// The body, and whether that is all of it; `None` where it is malformed or breaks off.
    async fn body(&mut self, length: Length, body_max: usize) -> io::Result<Option<(Bytes, bool)>> {
        match length {
            Length::Bytes(length) => {
                let wanted = length.min(body_max + 1);
                while self.buffer.len() < wanted {
                    if !self.read().await? {
                        return Ok(None);
                    }
                }
                Ok(Some((self.buffer.split_to(wanted).freeze(), wanted == length)))
            }
            Length::Chunks => self.chunks(body_max).await,
        }
    }

    async fn chunks(&mut self, body_max: usize) -> io::Result<Option<(Bytes, bool)>> {
        let mut body = BytesMut::new();
        loop {
            let size = loop {
                match httparse::parse_chunk_size(&self.buffer) {
                    Err(_) => return Ok(None),
                    Ok(httparse::Status::Complete((length, size))) => {
                        self.buffer.advance(length);
                        break usize::try_from(size).unwrap_or(usize::MAX);
                    }
                    Ok(httparse::Status::Partial) => {
                        if self.buffer.len() > HEAD_MAX || !self.read().await? {
                            return Ok(None);
                        }
                    }
                }
            };
            if size == 0 {
                return Ok(self.trailers().await?.then(|| (body.freeze(), true)));
            }
            let wanted = size.min(body_max + 1 - body.len());
            while self.buffer.len() < wanted {
                if !self.read().await? {
                    return Ok(None);
                }
            }
            body.extend_from_slice(&self.buffer.split_to(wanted));
            if body.len() > body_max {
                return Ok(Some((body.freeze(), false)));
            }
            while self.buffer.len() < 2 {
                if !self.read().await? {
                    return Ok(None);
                }
            }
            if self.buffer.split_to(2) != b"\r\n"[..] {
                return Ok(None);
            }
        }
    }

    /// Reads past the fields after the last chunk; whether they are well-formed.
    async fn trailers(&mut self) -> io::Result<bool> {
        loop {
            let end = self.buffer.windows(2).position(|pair| pair == b"\r\n");
            match end {
                Some(0) => {
                    self.buffer.advance(2);
                    return Ok(true);
                }
                Some(end) => self.buffer.advance(end + 2),
                None if self.buffer.len() > HEAD_MAX || !self.read().await? => return Ok(false),
                None => {}
            }
        }
    }

    /// Sends an answer; whether the connection can go on.
    async fn respond(&mut self, parts: &Parts, response: Response<Body>, goes_on: bool) -> io::Result<bool> {
        let (head, mut body) = response.into_parts();
        let exact = http_body::Body::size_hint(&body).exact();
        let mut text =
            format!("HTTP/1.1 {} {}\r\n", head.status.as_u16(), head.status.canonical_reason().unwrap_or(""));
        for (name, value) in &head.headers {
            text.push_str(&format!("{name}: {}\r\n", String::from_utf8_lossy(value.as_bytes())));
        }
        text.push_str(&jiff::Timestamp::now().strftime("date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string());
        let in_chunks = exact.is_none() && parts.version != Version::HTTP_10;
        match exact {
            Some(length) => text.push_str(&format!("content-length: {length}\r\n")),
            None if in_chunks => text.push_str("transfer-encoding: chunked\r\n"),
            None => {}
        }
        if !goes_on {
            text.push_str("connection: close\r\n");
        }
        text.push_str("\r\n");
        self.stream.write_all(text.as_bytes()).await?;
        if parts.method == Method::HEAD {
            self.stream.flush().await?;
            return Ok(true);
        }
        if exact.is_some() {
            while let Some(Ok(frame)) = body.frame().await {
                self.stream.write_all(frame.data_ref().map_or(&[][..], |data| data)).await?;
            }
            self.stream.flush().await?;
            return Ok(true);
        }
        self.stream.flush().await?;
        self.stream_out(body, in_chunks).await
    }

    /// Sends a body as it comes, until it ends or the client closes its side.
    async fn stream_out(&mut self, mut body: Body, in_chunks: bool) -> io::Result<bool> {
        let mut is_open = true;
        loop {
            let frame = tokio::select! {
                biased;
                frame = body.frame() => frame,
                read = self.stream.read_buf(&mut self.buffer) => {
                    is_open = read? > 0 && self.buffer.len() <= AHEAD_MAX;
                    if is_open {
                        continue;
                    }
                    None
                }
            };
            let Some(Ok(frame)) = frame else { break };
            let Some(data) = frame.data_ref().filter(|data| !data.is_empty()) else { continue };
            if in_chunks {
                self.stream.write_all(format!("{:x}\r\n", data.len()).as_bytes()).await?;
                self.stream.write_all(data).await?;
                self.stream.write_all(b"\r\n").await?;
            } else {
                self.stream.write_all(data).await?;
            }
            self.stream.flush().await?;
        }
        if in_chunks {
            self.write(b"0\r\n\r\n").await?;
        }
        Ok(is_open && in_chunks)
    }

    /// Answers what is no request, as Go's server does, and ends.
    async fn refuse(&mut self, status: StatusCode) -> io::Result<()> {
        let text = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or_default());
        let kind = "content-type: text/plain; charset=utf-8\r\nconnection: close";
        self.write(format!("HTTP/1.1 {text}\r\n{kind}\r\n\r\n{text}").as_bytes()).await?;
        self.end().await
    }

    /// Ends the connection. What the client still sends is read for a moment: closed at once, it would not read the
    /// answer.
    async fn end(&mut self) -> io::Result<()> {
        const MOMENT: std::time::Duration = std::time::Duration::from_millis(500);
        self.stream.shutdown().await?;
        let drain = async {
            loop {
                self.buffer.clear();
                if !matches!(self.stream.read_buf(&mut self.buffer).await, Ok(1..)) {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(MOMENT, drain).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    /// What the server says to these bytes, and which bodies it saw.
    fn talk(sent: &[u8]) -> (String, Vec<String>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let (mut client, server) = tokio::io::duplex(1 << 20);
            let mut seen = Vec::new();
            client.write_all(sent).await.unwrap();
            client.shutdown().await.unwrap();
            serve(server, 8, |parts, body| {
                seen.push(format!("{} {} {}", parts.method, parts.uri, String::from_utf8_lossy(body)));
                Some(Response::new(Full::new(Bytes::from_static(b"yes")).boxed_unsync()))
            })
            .await
            .unwrap();
            let mut text = Vec::new();
            client.read_to_end(&mut text).await.unwrap();
            (String::from_utf8(text).unwrap(), seen)
        })
    }

    #[test]
    fn requests_of_one_connection_follow_each_other() {
        let sent = "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n\r\none\
                    PUT /b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\ntw\r\n1;x=y\r\no\r\n0\r\nt: u\r\n\r\n\
                    GET /c HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\nGET /d HTTP/1.1\r\nhost: x\r\n\r\n";
        let (text, seen) = talk(sent.as_bytes());
        assert_eq!(seen, ["POST /a one", "PUT /b two", "GET /c "]);
        assert_eq!(text.matches("HTTP/1.1 200 OK\r\n").count(), 3);
        assert!(text.ends_with("connection: close\r\n\r\nyes"), "{text}");
    }

    #[test]
    fn a_body_that_is_too_long_is_cut_and_ends_the_connection() {
        for sent in [
            "POST /a HTTP/1.1\r\nhost: x\r\ncontent-length: 40\r\n\r\n0123456789",
            "POST /a HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\nff\r\n56789",
        ] {
            let (text, seen) = talk(sent.as_bytes());
            assert_eq!(seen, ["POST /a 012345678"]);
            assert!(text.contains("connection: close"), "{text}");
        }
    }

    #[test]
    fn what_is_no_request_is_refused() {
        for (sent, code) in [
            ("nonsense\r\n\r\n", 400),
            ("GET / HTTP/1.1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: -1\r\n\r\n", 400),
            ("POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", 400),
            ("POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n1", 400),
        ] {
            let (text, seen) = talk(sent.as_bytes());
            assert!(text.starts_with(&format!("HTTP/1.1 {code} ")), "{sent:?}: {text}");
            assert!(seen.is_empty());
        }
        let many = "a: b\r\n".repeat(HEADERS_MAX + 1);
        assert!(talk(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes()).0.starts_with("HTTP/1.1 431 "));
    }
}
