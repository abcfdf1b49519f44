//! Kubeconfig files as clients read them: which files, which context, and how its server is reached.

use std::path::{Path, PathBuf};

use http::Uri;
use kube::Config;
use kube::config::{Cluster, Context, ExecAuthCluster, Kubeconfig, KubeconfigError};

use super::proxy::{self, Proxies};
use crate::error::{Error, Result, did_you_mean, list_and};

/// The files that are read: the given one, those of `KUBECONFIG`, or `~/.kube/config`.
pub fn files(given: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = given {
        return vec![path.to_owned()];
    }
    let listed = std::env::var_os("KUBECONFIG").unwrap_or_default();
    let listed: Vec<PathBuf> = std::env::split_paths(&listed).filter(|path| !path.as_os_str().is_empty()).collect();
    if listed.is_empty() {
        std::env::home_dir().map(|home| home.join(".kube").join("config")).into_iter().collect()
    } else {
        listed
    }
}

/// The name of the context that is used: the given one, else the current one of the files.
pub fn context_name(path: Option<&Path>, context: Option<&str>) -> Result<String> {
    let file = File::read(path)?;
    file.context(context).map(|(name, _)| name.to_owned())
}

/// A kubeconfig and where it came from.
struct File {
    config: Kubeconfig,
    /// In messages.
    place: String,
}

impl File {
    fn read(given: Option<&Path>) -> Result<File> {
        let files = files(given);
        let place = files.iter().map(|file| format!("`{}`", file.display())).collect::<Vec<_>>().join(", ");
        // Like kubectl: files of a list that do not exist are skipped.
        let existing: Vec<&PathBuf> = files.iter().filter(|file| given.is_some() || file.exists()).collect();
        if existing.is_empty() {
            return Err(Error::invalid("there is no kubeconfig")
                .note(if place.is_empty() {
                    "no home folder is known".to_owned()
                } else {
                    format!("looked for {place}")
                })
                .hint("write one with `ekskit kubeconfig NAME`, or name a file with `--kubeconfig`"));
        }
        let mut config = Kubeconfig::default();
        for file in existing {
            let next = Kubeconfig::read_from(file).map_err(|error| unreadable(file, &error))?;
            config = config.merge(next).map_err(|error| unreadable(file, &error))?;
        }
        Ok(File { config, place })
    }

    fn context(&self, wanted: Option<&str>) -> Result<(&str, &Context)> {
        let names: Vec<&str> = self.config.contexts.iter().map(|context| context.name.as_str()).collect();
        let exist = || match names.len() {
            0 => "it has no contexts".to_owned(),
            1..=10 => format!("it has {}", list_and(&names)),
            more => format!("it has {} and {} more", list_and(&names[..9]), more - 9),
        };
        let Some(name) = wanted.or(self.config.current_context.as_deref()).filter(|name| !name.is_empty()) else {
            return Err(Error::invalid(format!("kubeconfig {} has no current context", self.place))
                .note(exist())
                .hint("choose one with `--context`"));
        };
        let found = self.config.contexts.iter().find(|context| context.name == name);
        match found.and_then(|found| Some((found.name.as_str(), found.context.as_ref()?))) {
            Some(found) => Ok(found),
            None => Err(Error::invalid(format!("context `{name}` does not exist in kubeconfig {}", self.place))
                .note(exist())
                .maybe_hint(did_you_mean(name, names.iter().copied()))),
        }
    }

    fn cluster(&self, context_name: &str, context: &Context) -> Result<&Cluster> {
        let named = self.config.clusters.iter().find(|cluster| cluster.name == context.cluster);
        named.and_then(|named| named.cluster.as_ref()).ok_or_else(|| {
            Error::invalid(format!(
                "context `{context_name}` names cluster `{}`, which kubeconfig {} does not have",
                context.cluster, self.place
            ))
        })
    }
}

fn unreadable(file: &Path, error: &KubeconfigError) -> Error {
    let shown = file.display();
    match error {
        KubeconfigError::ReadConfig(source, _) if source.kind() == std::io::ErrorKind::NotFound => {
            Error::invalid(format!("kubeconfig `{shown}` does not exist"))
                .hint("write one with `ekskit kubeconfig NAME`, or name another file with `--kubeconfig`")
        }
        KubeconfigError::ReadConfig(source, _) => {
            Error::invalid(format!("kubeconfig `{shown}` can not be read: {source}"))
        }
        KubeconfigError::Parse(source) => {
            let text = source.to_string();
            Error::invalid(format!("kubeconfig `{shown}` is not valid YAML of its form"))
                .note(text.lines().next().unwrap_or_default().to_owned())
        }
        other => Error::invalid(format!("kubeconfig `{shown}` can not be used: {other}")),
    }
}

