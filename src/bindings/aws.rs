//! Account, region and tags, described. The engine has them in `engine/account.rs`, because they belong to the session.

use crate::catalog::{Binding, Effect, Param, Run, Ty};
use crate::error::Kind;

/// `aws::`.
pub static ALL: &[&Binding] =
    &[&CLUSTER, &USING, &EXPECT, &IDENTITY, &REGION, &PARTITION, &ARN, &DEFAULT_TAGS, &SETTINGS, &OPERATION_EXISTS];

const fn session(
    name: &'static str,
    effect: Effect,
    doc: &'static str,
    params: &'static [Param],
    returns: &'static str,
    raises: &'static [Kind],
) -> Binding {
    Binding { name, effect, doc, params, options: &[], returns, raises, run: Run::Control }
}

/// What `aws::using` can change.
pub const USING_KEYS: &[Param] = &[
    Param::option("region", Ty::Text, "such as \"eu-west-1\""),
    Param::option("profile", Ty::Text, "of the AWS configuration files"),
    Param::option("role_arn", Ty::Text, "a role to assume"),
];

/// What `aws::expect` can be told.
pub const EXPECT_KEYS: &[Param] = &[Param::option("account", Ty::Text, "twelve digits; empty: any")];

/// Parts of an ARN.
pub const ARN_KEYS: &[Param] = &[
    Param::new("service", Ty::Text, "such as \"iam\""),
    Param::new("resource", Ty::Text, "such as \"role/prod\""),
    Param::option("region", Ty::Text, "\"\" for none; default: where one is"),
    Param::option("account", Ty::Text, "\"\" for none; default: where one is"),
];

static CLUSTER: Binding = session(
    "kube::cluster",
    Effect::Read,
    "A handle on a cluster of EKS by its name; its methods are the `kube::` functions.

It keeps the account, role and region under which it was made.

```rhai
kube::cluster(\"prod\").get(\"cm\", \"aws-auth\", #{ namespace: \"kube-system\" }).kind //=> \"ConfigMap\"
kube::cluster(\"nobody\") //=> error: not_found
```",
    &[Param::new("name", Ty::Text, "of the cluster")],
    "a handle; it is no plain data, so a step can not end with it",
    &[Kind::NotFound],
);

static USING: Binding = session(
    "aws::using",
    Effect::Pure,
    "Runs a closure with calls going to another region, profile or role.

Nests, and holds in branches of `parallel`; a cluster handle keeps what it was made under.

```rhai
aws::using(#{ region: \"eu-west-1\" }, || aws::region()) //=> \"eu-west-1\"
```",
    &[
        Param::new("options", Ty::Keys(USING_KEYS), "`region`, `profile`, `role_arn`"),
        Param::new("body", Ty::Any, "a closure without parameters"),
    ],
    "what the closure returns",
    &[Kind::Invalid],
);

static EXPECT: Binding = session(
    "aws::expect",
    Effect::Read,
    "Refuses to go on in another account than this, and answers who and where one is.

```rhai
aws::expect(#{ account: \"\" }).region
```",
    &[Param::new("options", Ty::Keys(EXPECT_KEYS), "`account`: twelve digits as text; empty: any")],
    "#{ account, arn, partition, region, user_id }",
    &[Kind::Refused, Kind::Expired],
);

static IDENTITY: Binding = session(
    "aws::identity",
    Effect::Read,
    "Who is signed in, and where.",
    &[],
    "#{ account, arn, partition, region, user_id }",
    &[Kind::Expired],
);

static REGION: Binding = session(
    "aws::region",
    Effect::Pure,
    "The region that calls go to.",
    &[],
    "text such as \"us-west-2\"",
    &[Kind::Invalid],
);

static PARTITION: Binding = session(
    "aws::partition",
    Effect::Pure,
    "The partition of the region: `aws`, `aws-cn` or `aws-us-gov`.",
    &[],
    "text",
    &[Kind::Invalid],
);

static ARN: Binding = session(
    "aws::arn",
    Effect::Read,
    "Builds an ARN of the current partition; account and region are filled in where they are not given.

```rhai
aws::arn(#{ service: \"iam\", region: \"\", account: \"aws\", resource: \"policy/AmazonEKSClusterPolicy\" })
```",
    &[Param::new(
        "parts",
        Ty::Keys(ARN_KEYS),
        "`service`, `resource`, `region` (\"\" for none), `account` (\"\" for none)",
    )],
    "text",
    &[Kind::Invalid],
);

static DEFAULT_TAGS: Binding = session(
    "aws::default_tags",
    Effect::Pure,
    "Adds tags that every create of this run gets, and answers all that are in force.

```rhai
aws::default_tags(#{ owner: \"core\" }).owner //=> \"core\"
```",
    &[Param::new("tags", Ty::Map, "tag → text; an empty map only asks")],
    "a map",
    &[Kind::Invalid],
);

static SETTINGS: Binding = session(
    "aws::settings",
    Effect::Pure,
    "What the project's `ekskit.yaml` says; `()` for what it does not.",
    &[],
    "#{ accounts, default_tags, permissions_boundary, region, role_path }",
    &[],
);

static OPERATION_EXISTS: Binding = session(
    "aws::operation_exists",
    Effect::Pure,
    "Whether this build has an AWS operation.

```rhai
aws::operation_exists(\"eks::create_cluster\") //=> true
```",
    &[Param::new("name", Ty::Text, "such as \"eks::create_cluster\"")],
    "boolean",
    &[],
);
