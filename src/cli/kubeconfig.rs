//! `ekskit kubeconfig NAME`: writes an EKS cluster into the kubeconfig file, with `ekskit token` to log in.
//!
//! Names and layout are those of the AWS CLI, so that both tools converge on one entry. Whatever else the file holds
//! stays as it is; only comments get lost, as with every tool that edits these files. The file is replaced in one go:
//! a reader sees the old or the new one, and a broken file is refused untouched.

use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Value as Json, json};
use serde_yaml::{Mapping, Value};

use super::{TargetFlags, start};
use crate::cloud::{Cloud, Endpoint, Target, kube, live, retry};
use crate::error::{Error, Result};
use crate::file::{self, Readers};
use crate::project::Project;
use crate::ui::{self, Format};

/// Flags of `kubeconfig`.
#[derive(Args, Clone, Debug, Default)]
pub struct Flags {
    /// Name of the EKS cluster
    #[arg(value_name = "NAME")]
    pub name: String,
    /// The file; default: the first of KUBECONFIG, else ~/.kube/config
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Name of the context; default: the cluster's ARN
    #[arg(long, value_name = "NAME")]
    pub alias: Option<String>,
    /// Prints the file instead of writing it
    #[arg(long)]
    pub dry_run: bool,
    #[command(flatten)]
    target: TargetFlags,
}

/// Runs the command.
pub fn main(flags: &Flags, format: Format) -> Result<()> {
    let folder = std::env::current_dir().map_err(|error| Error::failed(format!("no working folder: {error}")))?;
    let project = Project::of(&folder)?;
    let runtime = start::runtime()?;
    let cloud = start::live_cloud(project.settings.region.clone());
    let entry = runtime.block_on(entry(&cloud, &flags.target.target(), &flags.name, flags.alias.as_deref()))?;
    let path = match &flags.kubeconfig {
        Some(path) => path.clone(),
        None => live::kubeconfig::files(None)
            .into_iter()
            .next()
            .ok_or_else(|| Error::usage("no home folder is known").hint("name the file with `--kubeconfig`"))?,
    };
    let merged = merge(&path, &entry)?;
    if flags.dry_run {
        ui::result(&merged.text);
        return Ok(());
    }
    if merged.changed {
        write(&path, &merged.text)?;
    }
    match format {
        Format::Json => ui::document(&json!({
            "context": entry.context, "kubeconfig": path.display().to_string(), "changed": merged.changed,
            "rewritten": merged.rewritten,
        })),
        Format::Text => ui::result(&told(&entry, &path, &merged)),
    }
    Ok(())
}

fn told(entry: &Entry, path: &Path, merged: &Merged) -> String {
    let mut text = match merged.changed {
        true => format!("wrote context `{}` to `{}`", entry.context, path.display()),
        false => format!("`{}` already has context `{}`", path.display(), entry.context),
    };
    for user in &merged.rewritten {
        text.push_str(&format!("\nuser `{user}` logged in by the dead v1alpha1 protocol; it now uses `ekskit token`"));
    }
    text
}

/// What is written about one cluster.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Name of the cluster and user entries: the cluster's ARN.
    pub arn: String,
    /// Name of the context.
    pub context: String,
    /// The EKS name.
    pub cluster: String,
    /// The region.
    pub region: String,
    /// The endpoint.
    pub url: String,
    /// The certificate authority.
    pub ca_pem: Vec<u8>,
    /// Whose credentials log in.
    pub target: Target,
}

/// What EKS says of a cluster, as an entry.
pub async fn entry(cloud: &Cloud, target: &Target, name: &str, alias: Option<&str>) -> Result<Entry> {
    let region = cloud.aws.region(target).await?;
    let Endpoint::Cluster { url, ca_pem, .. } = kube::endpoint(cloud, target, name).await? else {
        return Err(Error::bug("an EKS cluster was found by a kubeconfig"));
    };
    let describe = aws_dynamic::operation("eks", "describe_cluster")
        .ok_or_else(|| Error::bug("`eks::describe_cluster` is not compiled in"))?;
    let answer = retry::send(cloud, target, describe, &json!({ "name": name }), &retry::quietly()).await?;
    let arn = answer["cluster"]["arn"].as_str().unwrap_or(name).to_owned();
    let context = alias.unwrap_or(&arn).to_owned();
    Ok(Entry { arn, context, cluster: name.to_owned(), region, url, ca_pem, target: target.clone() })
}

