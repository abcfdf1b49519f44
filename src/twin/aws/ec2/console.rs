//! What an instance wrote to its console: for people who look why it is no node.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::twin::aws::{Answer, Row, refuse, text};
use crate::twin::physics::join::{self, Reason};
use crate::twin::world::World;

/// Simulated here.
pub const OPERATIONS: &[Row] = &[("ec2::get_console_output", get_console_output)];

fn get_console_output(world: &mut World, input: &Value) -> Answer {
    let id = text(input, "instance_id");
    let Some(instance) = world.find("ec2/instances", id) else {
        return refuse("InvalidInstanceID.NotFound", 400, format!("The instance ID '{id}' does not exist"));
    };
    let mut answer = json!({ "instance_id": id, "timestamp": world.now_text() });
    // EC2 has nothing to show before an instance has booted.
    if instance["_booted"] == true || !text(instance, "_failed").is_empty() {
        answer["output"] = json!(STANDARD.encode(lines(world, instance)));
    }
    Ok(answer)
}

fn lines(world: &World, instance: &Value) -> String {
    let name = text(instance, "private_dns_name");
    let mut lines = vec![
        format!("[    0.000000] Linux version 6.12.46-66.121.amzn2023 ({})", text(instance, "instance_id")),
        format!("[    9.412311] cloud-init[1612]: Cloud-init v. 22.2.2 running 'modules:final' on {name}"),
    ];
    let failed = text(instance, "_failed");
    if !failed.is_empty() {
        lines.push(format!("[   11.020417] Kernel panic - not syncing: {failed}"));
    } else if let Some(reason) = join::why_not(world, text(instance, "instance_id")) {
        lines.push(words(&reason));
    } else if join::cluster_of(instance).is_some() {
        lines.push(format!("[   14.730912] kubelet[2210]: I kubelet_node_status.go:78] \"Successfully registered node\" node=\"{name}\""));
    }
    lines.push(format!("{name} login: "));
    lines.join("\n")
}

/// What nodeadm or kubelet write about it.
fn words(reason: &Reason) -> String {
    match reason {
        Reason::RoleNotMapped(role) => {
            format!(
                "kubelet[2210]: E kubelet_node_status.go:107] \"Unable to register node with API server\" err=\"Unauthorized\" role=\"{role}\""
            )
        }
        Reason::NoRoute => "nodeadm[1733]: dial tcp: i/o timeout: the API server or AWS is not reachable".to_owned(),
        Reason::NoAddresses => "kubelet[2210]: E: no free address is left in the subnet".to_owned(),
        Reason::InstanceFailed => "kernel: the instance failed".to_owned(),
        Reason::WrongImage(problem) => format!("cloud-init[1612]: no nodeadm or kubelet that fits: {problem}"),
        Reason::UserData(problem) => format!("nodeadm[1733]: Invalid configuration: {problem}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(world: &mut World) -> String {
        let answer = get_console_output(world, &json!({ "instance_id": "i-1" })).unwrap();
        let bytes = STANDARD.decode(text(&answer, "output")).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn the_console_tells_why_an_instance_is_no_node() {
        let mut world = World::new(1).unwrap();
        world.put("eks/clusters", "prod", json!({ "name": "prod", "version": "1.36" }));
        world.start_server("prod");
        let tags = json!([{ "key": "kubernetes.io/cluster/prod", "value": "owned" }]);
        let instance = json!({ "instance_id": "i-1", "image_id": "ami-mine", "state": { "name": "running" },
            "tags": tags, "private_dns_name": "ip-10-0-0-4.us-west-2.compute.internal" });
        world.put("ec2/instances", "i-1", instance);
        assert_eq!(output(&mut world), "", "nothing before it has booted");
        world.find_mut("ec2/instances", "i-1").unwrap()["_booted"] = json!(true);
        assert!(output(&mut world).contains("AMI ami-mine (``) is none of EKS's"));
        let refusal = get_console_output(&mut world, &json!({ "instance_id": "i-2" })).unwrap_err();
        assert_eq!(refusal.code, "InvalidInstanceID.NotFound");
    }
}
