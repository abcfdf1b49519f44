//! Whether a create without a token happened although no answer says so.
//!
//! Such a create carries the tag `ekskit:request` with the hash of the call in the same request. After a doubtful
//! outcome the tag is looked for through the window in which AWS may not show a new thing yet; only when it is absent
//! to the end is the create sent again.

use std::time::Duration;

use aws_dynamic::Operation;
use serde_json::{Value, json};

use super::retry::{self, Watch};
use super::{Cloud, Target};
use crate::error::Error;

/// The tag that makes a create recognisable.
pub const REQUEST_TAG: &str = "ekskit:request";

/// How long EC2 may take to show what it made (its own documentation says "a couple of minutes" at the worst; new
/// things are visible within seconds in practice), and how often we look.
const WINDOW: Duration = Duration::from_secs(30);
const EVERY: Duration = Duration::from_secs(3);

/// How a thing that a create made is found by its request tag.
struct Row {
    create: &'static str,
    describe: &'static str,
    /// The list in the answer of `describe`.
    list: &'static str,
    /// The field of the create's answer that holds the thing; none where the thing is the answer itself.
    field: Option<&'static str>,
}

const fn row(create: &'static str, describe: &'static str, list: &'static str, field: Option<&'static str>) -> Row {
    Row { create, describe, list, field }
}

/// EC2 creates that have neither token nor unique name and are tagged in the same request.
const ROWS: &[Row] = &[
    row("create_vpc", "describe_vpcs", "vpcs", Some("vpc")),
    row("create_subnet", "describe_subnets", "subnets", Some("subnet")),
    row("create_internet_gateway", "describe_internet_gateways", "internet_gateways", Some("internet_gateway")),
    row("create_route_table", "describe_route_tables", "route_tables", Some("route_table")),
    row("create_security_group", "describe_security_groups", "security_groups", None),
    row("create_dhcp_options", "describe_dhcp_options", "dhcp_options", Some("dhcp_options")),
    row("create_network_acl", "describe_network_acls", "network_acls", Some("network_acl")),
    row("allocate_address", "describe_addresses", "addresses", None),
];

fn row_of(operation: &Operation) -> Option<&'static Row> {
    (operation.service == "ec2").then(|| ROWS.iter().find(|row| row.create == operation.name)).flatten()
}

/// Whether this create gets the request tag.
pub fn needs_tag(operation: &Operation) -> bool {
    operation.token.is_none() && row_of(operation).is_some()
}

fn request_tag(input: &Value) -> Option<&str> {
    let specifications = input["tag_specifications"].as_array()?;
    let mut tags = specifications.iter().filter_map(|specification| specification["tags"].as_array()).flatten();
    tags.find(|tag| tag["key"] == REQUEST_TAG)?["value"].as_str()
}

/// What looking for a doubtful create found.
pub enum Lookup {
    /// It happened; this is the answer that the create would have given.
    Found(Value),
    /// It did not happen: it can be sent again.
    Absent,
    /// There is no way to look, or looking failed.
    Unknown(Option<Error>),
}

/// Looks for what a create may have made.
pub async fn applied(
    cloud: &Cloud,
    target: &Target,
    operation: &'static Operation,
    input: &Value,
    watch: &dyn Watch,
) -> Lookup {
    let (Some(row), Some(tag)) = (row_of(operation), request_tag(input)) else { return Lookup::Unknown(None) };
    let Some(describe) = aws_dynamic::operation(operation.service, row.describe) else { return Lookup::Unknown(None) };
    let query = json!({ "filters": [{ "name": format!("tag:{REQUEST_TAG}"), "values": [tag] }] });
    let start = cloud.clock.now();
    loop {
        let over = cloud.clock.since(start) >= WINDOW;
        match cloud.aws.call(target, describe, &query).await {
            Ok(answer) => match answer[row.list].get(0) {
                Some(found) => {
                    return Lookup::Found(row.field.map_or_else(|| found.clone(), |field| json!({ field: found })));
                }
                None if over => return Lookup::Absent,
                None => {}
            },
            // A failed look is no proof of absence.
            Err(failure) if over || !failure.retryable => {
                return Lookup::Unknown(Some(super::error::from_call(describe, None, failure)));
            }
            Err(_) => {}
        }
        watch.waiting(&format!("whether `{operation}` was applied"), "not visible yet");
        if !retry::pause(cloud, watch, EVERY).await {
            return Lookup::Unknown(None);
        }
    }
}
