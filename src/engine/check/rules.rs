//! The rules, each said once: `ekskit check --rules`, the documentation and the tests are loops over this table.

/// What a finding means for the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// The engine does not accept the script, or it would silently do something else: it never starts.
    Refused,
    /// A call can not succeed: `run` and `eval` refuse the script before anything happens, unless it is allowed.
    Certain,
    /// Nearly always a mistake: `check` warns.
    Warning,
}

impl Weight {
    /// `error` or `warning`.
    pub fn severity(self) -> &'static str {
        if self == Weight::Warning { "warning" } else { "error" }
    }
}

/// One rule.
#[derive(Debug)]
pub struct Rule {
    /// The word of `// ekskit:allow(…)`.
    pub name: &'static str,
    /// What a finding means.
    pub weight: Weight,
    /// One line.
    pub doc: &'static str,
    /// A script that triggers it. A line `//- NAME` begins another file, which the script imports.
    pub example: &'static str,
}

macro_rules! rules {
    ($($constant:ident $name:literal $weight:ident $doc:literal $example:literal)*) => {
        $(#[doc = $doc] pub static $constant: Rule =
            Rule { name: $name, weight: Weight::$weight, doc: $doc, example: $example };)*

        /// Every rule, in the order of the documentation.
        pub static ALL: &[&Rule] = &[$(&$constant),*];
    };
}

rules! {
    SYNTAX "syntax" Refused "The script does not parse." "let a = (1;"
    RESERVED_WORD "reserved_word" Refused "A reserved word stands as a name or a bare key." "let a = #{ default: 1 };"
    UNKNOWN_VARIABLE "unknown_variable" Refused "A variable is read that does not exist there." "let name = 1; nmae"
    UNKNOWN_MODULE "unknown_module" Refused "`x::f()` where `x` is neither imported nor a namespace." "vpcc::ensure(#{})"
    IMPORT_CYCLE "import_cycle" Refused "Modules import each other in a circle." "import \"a\" as a; a::f()\n//- a\nimport \"b\" as b;\nfn f() { b::f() }\n//- b\nimport \"a\" as a;\nfn f() { a::f() }"
    UNRESOLVED_IMPORT "unresolved_import" Refused "An import leads nowhere, or to a module that does not parse." "import \"vcp\" as vpc; vpc::find(\"a\")"
    STEP_ASSIGNMENT "step_assignment" Refused "A step changes a variable of the script around it." "let a = 0; step \"s\" { a = 1; } a"
    STEP_EXIT "step_exit" Refused "`return`, `break` or `continue` leaves a step." "fn f() { step \"s\" { return 1; } } f()"
    PARALLEL_WRITE "parallel_write" Refused "A branch of `parallel` changes a captured variable, of which it has a copy." "let a = 0; parallel([|| a += 1]); a"
    CLOSURE_HANDED_OVER "closure_handed_over" Refused "A closure goes to another module's function, which would look its names up there." "import \"words\" as words; words::join(|| 1, \"\")"
    TAKEN_METHOD "taken_method" Refused "A function would replace a method of all values." "fn get(x) { x } get(1)"
    WRONG_PARAMS "wrong_params" Refused "`params` is not the first statement, or declares an input wrongly." "let cfg = params(#{ a: #{ type: \"int\", value: \"x\" } }); cfg.a"

    UNKNOWN_FUNCTION "unknown_function" Certain "A function is called that does not exist." "eks::list_cluster()"
    UNKNOWN_METHOD "unknown_method" Certain "A method is called that no value has." "[1].lenght()"
    WRONG_ARITY "wrong_arity" Certain "A function gets too few or too many arguments." "kube::get(\"pods\")"
    UNKNOWN_FIELD "unknown_field" Certain "An operation gets a field that it does not have, at any depth." "eks::create_nodegroup(#{ cluster_name: \"a\", nodegroup_name: \"b\", subnets: [], node_role: \"c\", scaling_config: #{ min: 1 } })"
    UNKNOWN_OPTION "unknown_option" Certain "A function gets an option or input that it does not have." "kube::list(\"pods\", #{ label: \"a\" })"
    MISSING_FIELD "missing_field" Certain "A required field or input is not given." "eks::describe_cluster(#{})"
    WRONG_TYPE "wrong_type" Certain "A literal has another type than the field, parameter or option." "ec2::describe_vpcs(#{ max_results: \"5\" })"
    WRONG_VALUE "wrong_value" Certain "A text is not one of those that the field or option takes." "eks::update_cluster_config(#{ name: \"a\", access_config: #{ authentication_mode: \"APY\" } })"
    UNKNOWN_INPUT "unknown_input" Certain "An input is read that `params` does not declare." "let cfg = params(#{ name: #{ type: \"string\", value: \"a\" } }); [cfg.name, cfg.nmae]"
    UNKNOWN_PROPERTY "unknown_property" Certain "A property is read that a value of known shape does not have." "eks::describe_cluster(\"a\").clustr"

    MUTATION_OUTSIDE_STEP "mutation_outside_step" Warning "A runbook changes the cloud outside of any `step`." "ec2::create_key_pair(\"a\")"
    UNUSED_VARIABLE "unused_variable" Warning "A variable is never read." "let a = 1; 2"
    UNUSED_PARAMETER "unused_parameter" Warning "A parameter is never read." "fn f(a) { 1 } f(2)"
    UNUSED_FUNCTION "unused_function" Warning "A private function, or one of a runbook, is never called." "fn f() { 1 } 2"
    UNUSED_IMPORT "unused_import" Warning "An import is never used." "import \"vpc\" as vpc; 1"
    UNUSED_INPUT "unused_input" Warning "A declared input is never read." "let cfg = params(#{ a: #{ type: \"int\", value: 1 }, b: #{ type: \"int\", value: 1 } }); cfg.a"
    SHADOWING "shadowing" Warning "A name hides another one that is still in reach." "let a = 1; if a > 0 { let a = 2; print(a); } a"
    DEAD_CODE "dead_code" Warning "A statement can not be reached." "fn f() { return 1; print(2); } f()"
    EMPTY_CATCH "empty_catch" Warning "An error is caught and dropped." "try { ec2::describe_vpcs() } catch { }"
    UNUSED_ALLOW "unused_allow" Warning "An `ekskit:allow` allows nothing." "// ekskit:allow(shadowing)\n1"
    UNKNOWN_RULE "unknown_rule" Warning "An `ekskit:allow` names a rule that does not exist." "// ekskit:allow(shadow)\n1"
}

/// The rule of that name.
pub fn find(name: &str) -> Option<&'static Rule> {
    ALL.iter().copied().find(|rule| rule.name == name)
}

/// The names of all rules.
pub fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|rule| rule.name)
}
