//! Who a request counts as: its caller, or whom the caller impersonates.

use http::Method;
use serde_json::json;

use super::authorize::{self, Wish};
use super::request::Ask;
use super::store::Store;
use super::{Caller, Problem, status};
use crate::twin::physics::access::{self, Identity};
use crate::twin::world::World;

/// The user of requests that bring no credentials.
pub const ANONYMOUS: &str = "system:anonymous";

/// Nobody in particular, as the API server names it.
pub fn anonymous() -> Identity {
    let groups = vec!["system:unauthenticated".to_owned()];
    Identity { username: ANONYMOUS.to_owned(), groups, policies: Vec::new() }
}

/// Who asks; refused where the cluster does not know the caller, or the caller may not be whom it wants to be.
pub fn identify(
    world: &World,
    store: &Store,
    cluster: &str,
    caller: Caller<'_>,
    ask: &Ask<'_>,
) -> Result<Identity, Problem> {
    let who = match caller {
        Caller::Arn(arn) => access::identity(world, cluster, arn).ok_or_else(status::unauthorized)?,
        Caller::User(user) => user.clone(),
        Caller::Unknown => return Err(status::unauthorized()),
    };
    Ok(impersonated(store, &who, ask)?.unwrap_or(who))
}

/// Texts as Go writes its slice.
fn texts_in_go(texts: &[String]) -> String {
    match texts {
        [] => "[]string(nil)".to_owned(),
        texts => format!("[]string{{{}}}", texts.iter().map(|text| format!("{text:?}")).collect::<Vec<_>>().join(", ")),
    }
}

/// The user of `Impersonate-User` and its companions, where the request has them.
fn impersonated(store: &Store, who: &Identity, ask: &Ask<'_>) -> Result<Option<Identity>, Problem> {
    let user = ask.header("impersonate-user").next().unwrap_or_default();
    let groups: Vec<String> = ask.header("impersonate-group").map(str::to_owned).collect();
    if user.is_empty() {
        let uid = ask.header("impersonate-uid").next().unwrap_or_default();
        return match groups.is_empty() && uid.is_empty() {
            true => Ok(None),
            false => Err(status::bad_request(format!(
                "requested &user.DefaultInfo{{Name:\"\", UID:{uid:?}, Groups:{}, Extra:map[string][]string(nil)}} without \
                 impersonating a user name",
                texts_in_go(&groups)
            ))),
        };
    }
    let account = user.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
    match account {
        Some((namespace, name)) => may_be(store, who, "serviceaccounts", namespace, name)?,
        None => may_be(store, who, "users", "", user)?,
    }
    for group in &groups {
        may_be(store, who, "groups", "", group)?;
    }
    let mut of = groups;
    if let (Some((namespace, _)), true) = (account, of.is_empty()) {
        of = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
    }
    let base = if user == ANONYMOUS { "system:unauthenticated" } else { "system:authenticated" };
    if !of.iter().any(|group| group == base) {
        of.push(base.to_owned());
    }
    Ok(Some(Identity { username: user.to_owned(), groups: of, policies: Vec::new() }))
}

fn may_be(store: &Store, who: &Identity, plural: &str, namespace: &str, name: &str) -> Result<(), Problem> {
    let wish = Wish { verb: "impersonate", group: "", plural, subresource: "", namespace, name };
    if authorize::allows(store, who, &wish) {
        return Ok(());
    }
    let why = authorize::refusal(who, &wish);
    Err(Problem {
        code: 403,
        reason: "Forbidden",
        message: format!("{plural} \"{name}\" is forbidden: {why}"),
        details: json!({ "name": name, "kind": plural }),
    })
}

/// Refuses paths beside objects to those who may not ask for them.
pub fn may_get_path(store: &Store, who: &Identity, ask: &Ask<'_>) -> Result<(), Problem> {
    const PUBLIC: &[&str] = &["healthz", "livez", "readyz", "version"];
    const OPEN: &[&str] = &["api", "apis", "openapi"];
    let is_among = |paths: &[&str]| ask.path.first().is_some_and(|first| paths.contains(&first.as_str()));
    let is_open = is_among(PUBLIC) || who.username != ANONYMOUS && is_among(OPEN);
    let (path, verb) = (format!("/{}", ask.path.join("/")), ask.method.as_str().to_ascii_lowercase());
    let may = ask.method == Method::GET && is_open
        || !who.policies.is_empty()
        || authorize::reads_path(store, who, &path, &verb);
    if may {
        return Ok(());
    }
    let message = format!("forbidden: User \"{}\" cannot {verb} path \"{path}\"", who.username);
    Err(Problem { code: 403, reason: "Forbidden", message, details: json!({}) })
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde_json::{Value, json};

    use super::*;
    use crate::twin::kube::wire::{MAPS, Wire};
    use crate::twin::kube::{Answer, answer};

    fn get(wire: &mut Wire, who: &Identity, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
        let mut request = Request::get(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        let answer = answer(&mut wire.world, "prod", Caller::User(who), &parts, b"");
        let code = answer.status().as_u16();
        let Answer::Whole(bytes) = answer.into_body() else { panic!("{path} is a watch") };
        (code, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    #[test]
    fn an_admin_may_be_anybody_and_is_refused_what_they_are() {
        let mut wire = Wire::new();
        let of = |name: &str, group: &str| Identity {
            username: name.to_owned(),
            groups: vec![group.to_owned()],
            policies: Vec::new(),
        };
        let (admin, dev) = (of("admin", "system:masters"), of("dev", "team"));
        assert_eq!(get(&mut wire, &admin, MAPS, &[]).0, 200);
        let (code, problem) = get(&mut wire, &admin, MAPS, &[("impersonate-user", "dev")]);
        assert_eq!(code, 403);
        assert_eq!(
            problem["message"],
            "configmaps is forbidden: User \"dev\" cannot list resource \"configmaps\" in API group \"\" in the namespace \"default\""
        );
        let as_admins = [("impersonate-user", "dev"), ("impersonate-group", "system:masters")];
        assert_eq!(get(&mut wire, &admin, MAPS, &as_admins).0, 200);
        let (code, problem) = get(&mut wire, &dev, MAPS, &[("impersonate-user", "admin")]);
        assert_eq!((code, &problem["details"]), (403, &json!({ "name": "admin", "kind": "users" })));
    }

    #[test]
    fn who_brings_no_credentials_sees_health_and_version_only() {
        let mut wire = Wire::new();
        let nobody = anonymous();
        assert_eq!(get(&mut wire, &nobody, "/version", &[]).0, 200);
        let (code, problem) = get(&mut wire, &nobody, "/api", &[]);
        assert_eq!(
            (code, problem["message"].as_str()),
            (403, Some("forbidden: User \"system:anonymous\" cannot get path \"/api\""))
        );
        assert_eq!(get(&mut wire, &nobody, MAPS, &[]).0, 403);
    }
}