impl Entry {
    fn exec(&self) -> Json {
        let mut arguments = vec!["token", "--cluster", &self.cluster, "--region", &self.region];
        if let Some(role) = &self.target.role_arn {
            arguments.extend(["--role-arn", role]);
        }
        // v1beta1 is what every client of the last years speaks; it says what v1 insists on as well.
        let mut exec = json!({
            "apiVersion": "client.authentication.k8s.io/v1beta1",
            "command": "ekskit",
            "args": arguments,
            "interactiveMode": "Never",
            "provideClusterInfo": false,
            "installHint": "ekskit mints the token: put it on the PATH",
        });
        if let Some(profile) = &self.target.profile {
            exec["env"] = json!([{ "name": "AWS_PROFILE", "value": profile }]);
        }
        exec
    }
}

/// The file as it is to be.
#[derive(Debug)]
pub struct Merged {
    /// Its text.
    pub text: String,
    /// Whether it differs from what is there.
    pub changed: bool,
    /// Users whose dead exec entries were replaced.
    pub rewritten: Vec<String>,
}

/// The file with this entry merged in; nothing is written.
pub fn merge(path: &Path, entry: &Entry) -> Result<Merged> {
    let (mut file, existed) = read(path)?;
    let before = file.clone();
    default(&mut file, "apiVersion", "v1");
    default(&mut file, "kind", "Config");
    let cluster = upsert(&mut file, "clusters", &entry.arn, "cluster", path)?;
    set(cluster, "server", json!(entry.url))?;
    set(cluster, "certificate-authority-data", json!(STANDARD.encode(&entry.ca_pem)))?;
    // Other ways to trust contradict the one just written.
    remove(cluster, &["certificate-authority", "insecure-skip-tls-verify"]);
    let user = upsert(&mut file, "users", &entry.arn, "user", path)?;
    log_in(user, entry.exec())?;
    let context = upsert(&mut file, "contexts", &entry.context, "context", path)?;
    set(context, "cluster", json!(entry.arn))?;
    set(context, "user", json!(entry.arn))?;
    file.insert("current-context".into(), entry.context.as_str().into());
    let rewritten = revive(&mut file, entry)?;
    Ok(Merged { text: to_text(&file)?, changed: !existed || file != before, rewritten })
}

/// The text of the file with everything of another kubeconfig in it; of the same name the other's counts.
pub fn with(path: &Path, other: &Json) -> Result<String> {
    let (mut file, _) = read(path)?;
    default(&mut file, "apiVersion", "v1");
    default(&mut file, "kind", "Config");
    for (list, inner) in [("clusters", "cluster"), ("users", "user"), ("contexts", "context")] {
        for item in other[list].as_array().into_iter().flatten() {
            let entry = upsert(&mut file, list, item["name"].as_str().unwrap_or_default(), inner, path)?;
            if let Value::Mapping(given) = to_yaml(item[inner].clone())? {
                *entry = given;
            }
        }
    }
    file.insert("current-context".into(), to_yaml(other["current-context"].clone())?);
    to_text(&file)
}

/// A kubeconfig as a file holds it.
pub fn to_text(config: &impl serde::Serialize) -> Result<String> {
    serde_yaml::to_string(config).map_err(|error| Error::bug(format!("a kubeconfig can not be written: {error}")))
}

fn broken(path: &Path, what: String) -> Error {
    Error::invalid(format!("kubeconfig `{}` is broken, and was left as it is", path.display()))
        .note(what)
        .hint("repair it, or write another file with `--kubeconfig`")
}

/// Ways to log in that would win over, or fight with, an exec plugin.
const OTHER_LOGINS: &[&str] = &[
    "token",
    "tokenFile",
    "username",
    "password",
    "client-certificate",
    "client-certificate-data",
    "client-key",
    "client-key-data",
    "auth-provider",
];

fn log_in(user: &mut Mapping, exec: Json) -> Result<()> {
    remove(user, OTHER_LOGINS);
    set(user, "exec", exec)
}

