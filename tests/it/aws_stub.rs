//! A server on loopback that stands for every AWS endpoint, and a client whose every request goes there.

use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_dynamic::Client;
use aws_smithy_http_client::{Builder, Connector, proxy::ProxyConfig};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_types::SdkConfig;
use aws_types::region::Region;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request as it came.
pub struct Request {
    pub head: String,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    pub fn is_json(&self) -> bool {
        // restJson sends no body with a GET, and everything but GET with one; the query protocols always POST a form.
        !self.header("content-type").starts_with("application/x-www-form-urlencoded")
    }
}

/// Status and body for a request.
pub type Answer = fn(&Request) -> (u16, Vec<u8>);

/// Serves until the runtime ends, and gives a client that reaches it whatever the host name, as a proxy would: some
/// operations put a prefix before it.
pub async fn stub(answer: Answer) -> Client {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, answer));
        }
    });
    Client::new(&config(&format!("http://{address}")))
}

/// Credentials that ask nobody.
pub fn signer() -> SharedCredentialsProvider {
    SharedCredentialsProvider::new(Credentials::new("AKIDSTUB", "secret", None, None, "test"))
}

/// A configuration under which everything goes through this proxy.
pub fn config(proxy: &str) -> SdkConfig {
    let proxy = ProxyConfig::http(proxy).unwrap();
    let connector = move |_: Option<&_>, _: Option<&_>| Connector::builder().proxy_config(proxy.clone()).build_http();
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-west-2"))
        .endpoint_url("http://stub.test")
        .credentials_provider(signer())
        .http_client(Builder::new().build_with_connector_fn(connector))
        .build()
}

async fn serve(mut stream: TcpStream, answer: Answer) -> std::io::Result<()> {
    let mut buffer = vec![];
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        let mut request = Request { head, body: vec![] };
        let length: usize = request.header("content-length").parse().unwrap_or(0);
        while buffer.len() < end + length {
            stream.read_buf(&mut buffer).await?;
        }
        request.body = buffer[end..end + length].to_vec();
        buffer.drain(..end + length);
        let (status, body) = answer(&request);
        let kind = if request.is_json() { "application/json" } else { "text/xml" };
        let id = "x-amzn-requestid: stub-request";
        let head =
            format!("HTTP/1.1 {status} Stub\r\ncontent-type: {kind}\r\n{id}\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.into_bytes(), body].concat()).await?;
    }
}

/// Refuses with the request itself as the message, in each protocol's form.
pub fn echo(request: &Request) -> (u16, Vec<u8>) {
    let raw = [request.head.as_bytes(), &request.body].concat();
    let message = STANDARD.encode(raw);
    let error = format!("<Error><Code>Stub</Code><Message>{message}</Message></Error>");
    let is_ec2 = String::from_utf8_lossy(&request.body).contains("Version=2016-11-15");
    let body = match (request.is_json(), is_ec2) {
        (true, _) => json!({ "__type": "Stub", "message": message }).to_string(),
        (_, true) => format!("<Response><Errors>{error}</Errors><RequestID>stub-request</RequestID></Response>"),
        _ => format!("<ErrorResponse>{error}<RequestId>stub-request</RequestId></ErrorResponse>"),
    };
    (400, body.into_bytes())
}
