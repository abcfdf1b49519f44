//! What a live call answers, and what a failed one tells.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, error::CredentialsError, future};
use aws_dynamic::{CallError, Client, Credentials, Phase};
use aws_smithy_runtime_api::client::behavior_version::BehaviorVersion;
use aws_smithy_types::timeout::TimeoutConfig;
use aws_types::SdkConfig;
use aws_types::region::Region;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::aws_stub::{Request, config, signer, stub};

fn canned(request: &Request) -> (u16, Vec<u8>) {
    let body = String::from_utf8_lossy(&request.body);
    let action = body.split('&').find_map(|pair| pair.strip_prefix("Action=")).unwrap_or_default();
    let answer = match action {
        "DescribeVpcs" => {
            "<DescribeVpcsResponse><vpcSet><item><vpcId>vpc-1</vpcId><isDefault>true</isDefault></item></vpcSet>\
             </DescribeVpcsResponse>"
        }
        "GetRole" => {
            "<GetRoleResponse><GetRoleResult><Role><Path>/</Path><RoleName>r</RoleName><RoleId>id</RoleId><Arn>a</Arn>\
             <Description>d%2B</Description><CreateDate>2024-01-02T03:04:05Z</CreateDate>\
             <AssumeRolePolicyDocument>%7B%22a%22%3A%201%7D\
             </AssumeRolePolicyDocument></Role></GetRoleResult></GetRoleResponse>"
        }
        "GetRolePolicy" => {
            "<GetRolePolicyResponse><GetRolePolicyResult><RoleName>r</RoleName><PolicyName>p</PolicyName>\
             <PolicyDocument>{\"a\": \"%41\"}</PolicyDocument></GetRolePolicyResult></GetRolePolicyResponse>"
        }
        "DeleteVpc" => return (503, vec![]),
        _ => r#"{"clusters": ["one"], "nextToken": null}"#,
    };
    (200, answer.as_bytes().to_vec())
}

async fn answer(client: &Client, service: &str, name: &str, input: Value) -> Result<Value, CallError> {
    client.call(aws_dynamic::operation(service, name).unwrap(), &input).await
}

#[tokio::test]
async fn answers_have_every_field() {
    let client = stub(canned).await;
    let clusters = answer(&client, "eks", "list_clusters", json!({})).await.unwrap();
    assert_eq!(clusters, json!({ "clusters": ["one"], "next_token": null }));
    let vpcs = answer(&client, "ec2", "describe_vpcs", json!({})).await.unwrap();
    let vpc = &vpcs["vpcs"][0];
    assert_eq!((&vpc["vpc_id"], &vpc["is_default"], &vpc["cidr_block"]), (&json!("vpc-1"), &json!(true), &json!(null)));
    assert!(vpc.as_object().unwrap().contains_key("tags"));
    let role = answer(&client, "iam", "get_role", json!({ "role_name": "r" })).await.unwrap();
    assert_eq!(role["role"]["assume_role_policy_document"], "{\"a\": 1}");
    assert_eq!(role["role"]["description"], "d%2B");
    let policy =
        answer(&client, "iam", "get_role_policy", json!({ "role_name": "r", "policy_name": "p" })).await.unwrap();
    assert_eq!(policy["policy_document"], "{\"a\": \"%41\"}", "a document that is plain already");
    assert_eq!(role["role"]["create_date"], "2024-01-02T03:04:05Z");
}

#[tokio::test]
async fn failures_tell_how_far_they_came() {
    let client = stub(canned).await;
    let error = answer(&client, "ec2", "delete_vpc", json!({ "vpc_id": "v" })).await.unwrap_err();
    assert_eq!((error.status, error.retryable, error.maybe_applied), (Some(503), true, true), "{error:?}");

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let closed = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-west-2"))
        .endpoint_url(format!("http://{nobody}"))
        .credentials_provider(signer());
    let error = answer(&Client::new(&closed.build()), "eks", "list_clusters", json!({})).await.unwrap_err();
    assert_eq!((error.phase, error.retryable, error.maybe_applied), (Phase::Dispatch, true, false), "{error:?}");

    let nowhere = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).credentials_provider(signer());
    let error = answer(&Client::new(&nowhere.build()), "eks", "list_clusters", json!({})).await.unwrap_err();
    assert!(!error.retryable && !error.maybe_applied, "{error:?}");
    assert!(error.credentials.is_none() && error.message.contains("Missing Region"), "{error:?}");

    let error = answer(&client, "ec2", "delete_vpc", json!({ "vpc_id": 1 })).await.unwrap_err();
    assert_eq!((error.phase, error.maybe_applied), (Phase::Input, false), "{error:?}");
}