/// Replaces exec entries of the dead v1alpha1 protocol that log in to the same cluster under other names.
fn revive(file: &mut Mapping, entry: &Entry) -> Result<Vec<String>> {
    let same: Vec<String> = named(file, "clusters")
        .filter(|item| item["cluster"]["server"].as_str().is_some_and(|server| is_same_server(server, &entry.url)))
        .filter_map(|item| item["name"].as_str().map(str::to_owned))
        .collect();
    let users: Vec<String> = named(file, "contexts")
        .filter(|item| {
            item["context"]["cluster"].as_str().is_some_and(|cluster| same.iter().any(|name| name == cluster))
        })
        .filter_map(|item| item["context"]["user"].as_str().map(str::to_owned))
        .collect();
    let mut rewritten = Vec::new();
    let list = file.get_mut("users").and_then(Value::as_sequence_mut);
    for item in list.into_iter().flatten() {
        let name = item["name"].as_str().unwrap_or_default().to_owned();
        let Some(exec) = item.get_mut("user").and_then(|user| user.get_mut("exec")).and_then(Value::as_mapping_mut)
        else {
            continue;
        };
        let is_dead = exec.get("apiVersion").and_then(Value::as_str) == Some("client.authentication.k8s.io/v1alpha1");
        if is_dead && (users.contains(&name) || names_cluster(exec, entry)) {
            replace_exec(exec, entry)?;
            rewritten.push(name);
        }
    }
    Ok(rewritten)
}

fn is_same_server(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

fn arguments(exec: &Mapping) -> Vec<&str> {
    exec.get("args").and_then(Value::as_sequence).into_iter().flatten().filter_map(Value::as_str).collect()
}

/// The value behind one of these flags.
fn flag<'a>(arguments: &[&'a str], names: &[&str]) -> Option<&'a str> {
    arguments.windows(2).find(|pair| names.contains(&pair[0])).map(|pair| pair[1])
}

/// Whether `aws eks get-token`, `aws-iam-authenticator token` or our own plugin is asked for this cluster.
fn names_cluster(exec: &Mapping, entry: &Entry) -> bool {
    let arguments = arguments(exec);
    flag(&arguments, &["--cluster-name", "--cluster-id", "-i", "--cluster"]) == Some(entry.cluster.as_str())
        && flag(&arguments, &["--region"]).is_none_or(|region| region == entry.region)
}

/// Our exec entry with the role and the environment of the old one.
fn replace_exec(exec: &mut Mapping, entry: &Entry) -> Result<()> {
    let arguments = arguments(exec);
    let role = flag(&arguments, &["--role-arn", "--role", "-r"]).map(str::to_owned);
    let target = Target { role_arn: role, profile: None, region: None };
    let environment = exec.get("env").cloned();
    let mut fresh = to_yaml(Entry { target, ..entry.clone() }.exec())?;
    if let (Some(environment), Some(fresh)) = (environment, fresh.as_mapping_mut()) {
        fresh.insert("env".into(), environment);
    }
    if let Value::Mapping(fresh) = fresh {
        *exec = fresh;
    }
    Ok(())
}

fn read(path: &Path) -> Result<(Mapping, bool)> {
    let shown = path.display();
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Mapping::new(), false)),
        Err(error) => return Err(Error::invalid(format!("kubeconfig `{shown}` can not be read: {error}"))),
    };
    match serde_yaml::from_str(&text).map_err(|error| broken(path, error.to_string()))? {
        Value::Mapping(file) => Ok((file, true)),
        Value::Null => Ok((Mapping::new(), true)),
        _ => Err(broken(path, "it is no map".to_owned())),
    }
}

fn default(file: &mut Mapping, key: &str, value: &str) {
    if file.get(key).is_none_or(Value::is_null) {
        file.insert(key.into(), value.into());
    }
}

fn named<'a>(file: &'a Mapping, list: &str) -> impl Iterator<Item = &'a Value> {
    file.get(list).and_then(Value::as_sequence).into_iter().flatten()
}

