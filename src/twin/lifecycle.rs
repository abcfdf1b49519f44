//! How long things take: one table, each row with its source. "AWS docs" are the user guides; "field" are medians that
//! operators report for small production clusters. They are typical, not promises.

use std::time::Duration;

/// One duration.
pub struct Row {
    /// The table of the thing: `eks/clusters`.
    pub table: &'static str,
    /// What it becomes.
    pub to: &'static str,
    /// How long that takes.
    pub seconds: u64,
    /// Where the figure comes from.
    pub source: &'static str,
}

const fn row(table: &'static str, to: &'static str, seconds: u64, source: &'static str) -> Row {
    Row { table, to, seconds, source }
}

/// Every duration of the twin.
pub const DURATIONS: &[Row] = &[
    row("eks/clusters", "ACTIVE", 540, "AWS docs: control plane provisioning takes several minutes; field: 8 to 10"),
    row("eks/clusters", "UPDATED", 150, "field: endpoint, logging and access changes take 2 to 3 minutes"),
    row("eks/clusters", "ENCRYPTED", 600, "field: associating a key re-encrypts all Secrets, about 10 minutes"),
    row("eks/clusters", "UPGRADED", 540, "AWS docs: a version update takes several minutes; field: 8 to 12"),
    row("eks/clusters", "DELETED", 150, "field: 2 to 4 minutes"),
    row("eks/nodegroups", "SCALED", 15, "field: the Auto Scaling group is created within seconds"),
    row("eks/nodegroups", "ACTIVE", 20, "field: ACTIVE follows the last node's Ready by some 20 seconds"),
    row("eks/nodegroups", "CREATE_FAILED", 1200, "field: NodeCreationFailure after about 20 minutes"),
    row("eks/nodegroups", "UPDATED", 20, "field: configuration updates end within half a minute"),
    row("eks/nodegroups", "NODES_TIMEOUT", 1800, "field: an update waits about half an hour for new nodes"),
    row("eks/nodegroups", "EVICTION_TIMEOUT", 900, "AWS docs: pods have 15 minutes to leave a node that is updated"),
    row("eks/nodegroups", "DELETED", 60, "field: one minute after its last instance"),
    row("eks/addons", "INSTALLED", 10, "field: objects are applied within seconds"),
    row("eks/addons", "ACTIVE", 15, "field: ACTIVE within half a minute where pods can run"),
    row("eks/addons", "DEGRADED", 300, "field: an add-on without its replicas is CREATING for some minutes"),
    row("eks/addons", "UPDATED", 25, "field"),
    row("eks/addons", "DELETED", 10, "field"),
    row("ec2/nat_gateways", "available", 90, "field: one and a half to two minutes"),
    row("ec2/nat_gateways", "deleted", 45, "field: about a minute"),
    row("ec2/nat_gateways", "gone", 3600, "AWS docs: deleted NAT gateways stay visible for about an hour"),
    row("ec2/vpc_endpoints", "available", 60, "field: interface endpoints take about a minute"),
    row("ec2/vpc_endpoints", "deleted", 60, "field"),
    row("ec2/instances", "running", 15, "field: pending takes 10 to 30 seconds"),
    row("ec2/instances", "booted", 30, "field: AL2023 with nodeadm registers some 45 seconds after the launch"),
    row("ec2/instances", "terminated", 40, "field: half a minute to a minute"),
    row("ec2/instances", "gone", 3600, "AWS docs: terminated instances stay visible for about an hour"),
    row("autoscaling/groups", "RETRY", 60, "field: a failed launch is tried again about a minute later"),
    row("autoscaling/groups", "Deleted", 5, "field: a group goes within seconds after its last instance"),
    row("ec2/volumes", "available", 5, "field"),
    row("kube/nodes", "Ready", 15, "field: the CNI is initialised some 15 seconds after the node registered"),
    row("kube/nodes", "Lost", 40, "Kubernetes docs: node-monitor-grace-period"),
    row("kube/nodes", "Back", 10, "Kubernetes docs: kubelet posts its status every 10 seconds"),
    row("kube/nodes", "Gone", 60, "field: the cloud controller removes the node within a minute"),
    row("kube/pods", "Running", 8, "field: image pull and start of a small pod"),
    row("kube/pods", "Succeeded", 5, "chosen: nothing runs in a twin; a pod of a Job works for some seconds"),
    row("kube/pods", "Deleted", 5, "field: most pods end well before their grace period"),
    row("kube/persistentvolumeclaims", "Bound", 5, "field: EBS makes a volume within seconds"),
    row("kms/keys", "Deleted", 604_800, "AWS docs: the shortest waiting period is 7 days"),
    row("elasticloadbalancing/load_balancers", "active", 120, "field: two minutes"),
    row("elasticloadbalancing/load_balancers", "deleted", 30, "field: interfaces linger for half a minute"),
];

/// How long a thing of this table takes to become that; no time where no row says so.
pub fn duration(table: &str, to: &str) -> Duration {
    let row = DURATIONS.iter().find(|row| row.table == table && row.to == to);
    debug_assert!(row.is_some(), "{table} → {to} has no duration");
    Duration::from_secs(row.map_or(0, |row| row.seconds))
}
