//! A program at a real pseudo-terminal, and the screen as a person sees it.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, PtySize, native_pty_system};

/// A machine with other work to do is slow; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// `ekskit` at a terminal.
pub struct Terminal {
    child: Box<dyn Child + Send + Sync>,
    keys: Arc<Mutex<Box<dyn Write + Send>>>,
    screen: Arc<Mutex<vt100::Parser>>,
    _master: Box<dyn portable_pty::MasterPty + Send>,
}

impl Terminal {
    /// Starts the program in a folder, which is also its home, at a terminal of so many columns and rows.
    pub fn start(folder: &Path, args: &[&str], (columns, rows): (u16, u16), variables: &[(&str, &str)]) -> Terminal {
        let size = PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 };
        let pair = native_pty_system().openpty(size).unwrap();
        let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_ekskit"));
        command.args(args);
        command.cwd(folder);
        command.env_clear();
        command.env("TERM", "xterm-256color");
        command.env("HOME", folder);
        command.env("XDG_STATE_HOME", folder.join("state"));
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        for (name, value) in variables {
            command.env(name, value);
        }
        let child = pair.slave.spawn_command(command).unwrap();
        drop(pair.slave);
        let keys = Arc::new(Mutex::new(pair.master.take_writer().unwrap()));
        let screen =
            Arc::new(Mutex::new(vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 2000)));
        let mut output = pair.master.try_clone_reader().unwrap();
        let (own_screen, own_keys) = (screen.clone(), keys.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 65_536];
            while let Ok(length @ 1..) = output.read(&mut bytes) {
                show(&own_screen, &own_keys, &bytes[..length]);
            }
        });
        Terminal { child, keys, screen, _master: pair.master }
    }

    /// Presses keys.
    pub fn press(&self, keys: &str) -> &Terminal {
        self.press_bytes(keys.as_bytes())
    }

    pub fn press_bytes(&self, keys: &[u8]) -> &Terminal {
        let mut writer = self.keys.lock().unwrap();
        writer.write_all(keys).unwrap();
        writer.flush().unwrap();
        drop(writer);
        self
    }

    /// Puts a line in, as a paste does, and presses Enter once it is there. What comes next is not the old prompt.
    pub fn enter(&self, line: &str) -> &Terminal {
        // While a line runs, the terminal itself would echo the keys, and the editor would not be woken by them.
        self.wait("a prompt", |screen| at_prompt(screen) || screen.trim_end().ends_with('…'));
        let before = self.text();
        self.press(&format!("\x1b[200~{line}\x1b[201~"));
        self.wait("what was typed", |screen| screen != before && !at_prompt(screen)).press("\r")
    }

    /// Types, and waits until it is there.
    pub fn type_in(&self, keys: &str) -> &Terminal {
        let before = self.prompt().text();
        self.press(keys).wait("what was typed", |screen| screen != before && !at_prompt(screen))
    }

    /// Drops what is typed.
    pub fn drop_line(&self) -> &Terminal {
        self.escape().press("\x03").prompt()
    }

    /// Presses Escape alone: with a letter right behind it, it would be another key.
    pub fn escape(&self) -> &Terminal {
        self.press("\x1b");
        std::thread::sleep(Duration::from_millis(150));
        self
    }

    /// What the screen shows.
    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// The screen, for looking at its styles.
    pub fn screen(&self) -> vt100::Screen {
        self.screen.lock().unwrap().screen().clone()
    }

    /// Waits until the screen is as wanted.
    pub fn wait(&self, what: &str, wanted: impl Fn(&str) -> bool) -> &Terminal {
        let begun = Instant::now();
        while !wanted(&self.text()) {
            assert!(begun.elapsed() < PATIENCE, "{what} did not come; the screen:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
        self
    }

    /// Waits until this stands on the screen.
    pub fn see(&self, text: &str) -> &Terminal {
        self.wait(text, |screen| screen.contains(text))
    }

    /// Waits for a prompt with nothing typed: the last line ends with it.
    pub fn prompt(&self) -> &Terminal {
        self.wait("the prompt", at_prompt)
    }

    /// Clears the screen, so that what comes next is all there is.
    pub fn clear(&self) -> &Terminal {
        self.prompt().press("\x0c");
        self.wait("an empty screen", |screen| screen.trim().lines().count() == 1)
    }

    /// Leaves by Ctrl-D and answers the exit code.
    pub fn leave(mut self) -> u32 {
        self.prompt().press("\x04");
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            assert!(begun.elapsed() < PATIENCE, "it does not end; the screen:\n{}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Whether the last line is a prompt with nothing behind it.
fn at_prompt(screen: &str) -> bool {
    screen.trim_end().lines().last().is_some_and(|line| line.trim_end().ends_with('>'))
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
    }
}

/// Shows output, and answers the question where the cursor is, as every terminal does.
fn show(screen: &Mutex<vt100::Parser>, keys: &Mutex<Box<dyn Write + Send>>, bytes: &[u8]) {
    const WHERE: &[u8] = b"\x1b[6n";
    let mut rest = bytes;
    while let Some(at) = rest.windows(WHERE.len()).position(|window| window == WHERE) {
        screen.lock().unwrap().process(&rest[..at]);
        let (row, column) = screen.lock().unwrap().screen().cursor_position();
        let _ = write!(keys.lock().unwrap(), "\x1b[{};{}R", row + 1, column + 1);
        rest = &rest[at + WHERE.len()..];
    }
    screen.lock().unwrap().process(rest);
}

/// The upper rows of a screen as SVG, with its styles.
pub fn picture(screen: &vt100::Screen, title: &str) -> String {
    const CELL: f32 = 8.4;
    const LINE: u16 = 18;
    let (rows, columns) = screen.size();
    let (rows, columns) = (rows.get(), columns.get());
    let used = (0..rows).rev().find(|row| !row_text(screen, *row, columns).trim().is_empty()).map_or(1, |row| row + 1);
    let (width, height) = (f32::from(columns) * CELL + 24.0, u32::from(used * LINE) + 24);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height}\" role=\"img\">\n<title>{title}</title>\n\
         <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#1e2127\"/>\n\
         <g font-family=\"ui-monospace, Menlo, Consolas, monospace\" font-size=\"14\" fill=\"#d7dae0\" xml:space=\"preserve\">\n"
    );
    for row in 0..used {
        let mut column = 0;
        while column < columns {
            let Some(cell) = screen.cell(row, column) else { break };
            let style = style(cell);
            let start = column;
            let mut text = String::new();
            while column < columns && screen.cell(row, column).is_some_and(|cell| self::style(cell) == style) {
                let contents = screen.cell(row, column).map(|cell| cell.contents().to_owned()).unwrap_or_default();
                text.push_str(if contents.is_empty() { " " } else { &contents });
                column += 1;
            }
            svg.push_str(&span(&text, &style, (row, start), CELL, LINE));
        }
    }
    svg.push_str("</g>\n</svg>\n");
    svg
}

fn row_text(screen: &vt100::Screen, row: u16, columns: u16) -> String {
    (0..columns).filter_map(|column| screen.cell(row, column)).map(|cell| cell.contents().to_owned()).collect()
}

#[derive(PartialEq)]
struct Look {
    fore: Option<String>,
    back: Option<String>,
    bold: bool,
    underline: bool,
}

fn style(cell: &vt100::Cell) -> Look {
    let (mut fore, mut back) = (color(cell.fgcolor()), color(cell.bgcolor()));
    if cell.inverse() {
        (fore, back) = (back.or(Some("#1e2127".to_owned())), fore.or(Some("#d7dae0".to_owned())));
    }
    Look { fore, back, bold: cell.bold(), underline: cell.underline() }
}

fn color(color: vt100::Color) -> Option<String> {
    const PALETTE: [&str; 16] = [
        "#3f4451", "#e06c75", "#98c379", "#e5c07b", "#61afef", "#c678dd", "#56b6c2", "#d7dae0", "#7f848e", "#ff7b86",
        "#b1e18b", "#efb074", "#67cdff", "#e48bff", "#63d4e0", "#ffffff",
    ];
    match color {
        vt100::Color::Default => None,
        vt100::Color::Idx(index) => Some(PALETTE.get(usize::from(index)).unwrap_or(&"#d7dae0").to_string()),
        vt100::Color::Rgb(red, green, blue) => Some(format!("#{red:02x}{green:02x}{blue:02x}")),
    }
}

fn span(text: &str, look: &Look, (row, column): (u16, u16), cell: f32, line: u16) -> String {
    let (x, y) = (12.0 + f32::from(column) * cell, row * line + 12);
    let mut svg = String::new();
    if let Some(back) = &look.back {
        let width = text.chars().count() as f32 * cell;
        svg.push_str(&format!(
            "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{line}\" fill=\"{back}\"/>\n"
        ));
    }
    if text.trim().is_empty() {
        return svg;
    }
    let mut attributes = String::new();
    if let Some(fore) = &look.fore {
        attributes.push_str(&format!(" fill=\"{fore}\""));
    }
    if look.bold {
        attributes.push_str(" font-weight=\"bold\"");
    }
    if look.underline {
        attributes.push_str(" text-decoration=\"underline\"");
    }
    let escaped = text.trim_end().replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    svg.push_str(&format!("<text x=\"{x:.1}\" y=\"{}\"{attributes}>{escaped}</text>\n", y + 14));
    svg
}
