//! The prompt: who one is, where, which cluster, and what a change needs.

use std::borrow::Cow;
use std::sync::Arc;

use reedline::{Prompt, PromptEditMode, PromptHistorySearch, PromptHistorySearchStatus};

use super::Shared;
use crate::ui;

/// On a narrower terminal only the mode is shown, so that there is room to type.
const NARROW: usize = 60;

/// Drawn anew for every line.
pub struct Line {
    shared: Arc<Shared>,
    color: bool,
}

impl Line {
    /// Of this session.
    pub fn new(shared: &Arc<Shared>, color: bool) -> Line {
        Line { shared: shared.clone(), color }
    }

    /// Without escape codes.
    pub fn plain(&self) -> String {
        let words = self.words();
        format!("{}> ", words.join(" "))
    }

    fn words(&self) -> Vec<String> {
        let mode = self.mode().to_owned();
        if ui::terminal_width() < NARROW {
            return vec![mode];
        }
        let facts = self.shared.facts();
        let session = &self.shared.session;
        let who = if session.cloud.aws.is_live() { facts.account } else { Some("twin".to_owned()) };
        let region = session.target().region.or(facts.region);
        [who, region, session.used_cluster(), Some(mode)].into_iter().flatten().collect()
    }

    fn mode(&self) -> &'static str {
        let mode = self.shared.session.mode();
        match (mode.read_only, mode.assume_yes) {
            (true, _) => "read-only",
            (false, true) => "yes",
            (false, false) => "ask",
        }
    }
}

impl Prompt for Line {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        let mut words = self.words();
        if self.color
            && let Some(mode) = words.last_mut()
        {
            let code = match (self.mode(), self.shared.session.cloud.aws.is_live()) {
                ("read-only", _) => "32",
                ("yes", true) => "1;31",
                (_, true) => "33",
                (_, false) => "36",
            };
            *mode = format!("\x1b[{code}m{mode}\x1b[0m");
        }
        Cow::Owned(words.join(" "))
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        Cow::Borrowed("")
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        Cow::Borrowed("> ")
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        Cow::Borrowed("… ")
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        let found = match search.status {
            PromptHistorySearchStatus::Passing => "history",
            PromptHistorySearchStatus::Failing => "not in the history",
        };
        Cow::Owned(format!("({found}: {}) ", search.term))
    }

    fn get_prompt_color(&self) -> nu_ansi_term::Color {
        nu_ansi_term::Color::Default
    }

    fn get_prompt_multiline_color(&self) -> nu_ansi_term::Color {
        nu_ansi_term::Color::DarkGray
    }

    fn get_indicator_color(&self) -> nu_ansi_term::Color {
        nu_ansi_term::Color::Default
    }
}
