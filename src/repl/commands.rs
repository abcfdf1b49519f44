//! Commands at the prompt: each is one row of [`ALL`]; `:help`, completion and the errors are loops over it.

use std::path::Path;

use super::table;
use super::{Form, Repl};
use crate::engine::lines;
use crate::error::{Error, Result};
use crate::ui;
use crate::value::format_duration;

/// What completion offers for the arguments of a command.
#[derive(Clone, Copy, Debug)]
pub enum Wants {
    /// Nothing.
    Nothing,
    /// Names of functions.
    Name,
    /// Files.
    File,
    /// One of these.
    Words(&'static [&'static str]),
    /// `cluster` and the name of one.
    Cluster,
    /// A region.
    Region,
    /// Code.
    Expression,
}

/// What happens after a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The prompt.
    Prompt,
    /// The end.
    Leave,
}

/// One command.
pub struct Command {
    /// Without its colon.
    pub name: &'static str,
    /// As `:help` shows them.
    pub arguments: &'static str,
    /// One line.
    pub help: &'static str,
    /// What completion offers.
    pub wants: Wants,
    run: fn(&mut Repl, &str) -> Result<Next>,
}

const fn row(
    name: &'static str,
    arguments: &'static str,
    help: &'static str,
    wants: Wants,
    run: fn(&mut Repl, &str) -> Result<Next>,
) -> Command {
    Command { name, arguments, help, wants, run }
}

/// Every command.
pub static ALL: &[Command] = &[
    row("help", "", "what there is at the prompt", Wants::Nothing, help),
    row("doc", "[NAME]", "explains a function, an operation or a module", Wants::Name, doc),
    row("find", "WORD", "what has this word in its name or its line of help", Wants::Name, find_word),
    row("vars", "", "variables, functions and imports of this session", Wants::Nothing, vars),
    row("wide", "[EXPR]", "the last result, or this one, with every column", Wants::Expression, wide),
    row("json", "[EXPR]", "the same as JSON", Wants::Expression, json),
    row("yaml", "[EXPR]", "the same as YAML", Wants::Expression, yaml),
    row("load", "FILE", "runs a script here: its variables and functions stay", Wants::File, load),
    row("reload", "", "reads imported modules anew", Wants::Nothing, reload),
    row("use", "cluster NAME", "where `kube::` calls without a handle go", Wants::Cluster, use_cluster),
    row("region", "[NAME]", "shows the region, or goes to another", Wants::Region, region),
    row("read-only", "on|off", "refuses every change, or asks again", Wants::Words(&["on", "off"]), read_only),
    row("world", "[FILE]", "what a rehearsal has made so far; writes it to a file", Wants::File, world),
    row("time", "", "the clock, and how long the last line took", Wants::Nothing, time),
    row("save", "FILE", "the session so far as a runbook", Wants::File, save),
    row("quit", "", "leaves, as Ctrl-D does", Wants::Nothing, |_, _| Ok(Next::Leave)),
];

/// The command of that name.
pub fn find(name: &str) -> Option<&'static Command> {
    ALL.iter().find(|command| command.name == name)
}

/// Runs `help`, `use cluster prod`: a line without its colon.
pub fn run(repl: &mut Repl, line: &str) -> Result<Next> {
    let (name, argument) = line.trim().split_once(char::is_whitespace).unwrap_or((line.trim(), ""));
    let Some(command) = find(name) else {
        return Err(Error::invalid(format!("command `:{name}` does not exist"))
            .maybe_hint(lines::near(name, ALL.iter().map(|command| command.name)))
            .note("`:help` lists the commands"));
    };
    (command.run)(repl, argument.trim())
}

fn needs<'a>(argument: &'a str, name: &str) -> Result<&'a str> {
    if argument.is_empty() {
        let arguments = find(name).map_or("", |command| command.arguments);
        return Err(Error::invalid(format!("`:{name}` needs {arguments}"))
            .hint(format!("write `:{name} {}`", arguments.to_lowercase())));
    }
    Ok(argument)
}

fn help(_: &mut Repl, _: &str) -> Result<Next> {
    let rows = ALL.iter().map(|command| (format!(":{} {}", command.name, command.arguments), command.help));
    let keys = [
        ("Tab".to_owned(), "completes: names, fields of inputs, their values, clusters, files"),
        ("Alt-Enter".to_owned(), "a line break; unfinished input gets one by Enter alone"),
        ("Ctrl-R, ↑".to_owned(), "earlier lines; a line that begins with a blank is not kept"),
        ("Ctrl-C".to_owned(), "stops what is running, or drops what is typed"),
        ("it".to_owned(), "the last result"),
    ];
    let rows: Vec<(String, &str)> = rows.chain(keys).collect();
    let width = rows.iter().map(|(name, _)| name.trim_end().chars().count()).max().unwrap_or(0);
    let text: String = rows.iter().map(|(name, help)| format!("{:width$}  {help}\n", name.trim_end())).collect();
    ui::result(&text);
    Ok(Next::Prompt)
}

fn doc(repl: &mut Repl, name: &str) -> Result<Next> {
    let name = name.trim_end_matches("()").trim_end_matches("::");
    let functions = repl.shared.lines().functions();
    if let Some(function) = functions.iter().find(|function| function.name == name) {
        ui::result(&format!("{}\n{}", function.signature(), function.summary));
        return Ok(Next::Prompt);
    }
    let name = repl.with_module(name);
    let look = repl.page_look();
    let reference = repl.reference()?;
    let topic = reference.topic(Some(name.as_str()).filter(|name| !name.is_empty()))?;
    ui::result(&reference.to_text(&topic, look));
    Ok(Next::Prompt)
}

