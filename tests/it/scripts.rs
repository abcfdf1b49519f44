//! Scripts through the whole engine, against AWS answered by a function.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_dynamic::{CallError, Operation};
use ekskit::error::Kind;
use ekskit::event::Event;
use serde_json::{Value, json};

use crate::stage::{Stage, refusal};

/// Runs a script that fails and compares the whole rendered text.
fn shows(script: &str, expected: &str) {
    let seen = Stage::default().run(script);
    assert_eq!(seen.rendered().trim_end(), expected.trim(), "\n{}", seen.rendered());
    assert!(seen.calls.is_empty(), "something was sent: {:?}", seen.call_names());
}

#[test]
fn an_unknown_field_names_what_was_meant_and_what_is_missing() {
    shows(
        r#"eks::create_cluster(#{ nam: "x" })"#,
        r#"
error: unknown field `nam` for `eks::create_cluster`
  ┌─ test.rhai:1:6
1│ eks::create_cluster(#{ nam: "x" })
 │      ^^^^^^^^^^^^^^ invalid
note: missing `name`, `resources_vpc_config`, `role_arn`
note: fields are `access_config`, `bootstrap_self_managed_addons`, `client_request_token`, `compute_config`, `control_plane_scaling_config`, `deletion_protection`, `encryption_config`, `kube_api_server_config`, `kube_controller_manager_config`, `kube_scheduler_config`, `kubernetes_network_config`, `logging`, …
hint: did you mean `name`?"#,
    );
}

#[test]
fn mistakes_of_a_script_tell_what_to_do() {
    for (script, message, hint) in [
        ("let m = #{ status: 1 }; m.staus", "the map has no key `staus`", "write `.get(\"staus\")`"),
        ("#{ default: 1 }", "`default` is a reserved word", "reserved words such as"),
        ("eks::list_cluster()", "operation `eks::list_cluster` does not exist", "did you mean `list_clusters`?"),
        ("kube::get(\"pods\")", "`kube::get` takes 2 arguments and options, found 1 argument", ""),
        ("let limit = \"10m\"; eks::wait_until_cluster_active(\"a\", limit)", "", "write `#{ timeout: \"10m\" }`"),
        ("clock::sleep(10)", "`time` needs a unit", "write `\"10s\"` or `\"10m\"`"),
        (
            "sleep(1)",
            "`sleep` is not available: it would not follow the session's clock",
            "write `clock::sleep(\"10s\")`",
        ),
        ("let n = 5; n.name", "an integer has no property `name`", ""),
        ("let t = \"a\"; t[5]", "the text has 1 character, so there is none at index 5", ""),
        ("let n = 5; for c in n { c }", "a loop goes through a list or a range, found something else", "`.keys()`"),
        ("let a = 1; a ? 1 : 2", "`?` does not belong here", "write `if a { b } else { c }`"),
        ("let a = null;", "`null` is not a value here", "write `()` for nothing"),
        ("let a = nil;", "`nil` is not a value here", "write `()` for nothing"),
        ("let a = $b;", "`$` does not belong here", "by its name alone"),
        (
            "let f = |x| x; f.call()",
            "a closure is called with 0 arguments, and takes another number of them",
            "write `|| …`",
        ),
        ("let a = 1; parallel(a)", "`parallel` does not take these arguments", ""),
        ("let x = 1; let y = x + z;", "variable `z` does not exist", "a name is known from its `let` on"),
        ("import \"vcp\" as vpc;", "module `vcp` does not exist", "did you mean `vpc`?"),
        ("import \"../secrets\" as s;", "module `../secrets` does not exist", ""),
        ("vcp::ensure(1)", "module `vcp` is not imported", "write `import \"vcp\" as vcp;`"),
        ("ec2::describe_instances(#{ max_results: \"5\" })", "", ""),
        ("ec2::create_vpc(#{ cidrBlock: \"10.0.0.0/16\" })", "", "cidr_block"),
    ] {
        let seen = Stage::default().run(script);
        let error = seen.error();
        assert_eq!(error.kind(), Kind::Invalid, "{script}: {}", seen.rendered());
        assert!(message.is_empty() || error.to_string() == message, "{script}: {}", seen.rendered());
        let found = error.facts().hint.clone().unwrap_or_default();
        assert!(found.contains(hint), "{script}: {}", seen.rendered());
        assert!(error.facts().at.is_some(), "{script} has no place");
        assert!(seen.calls.is_empty());
    }
}

#[test]
fn a_thrown_map_is_told_as_it_is() {
    let seen = Stage::default().run("throw #{ kind: \"oops\", at: 5 }");
    assert_eq!(seen.error().to_string(), "the script threw {\"at\":5,\"kind\":\"oops\"}");
    let seen = Stage::default().run("throw #{ kind: \"not_found\", at: 5 }");
    assert_eq!(seen.error().kind(), Kind::NotFound);
    assert_eq!(seen.error().to_string(), "the script threw {\"at\":5,\"kind\":\"not_found\"}");
}

#[test]
fn a_mark_at_the_beginning_of_a_file_is_no_mistake() {
    assert_eq!(Stage::default().run("\u{feff}1 + 1").value(), 2);
}

#[test]
fn carets_stand_right_in_functions_without_blanks() {
    let seen = Stage::default().run("fn f(x){ x.nope } f(#{})");
    assert_eq!(seen.error().facts().at.as_ref().map(|at| (at.line, at.column)), Some((1, 12)), "{}", seen.rendered());
    let spaced = Stage::default().run("fn f(x) { x.nope } f(#{})");
    assert_eq!(
        spaced.error().facts().at.as_ref().map(|at| (at.line, at.column)),
        Some((1, 13)),
        "{}",
        spaced.rendered()
    );
}

#[test]
fn what_a_step_may_not_do_is_refused_before_anything_runs() {
    for (script, message) in [
        (
            "let a = 1; print(1); step \"x\" { a = 2; 3 }",
            "a step can not change `a`, which belongs to the script around it",
        ),
        (
            "let a = [1]; step \"x\" { a.push(2); 3 }",
            "a step can not change `a`, which belongs to the script around it",
        ),
        (
            "let a = 1; step \"x\" { let f = || a = 2; 3 }",
            "a step can not change `a`, which belongs to the script around it",
        ),
        ("fn f() { step \"x\" { return 1; } } f()", "`return` can not leave a step"),
        ("for i in 0..3 { step \"x\" { break; } }", "`break` can not leave a step"),
        ("for i in 0..3 { step \"x\" { continue; } }", "`continue` can not leave a step"),
        ("let a = 1; parallel([|| { a += 1; a }])", "a branch of `parallel` can not change `a`"),
        ("let a = 1; parallel(#{ x: || { a = 2; a } })", "a branch of `parallel` can not change `a`"),
        ("fn get(x) { x } print(1);", "function `get` with 1 parameter would replace the method `.get` everywhere"),
        ("import \"vpc\" as vpc; vpc::ensure(|| 1)", "a closure can not be handed to `vpc::ensure`"),
    ] {
        let seen = Stage::default().run(script);
        assert_eq!(seen.error().to_string(), message, "{script}");
        assert!(seen.error().facts().hint.is_some(), "{script} has no hint");
        let printed = seen.events.iter().any(|event| matches!(event, Event::Print { .. }));
        assert!(!printed, "{script} ran");
    }
    let other = "fn f(a) { a = 2; a } let a = 1; parallel([|| f(a)])[0] + step \"s\" { let g = || a; 1 }";
    assert_eq!(Stage::default().run(other).value(), &json!(3));
    let fine = "let out = 0; for i in 0..3 { let n = step `s${i}` { let b = 0; for j in 0..i { b += 1; if b > 9 { break; } } b }; out += n; } out";
    assert_eq!(Stage::default().run(fine).value(), &json!(3));
}

#[test]
fn a_step_hands_on_only_plain_data() {
    let seen = Stage::default().run("let f = step \"x\" { || 1 }; 1");
    assert_eq!(seen.error().to_string(), "only plain data can be handed on, found a closure");
}

#[test]
fn step_paths_carry_branch_and_occurrence() {
    let script = "step \"a\" { parallel(#{ x: || step \"b\" { 1 }, y: || step \"b\" { 2 } }) } step \"a\" { 1 }";
    let seen = Stage::default().run(script);
    let mut paths: Vec<&str> = seen
        .events
        .iter()
        .filter_map(|event| match event {
            Event::StepStarted { path } => Some(path.as_str()),
            _ => None,
        })
        .collect();
    paths.sort_unstable();
    assert_eq!(paths, ["a", "a #2", "a / [x] / b", "a / [y] / b"]);
}

#[test]
fn every_caught_error_has_a_kind() {
    for (script, kind) in [
        ("throw \"text\"", "failed"),
        ("1 / 0", "invalid"),
        ("let m = #{}; m.x", "invalid"),
        ("throw error::conflict(\"taken\")", "conflict"),
        ("eks::describe_cluster(\"x\")", "not_found"),
    ] {
        let seen = Stage::aws(|_, _| Err(refusal("ResourceNotFoundException", 404, "No cluster found for name: x.")))
            .run(&format!("let k = (); try {{ {script} }} catch (e) {{ k = e.kind; }} k"));
        assert_eq!(seen.value(), &json!(kind), "{script}");
    }
}

#[test]
fn an_aws_error_says_subject_state_and_place() {
    let seen = Stage::aws(|_, _| Err(refusal("ResourceNotFoundException", 404, "No cluster found for name: prdo.")))
        .run("eks::describe_cluster(\"prdo\")");
    assert_eq!(seen.error().to_string(), "`eks::describe_cluster` in us-west-2: no cluster found for name: prdo");
    let facts = seen.error().facts();
    assert_eq!((facts.service.as_deref(), facts.operation.as_deref()), (Some("eks"), Some("describe_cluster")));
    assert_eq!((facts.code.as_deref(), facts.status), (Some("ResourceNotFoundException"), Some(404)));
    let denied = Stage::aws(|_, _| Err(refusal("AccessDeniedException", 403, "User: x is not authorized.")))
        .run("eks::list_clusters()");
    assert_eq!(denied.error().kind(), Kind::Denied);
    assert!(denied.rendered().contains("eks:ListClusters"), "{}", denied.rendered());
}

#[test]
fn pages_are_merged_and_the_token_is_gone() {
    let seen = Stage::aws(|_, input| {
        Ok(match input["next_token"].as_str() {
            None => json!({ "clusters": ["a"], "next_token": "2" }),
            Some("2") => json!({ "clusters": ["b"], "next_token": "3" }),
            Some(_) => json!({ "clusters": ["c"], "next_token": null }),
        })
    })
    .run("eks::list_clusters()");
    assert_eq!(seen.value(), &json!({ "clusters": ["a", "b", "c"], "next_token": null }));
}

#[test]
fn a_throttled_read_is_sent_again() {
    let times = Arc::new(AtomicUsize::new(0));
    let count = times.clone();
    let seen = Stage::aws(move |_, _| match count.fetch_add(1, Ordering::Relaxed) {
        0..=2 => Err(refusal("ThrottlingException", 429, "Rate exceeded")),
        _ => Ok(json!({ "clusters": [], "next_token": null })),
    })
    .run("eks::list_clusters().clusters.len()");
    assert_eq!(seen.value(), &json!(0));
    assert_eq!(times.load(Ordering::Relaxed), 4);
    assert!(seen.seconds >= 1, "it did not pause");
}

#[test]
fn a_doubtful_create_is_looked_up_before_it_is_sent_again() {
    let creates = Arc::new(AtomicUsize::new(0));
    let count = creates.clone();
    let seen = Stage::aws(move |operation, input| match operation.name {
        "create_vpc" => {
            count.fetch_add(1, Ordering::Relaxed);
            assert!(input.to_string().contains("ekskit:request"), "{input}");
            Err(refusal("InternalError", 500, "An internal error has occurred"))
        }
        "describe_vpcs" => Ok(json!({ "vpcs": [{ "vpc_id": "vpc-1" }], "next_token": null })),
        other => panic!("{other}"),
    })
    .run("ec2::create_vpc(#{ cidr_block: \"10.0.0.0/16\" }).vpc.vpc_id");
    assert_eq!(seen.value(), &json!("vpc-1"));
    assert_eq!(creates.load(Ordering::Relaxed), 1, "it was sent twice");
}

#[test]
fn a_doubtful_mutation_without_a_way_to_look_is_not_sent_again() {
    let times = Arc::new(AtomicUsize::new(0));
    let count = times.clone();
    let seen = Stage::aws(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        Err(refusal("InternalError", 500, "An internal error has occurred"))
    })
    .run("iam::create_role(#{ role_name: \"r\", assume_role_policy_document: \"{}\" })");
    assert!(seen.error().facts().maybe_applied);
    assert_eq!(times.load(Ordering::Relaxed), 1);
    assert!(seen.rendered().contains("may have been applied"), "{}", seen.rendered());
}