/// The inner map of the item of this name in a list of the file, made where it is absent.
fn upsert<'a>(file: &'a mut Mapping, list: &str, name: &str, inner: &str, path: &Path) -> Result<&'a mut Mapping> {
    let wrong = |what: &str| broken(path, format!("`{list}` {what}"));
    let items = file.entry(list.into()).or_insert(Value::Null);
    if items.is_null() {
        *items = Value::Sequence(Vec::new());
    }
    let items = items.as_sequence_mut().ok_or_else(|| wrong("is no list"))?;
    let index = match items.iter().position(|item| item["name"] == name) {
        Some(index) => index,
        None => {
            items.push(Value::Mapping(Mapping::from_iter([("name".into(), name.into())])));
            items.len() - 1
        }
    };
    let item = items[index].as_mapping_mut().ok_or_else(|| wrong("holds what is no map"))?;
    let inside = item.entry(inner.into()).or_insert(Value::Null);
    if inside.is_null() {
        *inside = Value::Mapping(Mapping::new());
    }
    inside.as_mapping_mut().ok_or_else(|| wrong("holds an entry that is no map"))
}

fn to_yaml(value: Json) -> Result<Value> {
    serde_yaml::to_value(value).map_err(|error| Error::bug(format!("a kubeconfig entry can not be written: {error}")))
}

fn set(map: &mut Mapping, key: &str, value: Json) -> Result<()> {
    map.insert(key.into(), to_yaml(value)?);
    Ok(())
}

fn remove(map: &mut Mapping, keys: &[&str]) {
    for key in keys {
        map.remove(*key);
    }
}

