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
