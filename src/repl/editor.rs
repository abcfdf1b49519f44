//! The line editor, or plain lines where the terminal is none or a dumb one.

use nu_ansi_term::{Color, Style};
use reedline::{
    AutoPairs, ColumnarMenu, DefaultHinter, DescriptionMode, EditCommand, Emacs, IdeMenu, KeyCode, KeyModifiers,
    Keybindings, MenuBuilder, Reedline, ReedlineEvent, ReedlineMenu, Signal, default_emacs_keybindings,
};

use super::Repl;
use super::commands::Next;
use super::complete::Complete;
use super::highlight::Colors;
use super::history;
use super::prompt;
use super::whole::Whole;
use crate::error::{Error, Result};
use crate::ui;

const MENU: &str = "completion";

/// A menu with docs beside it needs so many columns.
const IDE_WIDTH: usize = 60;

/// Reads lines and runs them until the end of input; answers whether all of them went well.
pub fn run(repl: &mut Repl, color: bool) -> Result<bool> {
    // Whoever sits at a terminal has seen what failed; a pipe learns of it by the exit code.
    if ui::is_interactive() { interactive(repl, color) } else { plain(repl).map(|well| well || ui::on_terminal()) }
}

fn interactive(repl: &mut Repl, color: bool) -> Result<bool> {
    let (mut editor, said) = editor(repl, color)?;
    said.iter().for_each(|said| ui::note(said));
    let prompt = prompt::Line::new(repl.shared(), color);
    let mut failures = 0;
    loop {
        match editor.read_line(&prompt) {
            Ok(Signal::Success(text)) => {
                failures = 0;
                let (_, next) = repl.line(&text);
                if let Err(error) = editor.sync_history() {
                    ui::note(&format!("the history can not be written: {error}"));
                }
                if next == Next::Leave {
                    return Ok(true);
                }
            }
            Ok(Signal::CtrlD) => return Ok(true),
            Ok(_) => failures = 0,
            // Bytes that are no text are dropped, with the line that they stand in.
            Err(error) if failures < 100 && is_passing(&error.to_string()) => failures += 1,
            Err(error) => return Err(Error::failed(format!("the terminal can not be read: {error}"))),
        }
    }
}

/// Whether an error of the terminal is about what was typed, not about the terminal.
fn is_passing(error: &str) -> bool {
    error.contains("UTF-8") || error.contains("utf-8") || error.contains("parse")
}

fn editor(repl: &Repl, color: bool) -> Result<(Reedline, Option<String>)> {
    let shared = repl.shared();
    let (history, said) = history::open(history::file_of(&shared.session.project));
    let hint = if color { Style::new().fg(Color::DarkGray) } else { Style::new() };
    let mut editor = Reedline::create()
        .with_history(history)
        .with_history_exclusion_prefix(Some(" ".to_owned()))
        .with_validator(Box::new(Whole::new()?))
        .with_completer(Box::new(Complete::new(shared)))
        .with_menu(menu())
        .with_edit_mode(Box::new(Emacs::new(keys())))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_auto_pairs(AutoPairs::new([('(', ')'), ('[', ']'), ('{', '}'), ('"', '"')]))
        .with_highlighter(Box::new(Colors))
        .with_ansi_colors(color)
        .use_bracketed_paste(true);
    if color {
        // Without colours a hint would look as if it had been typed.
        editor = editor.with_hinter(Box::new(DefaultHinter::default().with_style(hint)));
    }
    Ok((editor, said))
}

fn menu() -> ReedlineMenu {
    if ui::terminal_width() < IDE_WIDTH {
        let menu = ColumnarMenu::default().with_name(MENU).with_marker("> ").with_columns(1);
        return ReedlineMenu::EngineCompleter(Box::new(menu));
    }
    let menu = IdeMenu::default()
        .with_name(MENU)
        .with_marker("> ")
        .with_max_completion_height(12)
        .with_min_completion_width(16)
        .with_max_completion_width(50)
        .with_padding(1)
        .with_default_border()
        .with_description_mode(DescriptionMode::PreferRight)
        .with_min_description_width(20)
        .with_max_description_width(60)
        .with_max_description_height(8)
        .with_correct_cursor_pos(true);
    ReedlineMenu::EngineCompleter(Box::new(menu))
}

fn keys() -> Keybindings {
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext]),
    );
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    keys.add_binding(KeyModifiers::ALT, KeyCode::Enter, ReedlineEvent::Edit(vec![EditCommand::InsertNewline]));
    keys
}

/// Without a line editor: statements are read until they are whole.
fn plain(repl: &mut Repl) -> Result<bool> {
    let whole = Whole::new()?;
    let prompt = prompt::Line::new(repl.shared(), false);
    let mut all_well = true;
    let mut text = String::new();
    loop {
        let shown = if text.is_empty() { prompt.plain() } else { "… ".to_owned() };
        let line = ui::read_plain_line(&shown);
        let is_over = line.is_none();
        if let Some(line) = line {
            text.push_str(&line);
            text.push('\n');
        }
        if !is_over && !whole.is_whole(text.trim_end_matches('\n')) && !text.ends_with("\n\n") {
            continue;
        }
        let (well, next) = repl.line(&std::mem::take(&mut text));
        all_well &= well;
        if is_over || next == Next::Leave {
            return Ok(all_well);
        }
    }
}