#[test]
fn what_is_as_good_twice_as_once_is_sent_again() {
    let doubtful_once = |then: Result<Value, CallError>| {
        let times = AtomicUsize::new(0);
        move |_: &Operation, _: &Value| match times.fetch_add(1, Ordering::Relaxed) {
            0 => Err(refusal("InternalError", 500, "An internal error has occurred")),
            _ => then.clone(),
        }
    };
    let put = r#"iam::put_role_policy(#{ role_name: "r", policy_name: "p", policy_document: "{}" })"#;
    let seen = Stage::aws(doubtful_once(Ok(json!({})))).run(put);
    assert_eq!((seen.value(), seen.calls.len()), (&json!({}), 2));

    // What was ended is gone at the second look, which is what was wanted.
    let gone = || Err(refusal("InvalidNatGatewayID.NotFound", 400, "nat-1 was not found"));
    let delete = r#"ec2::delete_nat_gateway("nat-1").nat_gateway_id"#;
    let seen = Stage::aws(doubtful_once(gone())).run(delete);
    assert_eq!((seen.value(), seen.calls.len()), (&Value::Null, 2));
    // Without a doubtful attempt before, it was never there.
    let seen = Stage::aws(move |_, _| gone()).run(delete);
    assert_eq!(seen.error().kind().name(), "not_found");
}