fn find_word(repl: &mut Repl, word: &str) -> Result<Next> {
    let word = needs(word, "find")?;
    let look = repl.page_look();
    let reference = repl.reference()?;
    ui::result(&reference.to_text(&reference.find(word), look));
    Ok(Next::Prompt)
}

fn vars(repl: &mut Repl, _: &str) -> Result<Next> {
    let lines = repl.shared.lines();
    let mut text = String::new();
    let variables = lines.variables();
    let width = variables.keys().map(|name| name.len()).max().unwrap_or(0);
    for (name, value) in variables {
        text.push_str(&format!("{name:width$}  {}\n", super::complete::describe(value)));
    }
    for function in lines.functions() {
        text.push_str(&format!("{}  {}\n", function.signature(), function.summary));
    }
    for (alias, module) in lines.imports() {
        text.push_str(&format!("import \"{module}\" as {alias};\n"));
    }
    ui::result(&text);
    Ok(Next::Prompt)
}

fn shown_as(repl: &mut Repl, argument: &str, form: Form) -> Result<Next> {
    if argument.is_empty() {
        let last = repl.shared.lines().last();
        repl.show(&last, form);
    } else {
        repl.evaluate(argument, form)?;
    }
    Ok(Next::Prompt)
}

fn wide(repl: &mut Repl, argument: &str) -> Result<Next> {
    shown_as(repl, argument, Form::Wide)
}

fn json(repl: &mut Repl, argument: &str) -> Result<Next> {
    shown_as(repl, argument, Form::Json)
}

fn yaml(repl: &mut Repl, argument: &str) -> Result<Next> {
    shown_as(repl, argument, Form::Yaml)
}

fn load(repl: &mut Repl, argument: &str) -> Result<Next> {
    let file = Path::new(needs(argument, "load")?);
    let text = std::fs::read(file).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Error::invalid(format!("file `{}` does not exist", file.display())),
        _ => Error::invalid(format!("file `{}` can not be read: {error}", file.display())),
    })?;
    let text =
        String::from_utf8(text).map_err(|_| Error::invalid(format!("file `{}` is not UTF-8 text", file.display())))?;
    repl.load(file, &text)?;
    Ok(Next::Prompt)
}

fn reload(repl: &mut Repl, _: &str) -> Result<Next> {
    let count = repl.reload()?;
    ui::note(&format!("{} read anew", crate::error::count("module", count)));
    Ok(Next::Prompt)
}

fn use_cluster(repl: &mut Repl, argument: &str) -> Result<Next> {
    let name = argument.strip_prefix("cluster").map(str::trim).filter(|name| !name.is_empty());
    let Some(name) = name else {
        return Err(Error::invalid("`:use` needs the name of a cluster").hint("write `:use cluster prod`"));
    };
    repl.use_cluster(name.trim_matches('"'))?;
    Ok(Next::Prompt)
}

fn region(repl: &mut Repl, argument: &str) -> Result<Next> {
    match argument.trim_matches('"') {
        "" => {
            let region = repl.region()?;
            ui::result(&region);
        }
        name => repl.set_region(name)?,
    }
    Ok(Next::Prompt)
}

fn read_only(repl: &mut Repl, argument: &str) -> Result<Next> {
    match argument {
        "on" => repl.shared.session.set_read_only(true),
        "off" => repl.shared.session.set_read_only(false),
        _ => return Err(Error::invalid("`:read-only` is `on` or `off`").hint("write `:read-only on`")),
    }
    Ok(Next::Prompt)
}

fn world(repl: &mut Repl, argument: &str) -> Result<Next> {
    let Some(world) = &repl.world else {
        return Err(Error::invalid("there is no simulated world: this session is live")
            .hint("start one with `ekskit repl --rehearse`"));
    };
    if argument.is_empty() {
        ui::result(&table::yaml(&world.summary()?));
    } else {
        world.write(Path::new(argument))?;
        ui::note(&format!("the world was written to `{argument}`"));
    }
    Ok(Next::Prompt)
}

fn time(repl: &mut Repl, _: &str) -> Result<Next> {
    let clock = &repl.shared.session.cloud.clock;
    let kind = if repl.world.is_some() { "virtual" } else { "real" };
    ui::result(&format!(
        "{} ({kind})\nthis session {}, the last line {}\n",
        clock.now().strftime("%Y-%m-%dT%H:%M:%SZ"),
        format_duration(clock.since(repl.begun)),
        format_duration(repl.last_took),
    ));
    Ok(Next::Prompt)
}

fn save(repl: &mut Repl, argument: &str) -> Result<Next> {
    let file = Path::new(needs(argument, "save")?);
    let said = repl.save(file)?;
    ui::note(&said);
    Ok(Next::Prompt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_found_by_its_name_and_has_its_line() {
        for command in ALL {
            assert!(find(command.name).is_some_and(|found| std::ptr::eq(found, command)), "{} twice", command.name);
            assert!(!command.help.is_empty() && !command.help.ends_with('.'), "{}", command.name);
        }
    }
}
