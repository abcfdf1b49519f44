//! Goes through the text of a script without being fooled by texts and comments.

/// A place in a script's text that moves forward over whole texts and comments.
pub struct Scan<'t> {
    /// The text.
    pub letters: &'t [char],
    /// How many of them lie behind.
    pub at: usize,
}

impl Scan<'_> {
    /// The letter so many ahead.
    pub fn peek(&self, ahead: usize) -> Option<char> {
        self.letters.get(self.at + ahead).copied()
    }

    /// The word that begins here; empty inside of one.
    pub fn word(&self) -> String {
        let is_name = |letter: &char| letter.is_alphanumeric() || *letter == '_';
        if self.at > 0 && (is_name(&self.letters[self.at - 1]) || self.letters[self.at - 1] == '.') {
            return String::new();
        }
        self.letters[self.at..].iter().take_while(|letter| is_name(letter)).collect()
    }

    /// Past one letter of code, or one whole text or comment.
    pub fn step(&mut self) {
        match (self.peek(0), self.peek(1)) {
            (Some('/'), Some('/')) => self.past(|scan| scan.peek(0) == Some('\n')),
            (Some('/'), Some('*')) => self.block_comment(),
            (Some('#'), Some('"' | '#')) => self.raw(),
            (Some('"'), _) => self.quoted('"'),
            (Some('\''), _) => self.quoted('\''),
            (Some('`'), _) => self.back_quoted(),
            _ => self.at += 1,
        }
    }

    fn past(&mut self, end: impl Fn(&Self) -> bool) {
        while self.at < self.letters.len() && !end(self) {
            self.at += 1;
        }
    }

    /// A raw text: as many `#` behind it as before it, nothing escaped.
    fn raw(&mut self) {
        let mut hashes = 0;
        while self.peek(hashes) == Some('#') {
            hashes += 1;
        }
        self.at += hashes;
        if self.peek(0) != Some('"') {
            return;
        }
        self.at += 1;
        self.past(|scan| scan.peek(0) == Some('"') && (1..=hashes).all(|ahead| scan.peek(ahead) == Some('#')));
        self.at += 1 + hashes;
    }

    fn block_comment(&mut self) {
        let mut depth = 0;
        while let Some(letter) = self.peek(0) {
            match (letter, self.peek(1)) {
                ('/', Some('*')) => depth += 1,
                ('*', Some('/')) => depth -= 1,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
            if depth == 0 {
                return;
            }
        }
    }

    /// A quoted text ends at its line: the engine refuses a line break in one.
    fn quoted(&mut self, quote: char) {
        self.at += 1;
        while let Some(letter) = self.peek(0).filter(|letter| *letter != '\n') {
            self.at += if letter == '\\' { 2 } else { 1 };
            if letter == quote {
                return;
            }
        }
    }

    /// A text in back quotes: two of them stand for one, and `${ … }` is code again.
    fn back_quoted(&mut self) {
        self.at += 1;
        while let Some(letter) = self.peek(0) {
            match (letter, self.peek(1)) {
                ('`', Some('`')) => self.at += 2,
                ('`', _) => {
                    self.at += 1;
                    return;
                }
                ('$', Some('{')) => {
                    self.at += 2;
                    self.interpolation();
                }
                _ => self.at += 1,
            }
        }
    }

    fn interpolation(&mut self) {
        let mut depth = 1;
        while let Some(letter) = self.peek(0) {
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                _ => {}
            }
            self.step();
            if depth == 0 {
                return;
            }
        }
    }
}

/// A `//` comment.
#[derive(Clone, Debug)]
pub struct Comment {
    /// From 1.
    pub line: usize,
    /// From 1, of its first slash.
    pub column: usize,
    /// With its slashes, without the end of the line.
    pub text: String,
    /// Nothing else stands on its line.
    pub is_alone: bool,
}

/// The line comments of a script, in order.
pub fn comments(text: &str) -> Vec<Comment> {
    let letters: Vec<char> = text.chars().collect();
    let mut scan = Scan { letters: &letters, at: 0 };
    let (mut line, mut begin, mut seen) = (1, 0, 0);
    let mut found = Vec::new();
    while scan.at < letters.len() {
        let start = scan.at;
        let is_comment = (scan.peek(0), scan.peek(1)) == (Some('/'), Some('/'));
        scan.step();
        for (index, letter) in letters.iter().enumerate().take(start).skip(seen) {
            if *letter == '\n' {
                (line, begin) = (line + 1, index + 1);
            }
        }
        seen = start;
        if is_comment {
            let is_alone = letters[begin..start].iter().all(|letter| letter.is_whitespace());
            let text: String = letters[start..scan.at.min(letters.len())].iter().collect();
            found.push(Comment { line, column: start - begin + 1, text, is_alone });
        }
    }
    found
}