/// A server that takes the request and hangs up.
#[tokio::test]
async fn a_broken_connection_may_have_applied() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let mut buffer = [0; 64];
            let _ = stream.read(&mut buffer).await;
        }
    });
    let client = Client::new(&config(&format!("http://{address}")));
    let error = answer(&client, "ec2", "delete_vpc", json!({ "vpc_id": "v" })).await.unwrap_err();
    assert_eq!((error.phase, error.retryable, error.maybe_applied), (Phase::Dispatch, true, true), "{error:?}");
    assert_eq!(connections.load(Ordering::SeqCst), 1, "the SDK must not retry by itself");
}

#[tokio::test]
async fn a_server_that_never_answers_may_have_applied() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let limit = TimeoutConfig::builder().operation_timeout(Duration::from_millis(200)).build();
    let config = config(&format!("http://{}", listener.local_addr().unwrap())).to_builder();
    let client = Client::new(&config.timeout_config(limit).build());
    let error = answer(&client, "ec2", "delete_vpc", json!({ "vpc_id": "v" })).await.unwrap_err();
    assert_eq!((error.phase, error.retryable, error.maybe_applied), (Phase::Timeout, true, true), "{error:?}");
}

/// One message of AWS's event-stream framing.
fn frame(event: &str, payload: &str) -> Vec<u8> {
    let mut headers = vec![];
    for (name, value) in [(":message-type", "event"), (":event-type", event), (":content-type", "application/json")] {
        headers.extend([&[name.len() as u8], name.as_bytes(), &[7, 0, value.len() as u8], value.as_bytes()].concat());
    }
    let total = (16 + headers.len() + payload.len()) as u32;
    let mut message = [total.to_be_bytes(), (headers.len() as u32).to_be_bytes()].concat();
    message.extend(crc32(&message).to_be_bytes());
    message.extend([&headers, payload.as_bytes()].concat());
    message.extend(crc32(&message).to_be_bytes());
    message
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

fn streamed(_: &Request) -> (u16, Vec<u8>) {
    let start = frame("sessionStart", r#"{"sessionId": "s"}"#);
    let update = frame("sessionUpdate", r#"{"sessionResults": [{"message": "hello"}]}"#);
    (200, [frame("initial-response", "{}"), start, update].concat())
}

#[tokio::test]
async fn a_streamed_answer_is_gathered() {
    let client = stub(streamed).await;
    let input = json!({ "log_group_identifiers": ["g"] });
    let tail = answer(&client, "cloudwatchlogs", "start_live_tail", input).await.unwrap();
    let events = tail["response_stream"].as_array().unwrap();
    assert_eq!(events.len(), 2, "{tail}");
    assert_eq!((&events[0]["session_start"]["session_id"], &events[0]["session_update"]), (&json!("s"), &Value::Null));
    assert_eq!(events[1]["session_update"]["session_results"][0]["message"], "hello");
}

#[derive(Debug)]
struct NoCredentials(fn() -> CredentialsError);

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err((self.0)()))
    }
}

#[tokio::test]
async fn missing_and_expired_credentials_are_told_apart() {
    let try_with = async |provider| {
        let config = config("http://127.0.0.1:1").to_builder();
        let config = config.credentials_provider(SharedCredentialsProvider::new(NoCredentials(provider))).build();
        answer(&Client::new(&config), "sts", "get_caller_identity", json!({})).await.unwrap_err()
    };
    let error = try_with(|| CredentialsError::not_loaded("nothing configured")).await;
    assert_eq!(error.credentials, Some(Credentials::NotFound), "{error:?}");
    assert!(!error.maybe_applied && error.source.contains("nothing configured"), "{error:?}");
    let unsigned = SdkConfig::builder().behavior_version(BehaviorVersion::latest()).region(Region::new("us-west-2"));
    let error = answer(&Client::new(&unsigned.build()), "sts", "get_caller_identity", json!({})).await.unwrap_err();
    assert_eq!(error.credentials, Some(Credentials::NotFound), "{error:?}");
    let error = try_with(|| CredentialsError::provider_error("the SSO session has expired")).await;
    assert_eq!(error.credentials, Some(Credentials::Expired), "{error:?}");
}