#[test]
fn a_create_with_a_token_is_sent_again_with_the_same_token() {
    let seen = Stage::aws({
        let times = AtomicUsize::new(0);
        move |_, input| match times.fetch_add(1, Ordering::Relaxed) {
            0 => Err(refusal("ServerException", 500, "oops")),
            _ => Ok(json!({ "cluster": { "name": input["client_request_token"] } })),
        }
    })
    .run("eks::create_cluster(#{ name: \"a\", role_arn: \"r\", resources_vpc_config: #{ subnet_ids: [\"s\"] } }).cluster.name.len()");
    assert_eq!(seen.value(), &json!(32));
    assert_eq!(seen.calls[0].1["client_request_token"], seen.calls[1].1["client_request_token"]);
}

#[test]
fn default_tags_reach_every_create() {
    let seen = Stage::aws(|_, _| Ok(json!({}))).run(
        r#"
            aws::default_tags(#{ owner: "core" });
            ec2::create_subnet(#{ vpc_id: "v", cidr_block: "10.0.0.0/24" });
            iam::create_role(#{ role_name: "r", assume_role_policy_document: "{}" });
            eks::create_nodegroup(#{ cluster_name: "c", nodegroup_name: "n", node_role: "r", subnets: [] });
            ec2::create_launch_template(#{ launch_template_name: "t", launch_template_data: #{} });
            ec2::create_tags(#{ resources: ["i"], tags: #{ a: "b" } });
        "#,
    );
    seen.value();
    let input = |index: usize| seen.calls[index].1.to_string();
    assert!(
        input(0).contains(r#"{"key":"owner","value":"core"}"#) && input(0).contains(r#""resource_type":"subnet""#),
        "{}",
        input(0)
    );
    assert!(input(1).contains(r#"{"key":"owner","value":"core"}"#), "{}", input(1));
    assert_eq!(seen.calls[2].1["tags"]["owner"], "core");
    for kind in ["launch-template", "instance", "volume"] {
        assert!(input(3).contains(&format!(r#""resource_type":"{kind}""#)), "{kind}: {}", input(3));
    }
    assert!(!input(4).contains("owner"), "{}", input(4));
}

#[test]
fn a_read_only_session_refuses_before_it_looks_at_the_arguments() {
    let seen = Stage::default().read_only().run(r#"eks::create_cluster(#{ nam: "x" })"#);
    assert_eq!(seen.error().kind(), Kind::Refused);
    assert!(seen.calls.is_empty());
}

/// Every mutating operation, with an input that would arrive.
/// A script that calls every mutating operation with the sweep's input, answers how many were refused, and lets no other
/// error pass; and how many there are.
pub fn every_mutation() -> (String, usize) {
    let all = aws_dynamic::services().iter().flat_map(|service| service.operations);
    let all = all.filter(|operation| operation.effect == aws_dynamic::Effect::Mutate);
    let call = |operation: &Operation| {
        let input = aws_dynamic::sample::full_input(operation).to_string();
        let refused = "if e.kind != \"refused\" { throw e; } refused += 1;";
        format!("try {{ {operation}(json::parse({input:?})); }} catch (e) {{ {refused} }}\n")
    };
    let calls: Vec<String> = all.map(call).collect();
    (format!("let refused = 0;\n{}refused", calls.concat()), calls.len())
}

#[test]
fn a_read_only_session_refuses_every_mutation() {
    let (script, count) = every_mutation();
    let seen = Stage::default().read_only().run(&script);
    assert_eq!(seen.value(), &json!(count));
    assert!(seen.calls.is_empty(), "{:?}", seen.call_names());
    println!("{count} mutating operations refused");
    assert!(count > 700, "{count}");
    // Without the flag each of the same calls arrives.
    let seen = Stage::aws(|_, _| Ok(json!({}))).run(&script);
    assert_eq!(seen.value(), &json!(0));
    let arrived: BTreeSet<&str> = seen.call_names().into_iter().collect();
    println!("{} of them arrive without the flag", arrived.len());
    assert_eq!(arrived.len(), count);
}

#[test]
fn the_first_mutation_of_a_live_session_is_asked_for_once() {
    let script = "ec2::create_key_pair(\"a\"); ec2::create_key_pair(\"b\"); 1";
    let seen = Stage::aws(|_, _| Ok(json!({}))).live(true).run(script);
    assert_eq!(seen.value(), &json!(1));
    assert_eq!(seen.approvals.len(), 1);
    let facts = format!("{:?}", seen.approvals[0]);
    for fact in ["123456789012", "us-west-2", "user/ana"] {
        assert!(facts.contains(fact), "{facts}");
    }
    let refused = Stage::aws(|_, _| Ok(json!({}))).live(false).run(script);
    assert_eq!(refused.error().kind(), Kind::Refused);
    assert_eq!(refused.call_names(), ["sts::get_caller_identity"]);
}

#[test]
fn another_account_than_the_expected_or_allowed_one_is_refused() {
    let seen = Stage::default().run("aws::expect(#{ account: \"999999999999\" })");
    assert_eq!(seen.error().to_string(), "this is account 123456789012, expected 999999999999");
    assert_eq!(seen.error().kind(), Kind::Refused);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("ekskit.yaml"), "accounts: [\"999999999999\"]").unwrap();
    let seen = Stage::aws(|_, _| Ok(json!({}))).live(true).project(folder.path()).run("ec2::create_key_pair(\"a\")");
    assert_eq!(seen.error().to_string(), "account 123456789012 is not one that this project may change");
    assert!(seen.approvals.is_empty());
}

#[test]
fn all_branches_finish_and_every_error_is_kept() {
    let seen = Stage::default().run(
        "let found = #{}; try { parallel(#{ a: || throw error::not_found(\"a is gone\"), b: || 2, c: || throw error::conflict(\"c is taken\") }) }
         catch (e) { found = #{ kind: e.kind, kinds: e.errors.map(|x| x.kind), branches: e.errors.map(|x| x.branch) } } found",
    );
    assert_eq!(seen.value(), &json!({ "kind": "failed", "kinds": ["not_found", "conflict"], "branches": ["a", "c"] }));
}

#[test]
fn a_cancellation_can_not_be_caught() {
    let cancel = ekskit::session::Cancel::default();
    let trigger = cancel.clone();
    let seen = Stage::aws(move |_, _| {
        trigger.cancel(ekskit::error::Error::cancelled());
        Ok(json!({ "clusters": [], "next_token": null }))
    })
    .cancel(cancel)
    .run("try { eks::list_clusters(); clock::sleep(\"1h\"); } catch (e) { print(\"caught\"); } loop {}");
    assert_eq!(seen.error().kind(), Kind::Cancelled);
    assert!(!seen.events.iter().any(|event| matches!(event, Event::Print { .. })));
}

#[test]
fn files_are_read_only_inside_the_project() {
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("project");
    std::fs::create_dir_all(folder.join("stdlib")).unwrap();
    std::fs::write(outer.path().join("secret.yaml"), "a: 1").unwrap();
    std::fs::write(folder.join("a.yaml"), "b: 2").unwrap();
    std::os::unix::fs::symlink(outer.path().join("secret.yaml"), folder.join("link.yaml")).unwrap();
    let run = |script: &str| Stage::default().project(&folder).run(script);
    assert_eq!(run("yaml::load(\"a.yaml\").b").value(), &json!(2));
    for path in ["../secret.yaml", "link.yaml"] {
        assert_eq!(run(&format!("yaml::load(\"{path}\")")).error().kind(), Kind::Refused, "{path}");
    }
    assert_eq!(run("yaml::load(\"c.yaml\")").error().kind(), Kind::NotFound);
}

#[test]
fn modules_come_from_the_project_first_and_circles_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let stdlib = folder.path().join("stdlib");
    std::fs::create_dir_all(&stdlib).unwrap();
    std::fs::write(stdlib.join("words.rhai"), "fn mine() { 42 }").unwrap();
    std::fs::write(stdlib.join("a.rhai"), "import \"b\" as b; fn f() { b::g() }").unwrap();
    std::fs::write(stdlib.join("b.rhai"), "import \"a\" as a; fn g() { 1 }").unwrap();
    let run = |script: &str| Stage::default().project(folder.path()).run(script);
    let seen = run("import \"words\" as words; words::mine()");
    assert_eq!(seen.value(), &json!(42));
    let said = seen
        .events
        .iter()
        .any(|event| matches!(event, Event::Message { text, .. } if text.contains("differs from the built-in")));
    assert!(said, "the run does not say that a module is overridden");
    let error = run("import \"a\" as a; a::f()");
    assert_eq!(
        error.error().to_string(),
        "modules import each other in a circle: stdlib/a.rhai → stdlib/b.rhai → stdlib/a.rhai"
    );
}

#[test]
fn secrets_print_as_stars_and_reach_only_the_api() {
    let seen = Stage::aws(|operation, input| {
        if operation.name == "import_key_pair" {
            assert_eq!(input["key_name"], "hunter2");
        }
        Ok(json!({ "key_material": "hunter2" }))
    })
    .run("let k = ec2::create_key_pair(\"a\").key_material; print(k); ec2::import_key_pair(#{ key_name: k.reveal(), public_key_material: \"YQ==\" }); `${k}`");
    assert_eq!(seen.value(), &json!("***"));
    let printed: Vec<&Event> = seen.events.iter().filter(|event| matches!(event, Event::Print { .. })).collect();
    assert!(format!("{printed:?}").contains("***"), "{printed:?}");
}

#[test]
fn what_is_made_of_a_secret_is_a_secret() {
    let seen = Stage::aws(|_, _| Ok(json!({ "key_material": "aHVudGVyMg==" })))
        .run("let k = ec2::create_key_pair(\"a\").key_material; let d = text::base64_decode(k); [d, `${d}`, d.reveal().len()]");
    assert_eq!(seen.value(), &json!(["***", "***", 7]));
}

#[test]
fn using_nests_and_follows_into_branches() {
    let script = r#"aws::using(#{ region: "eu-west-1" }, || [aws::region(), parallel([|| aws::region()])[0],
        aws::using(#{ region: "cn-north-1" }, || aws::partition())])"#;
    assert_eq!(Stage::default().run(script).value(), &json!(["eu-west-1", "eu-west-1", "aws-cn"]));
}

#[test]
fn a_new_key_can_be_set_and_a_missing_one_not_read() {
    assert_eq!(Stage::default().run("let m = #{}; m[\"a\"] = 1; m.b = 2; m").value(), &json!({ "a": 1, "b": 2 }));
    assert_eq!(Stage::default().run("let m = #{ a: () }; m.get(\"b\") == ()").value(), &json!(true));
    assert_eq!(Stage::default().run("let m = #{}; m[\"a\"]").error().kind(), Kind::Invalid);
}

#[test]
fn a_change_in_flight_that_outlives_its_grace_may_have_been_applied() {
    let cancel = ekskit::session::Cancel::with_grace(std::time::Duration::from_millis(50));
    cancel_soon(&cancel);
    let seen = Stage::hanging().cancel(cancel).run("ec2::create_key_pair(\"a\")");
    assert_eq!(seen.error().kind(), Kind::Cancelled);
    assert!(seen.error().facts().maybe_applied);
    let cancel = ekskit::session::Cancel::default();
    cancel_soon(&cancel);
    let seen = Stage::hanging().cancel(cancel).run("eks::list_clusters()");
    assert!(!seen.error().facts().maybe_applied);
}

fn cancel_soon(cancel: &ekskit::session::Cancel) {
    let cancel = cancel.clone();
    std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        cancel.cancel(ekskit::error::Error::cancelled());
    });
}

#[test]
fn functions_of_one_name_in_two_modules_are_kept_apart() {
    let folder = tempfile::tempdir().unwrap();
    let stdlib = folder.path().join("stdlib");
    std::fs::create_dir_all(&stdlib).unwrap();
    std::fs::write(stdlib.join("inner.rhai"), "fn who(x) { \"inner\" } fn ask(x) { who(x) + who(x) }").unwrap();
    let outer = "import \"inner\" as inner; private fn who(x) { \"outer\" }
        fn ask(x) { who(x) + who(x) + inner::ask(x) + who(x) }
        fn in_closure(x) { let f = |y| who(y); f.call(x) + f.call(x) + inner::ask(x) + f.call(x) }
        fn in_parallel(x) { parallel([|| who(x) + inner::ask(x) + who(x)])[0] }";
    std::fs::write(stdlib.join("outer.rhai"), outer).unwrap();
    let seen = Stage::default().project(folder.path()).run(
        "import \"outer\" as outer; import \"inner\" as inner; fn who(x) { \"main\" } fn own(x) { who(x) + who(x) }
        [own(1), outer::ask(1), outer::in_closure(1), outer::in_parallel(1), inner::ask(1), own(1), who(1), who(1)]",
    );
    let outers = "outerouterinnerinnerouter";
    let wanted = json!(["mainmain", outers, outers, "outerinnerinnerouter", "innerinner", "mainmain", "main", "main"]);
    assert_eq!(seen.value(), &wanted);
}

#[test]
fn secrets_are_hidden_in_events_and_errors_too() {
    let seen = Stage::aws(|operation, _| {
        if operation.name == "create_tags" {
            return Err(refusal("InvalidParameterValue", 400, "the value hunter2 is wrong"));
        }
        Ok(json!({ "key_material": "hunter2" }))
    })
    .run(
        "let k = ec2::create_key_pair(\"a\").key_material; let said = [];
        for f in [|| ec2::create_tags(#{ resources: [\"i\"], tags: #{ k: k } }), || ec2::create_tags(k), || clock::add(k, \"1h\"),
            || ec2::describe_vpcs(#{ max_results: k }), || version::compare(k, \"1\")] {
            try { f.call(); } catch (e) { said.push(e); }
        }
        said",
    );
    assert_eq!(seen.value().as_array().unwrap().len(), 5);
    let everything = format!("{} {:?}", seen.value(), seen.events);
    assert!(!everything.contains("hunter2"), "{everything}");
}

#[test]
fn a_failed_look_leaves_the_creates_own_error_in_doubt() {
    let creates = Arc::new(AtomicUsize::new(0));
    let count = creates.clone();
    let seen = Stage::aws(move |operation, _| match operation.name {
        "create_vpc" => {
            count.fetch_add(1, Ordering::Relaxed);
            Err(refusal("InternalError", 500, "An internal error has occurred"))
        }
        _ => Err(refusal("UnauthorizedOperation", 403, "You are not authorized")),
    })
    .run("ec2::create_vpc(#{ cidr_block: \"10.0.0.0/16\" })");
    let facts = seen.error().facts();
    assert_eq!((facts.operation.as_deref(), facts.maybe_applied, facts.retryable), (Some("create_vpc"), true, false));
    assert_eq!(creates.load(Ordering::Relaxed), 1);
}

#[test]
fn a_cancelled_session_sends_nothing_more() {
    let cancel = ekskit::session::Cancel::default();
    let trigger = cancel.clone();
    let sent = Arc::new(AtomicUsize::new(0));
    let count = sent.clone();
    let seen = Stage::aws(move |_, _| {
        count.fetch_add(1, Ordering::Relaxed);
        trigger.cancel(ekskit::error::Error::cancelled());
        Err(refusal("RequestLimitExceeded", 503, "Request limit exceeded"))
    })
    .cancel(cancel)
    .run("ec2::create_key_pair(\"a\")");
    assert_eq!(seen.error().kind(), Kind::Cancelled, "{}", seen.rendered());
    assert_eq!(sent.load(Ordering::Relaxed), 1);
}

#[test]
fn wrong_places_of_params_and_values_of_using_are_refused() {
    for (script, message) in [
        (
            "let x = 1; let c = params(#{ a: #{ type: \"int\", value: 3 } });",
            "`params` is not the first statement of the script",
        ),
        ("aws::using(#{ region: 5 }, || 1)", "`region` of `aws::using` is text, found an integer"),
        (
            "step \"a\" { exit(5) }",
            "`exit` is not available: it would leave steps and branches half-way, as if all were done",
        ),
    ] {
        assert_eq!(Stage::default().run(script).error().to_string(), message, "{script}");
    }
    let seen = Stage::default().run("let a = [1];\n  a[5]");
    assert!(seen.rendered().contains("test.rhai:2:"), "{}", seen.rendered());
}

#[test]
fn a_step_counts_its_own_changes() {
    let seen = Stage::aws(|_, _| Ok(json!({}))).run(
        "step \"all\" { parallel([|| step \"reads\" { clock::sleep(\"1s\"); 1 }, || step \"writes\" { ec2::create_key_pair(\"a\"); 1 }]) }",
    );
    let mut changes: Vec<(String, usize)> = Vec::new();
    for event in &seen.events {
        if let Event::StepEnded { name, changed, .. } = event {
            changes.push((name.clone(), *changed));
        }
    }
    changes.sort();
    let wanted = [("all", 1), ("reads", 0), ("writes", 1)].map(|(name, count)| (name.to_owned(), count));
    assert_eq!(changes, wanted);
}

#[test]
fn a_wait_shorter_than_its_pause_looks_again_at_its_end() {
    let seen = Stage::default().run("wait_until(#{ timeout: \"5s\" }, || false)");
    assert_eq!(seen.error().kind(), Kind::Timeout);
    assert_eq!(seen.seconds, 5);
}