/// How the server of a context is reached.
pub(super) fn load(path: Option<&Path>, context: Option<&str>, proxies: &Proxies) -> Result<Config> {
    let file = File::read(path)?;
    let (name, context) = file.context(context)?;
    let cluster = file.cluster(name, context)?;
    let wrong = |what: String| Error::invalid(format!("context `{name}` of kubeconfig {}: {what}", file.place));
    let server = cluster.server.as_deref().unwrap_or_default();
    let url: Uri = server.parse().map_err(|_| wrong(format!("`{server}` is not the URL of a server")))?;
    if url.host().is_none() || url.scheme().is_none() {
        return Err(wrong(format!("`{server}` is not the URL of a server")));
    }
    let whole = ExecAuthCluster::try_from(cluster).map_err(|error| wrong(error.to_string()))?;
    let mut config = Config::new(url.clone());
    if let Some(pem) = &whole.certificate_authority_data {
        config.root_cert = Some(super::kube::certificates(pem).map_err(|error| wrong(error.to_string()))?);
    }
    config.default_namespace =
        context.namespace.clone().filter(|name| !name.is_empty()).unwrap_or("default".to_owned());
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify.unwrap_or(false);
    config.tls_server_name = cluster.tls_server_name.clone().filter(|name| !name.is_empty());
    config.proxy_url = match cluster.proxy_url.as_deref().filter(|proxy| !proxy.is_empty()) {
        // What the file says of this very cluster is stronger than the environment, `NO_PROXY` included.
        Some(proxy) => Some(proxy::parse(proxy, "proxy-url")?),
        None => proxies.for_server(&url)?,
    };
    let user = context.user.as_deref().unwrap_or_default();
    let named = file.config.auth_infos.iter().find(|named| named.name == user);
    config.auth_info = named.and_then(|named| named.auth_info.clone()).unwrap_or_default();
    if let Some(exec) = config.auth_info.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
        exec.cluster = Some(whole);
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &str) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    const TWO: &str = "
apiVersion: v1
kind: Config
clusters:
- name: a
  cluster: { server: 'https://a.example:6443', proxy-url: 'http://p.example:3128', tls-server-name: kube }
contexts:
- name: dev
  context: { cluster: a, user: ana, namespace: team }
- name: lost
  context: { cluster: gone, user: ana }
users:
- name: ana
  user: { token: abc }
";

    #[test]
    fn what_the_file_says_of_a_cluster_is_stronger_than_the_environment() {
        let (_folder, path) = written(TWO);
        let everything = Proxies::from_environment(|name| match name {
            "NO_PROXY" => Some("*".to_owned()),
            _ => None,
        });
        let config = load(Some(&path), Some("dev"), &everything).unwrap();
        assert_eq!(config.proxy_url.unwrap().to_string(), "http://p.example:3128/");
        assert_eq!(config.tls_server_name.as_deref(), Some("kube"));
        assert_eq!(config.default_namespace, "team");
    }

    #[test]
    fn mistakes_say_what_exists() {
        let (_folder, path) = written(TWO);
        let place = path.display();
        let error = load(Some(&path), Some("dve"), &Proxies::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("context `dve` does not exist in kubeconfig `{place}`"));
        assert_eq!(error.facts().notes, ["it has `dev` and `lost`"]);
        assert_eq!(error.facts().hint.as_deref(), Some("did you mean `dev`?"));
        let error = load(Some(&path), None, &Proxies::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("kubeconfig `{place}` has no current context"));
        let error = load(Some(&path), Some("lost"), &Proxies::default()).unwrap_err();
        assert!(error.to_string().contains("names cluster `gone`"), "{error}");
        let (_folder, path) = written("clusters: [\n");
        let error = load(Some(&path), None, &Proxies::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("kubeconfig `{}` is not valid YAML of its form", path.display()));
        let error = load(Some(Path::new("/nowhere/config")), None, &Proxies::default()).unwrap_err();
        assert_eq!(error.to_string(), "kubeconfig `/nowhere/config` does not exist");
    }
}