/// Replaces the file in one go, readable by its owner only. A link is followed: it is the file behind it that is
/// replaced, so that dotfiles kept elsewhere stay linked.
pub fn write(path: &Path, text: &str) -> Result<()> {
    let shown = path.display();
    let failed = |error: std::io::Error| Error::failed(format!("kubeconfig `{shown}` can not be written: {error}"));
    let behind = file::behind_links(path).map_err(failed)?;
    if let Some(folder) = behind.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    file::write_whole(&behind, text, Readers::Owner).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        Entry {
            arn: "arn:aws:eks:us-west-2:123456789012:cluster/prod".to_owned(),
            context: "prod".to_owned(),
            cluster: "prod".to_owned(),
            region: "us-west-2".to_owned(),
            url: "https://ABC.gr7.us-west-2.eks.amazonaws.com".to_owned(),
            ca_pem: b"PEM".to_vec(),
            target: Target { profile: Some("admin".to_owned()), ..Target::default() },
        }
    }

    fn merged(text: &str) -> (tempfile::TempDir, PathBuf, Merged) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, text).unwrap();
        let merged = merge(&path, &entry()).unwrap();
        (folder, path, merged)
    }

    fn yaml(text: &str) -> Value {
        serde_yaml::from_str(text).unwrap()
    }

    #[test]
    fn a_new_file_is_what_kubectl_reads_and_a_second_run_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub").join("config");
        let first = merge(&path, &entry()).unwrap();
        assert!(first.changed);
        write(&path, &first.text).unwrap();
        assert!(!merge(&path, &entry()).unwrap().changed);
        let file = yaml(&std::fs::read_to_string(&path).unwrap());
        assert_eq!(file["current-context"], "prod");
        assert_eq!(file["contexts"][0]["context"]["cluster"], entry().arn.as_str());
        assert_eq!(file["clusters"][0]["cluster"]["certificate-authority-data"], "UEVN");
        let exec = &file["users"][0]["user"]["exec"];
        assert_eq!(exec["command"], "ekskit");
        assert_eq!(exec["interactiveMode"], "Never");
        assert_eq!(exec["env"][0]["value"], "admin");
        let arguments: Vec<&str> = exec["args"].as_sequence().unwrap().iter().filter_map(Value::as_str).collect();
        assert_eq!(arguments, ["token", "--cluster", "prod", "--region", "us-west-2"]);
        // What we read ourselves is what we wrote.
        assert_eq!(live::kubeconfig::context_name(Some(&path), None).unwrap(), "prod");
    }

    #[test]
    fn everything_else_in_the_file_stays() {
        let (_folder, _path, merged) = merged(
            "apiVersion: v1\nkind: Config\npreferences: {colors: true}\nx-own: [1]\ncurrent-context: other\n\
             clusters:\n- name: other\n  cluster: {server: 'https://o', proxy-url: 'http://p'}\n\
             - name: arn:aws:eks:us-west-2:123456789012:cluster/prod\n  cluster: {server: 'https://old', proxy-url: 'http://p', insecure-skip-tls-verify: true}\n\
             contexts:\n- name: prod\n  context: {cluster: x, user: y, namespace: team}\n\
             users:\n- name: arn:aws:eks:us-west-2:123456789012:cluster/prod\n  user: {token: abc, as: admin}\n",
        );
        let file = yaml(&merged.text);
        assert_eq!(file["x-own"][0], 1);
        assert_eq!(file["preferences"]["colors"], true);
        assert_eq!(file["clusters"][0]["cluster"]["proxy-url"], "http://p");
        let cluster = &file["clusters"][1]["cluster"];
        assert_eq!(
            (cluster["server"].as_str(), cluster["proxy-url"].as_str()),
            (Some(entry().url.as_str()), Some("http://p"))
        );
        assert!(cluster.get("insecure-skip-tls-verify").is_none());
        assert_eq!(file["contexts"][0]["context"]["namespace"], "team");
        let user = &file["users"][0]["user"];
        assert!(user.get("token").is_none());
        assert_eq!(user["as"], "admin");
    }

    #[test]
    fn dead_logins_of_the_same_cluster_are_replaced_and_others_left() {
        let exec = |cluster: &str| {
            format!(
                "{{apiVersion: client.authentication.k8s.io/v1alpha1, command: aws, args: [eks, get-token, --cluster-name, {cluster}, --role-arn, 'arn:aws:iam::1:role/r'], env: [{{name: AWS_PROFILE, value: p}}]}}"
            )
        };
        let (_folder, _path, merged) = merged(&format!(
            "clusters:\n- name: mine\n  cluster: {{server: 'https://abc.gr7.us-west-2.eks.amazonaws.com/'}}\n\
             contexts:\n- name: c\n  context: {{cluster: mine, user: by-server}}\n\
             users:\n- name: by-server\n  user: {{exec: {}}}\n- name: by-name\n  user: {{exec: {}}}\n- name: other\n  user: {{exec: {}}}\n",
            exec("alias"),
            exec("prod"),
            exec("dev"),
        ));
        assert_eq!(merged.rewritten, ["by-server", "by-name"]);
        let file = yaml(&merged.text);
        let exec = &file["users"][0]["user"]["exec"];
        assert_eq!(exec["apiVersion"], "client.authentication.k8s.io/v1beta1");
        assert_eq!(exec["args"][5], "--role-arn");
        assert_eq!(exec["args"][6], "arn:aws:iam::1:role/r");
        assert_eq!(exec["env"][0]["value"], "p");
        assert_eq!(file["users"][2]["user"]["exec"]["apiVersion"], "client.authentication.k8s.io/v1alpha1");
    }

    #[test]
    fn a_broken_file_is_left_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        for broken in ["clusters: [\n", "- a\n", "clusters: text\n", "users: [text]\nclusters: []\n"] {
            std::fs::write(&path, broken).unwrap();
            match merge(&path, &entry()) {
                Err(error) => assert_eq!(
                    error.to_string(),
                    format!("kubeconfig `{}` is broken, and was left as it is", path.display())
                ),
                // A stray text in a list is nobody's entry: it stays.
                Ok(merged) => assert!(merged.text.contains("- text"), "{}", merged.text),
            }
            assert_eq!(std::fs::read_to_string(&path).unwrap(), broken);
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_only_the_owner_reads() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("real"), folder.path().join("link"));
        std::fs::write(&real, "kind: Config\n").unwrap();
        std::fs::set_permissions(&real, std::fs::Permissions::from_mode(0o644)).unwrap();
        std::os::unix::fs::symlink("real", &link).unwrap();
        write(&link, "kind: Config\nx: 1\n").unwrap();
        assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(&real).unwrap(), "kind: Config\nx: 1\n");
        assert_eq!(std::fs::metadata(&real).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }
}
