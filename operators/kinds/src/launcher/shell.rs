//! Just enough of the POSIX shell grammar to find the commands in the text behind `sh -c`: words,
//! quotes, comments, separators and here-documents. Nothing is expanded.

/// The script among the arguments of a shell, if `-c` is there.
pub(super) fn script_of<'a>(arguments: &[&'a str]) -> Option<&'a str> {
    let mut has_script = false;
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        match *word {
            "--" => return words.next().copied().filter(|_| has_script),
            "--rcfile" | "--init-file" => {
                words.next();
            }
            long if long.starts_with("--") => {}
            // `-euxo pipefail -c`
            flags if flags.len() > 1 && flags.starts_with(['-', '+']) => {
                has_script |= flags.starts_with('-') && flags.contains('c');
                if flags.contains(['o', 'O']) {
                    words.next();
                }
            }
            first => return has_script.then_some(first),
        }
    }
    None
}

/// The words of each simple command of a script, without the keywords in front of it.
pub(super) fn simple_commands(script: &str) -> Vec<Vec<String>> {
    let mut scanner = Scanner {
        rest: script,
        commands: Vec::new(),
        words: Vec::new(),
        word: None,
        here_documents: Vec::new(),
    };
    scanner.run();
    scanner.commands
}

struct Scanner<'s> {
    rest: &'s str,
    commands: Vec<Vec<String>>,
    /// The command that is being read.
    words: Vec<String>,
    /// The word that is being read.
    word: Option<String>,
    /// The end marks of the here-documents that start after this line.
    here_documents: Vec<String>,
}

impl Scanner<'_> {
    fn run(&mut self) {
        while let Some(c) = self.next() {
            match c {
                '\\' => match self.next() {
                    None | Some('\n') => {}
                    Some(c) => self.push(c),
                },
                '\'' => self.quoted('\''),
                '"' => self.quoted('"'),
                '#' if self.word.is_none() => self.skip_past("\n", true),
                '$' if self.rest.starts_with("((") => {
                    self.push('$');
                    self.skip_past("))", false);
                }
                '<' if self.rest.starts_with('<') && !self.rest.starts_with("<<") => {
                    self.next();
                    self.here_document();
                }
                '<' | '>' => {
                    self.push(c);
                    while let Some(c @ ('<' | '>' | '&' | '|')) = self.peek() {
                        self.next();
                        self.push(c);
                    }
                }
                '&' if self.rest.starts_with('>') => self.push(c),
                '\n' => {
                    self.end_command();
                    self.skip_here_documents();
                }
                ';' | '&' | '|' | '(' | ')' | '`' => self.end_command(),
                c if c.is_whitespace() => self.end_word(),
                c => self.push(c),
            }
        }
        self.end_command();
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn push(&mut self, c: char) {
        self.word.get_or_insert_default().push(c);
    }

    fn quoted(&mut self, quote: char) {
        self.word.get_or_insert_default();
        while let Some(c) = self.next() {
            match c {
                c if c == quote => return,
                '\\' if quote == '"' => match self.next() {
                    None | Some('\n') => {}
                    Some(c @ ('"' | '\\' | '$' | '`')) => self.push(c),
                    Some(c) => {
                        self.push('\\');
                        self.push(c);
                    }
                },
                c => self.push(c),
            }
        }
    }

    fn end_word(&mut self) {
        let Some(word) = self.word.take() else { return };
        let keyword = matches!(
            word.as_str(),
            "if" | "then" | "else" | "elif" | "do" | "while" | "until" | "!" | "{" | "}" | "coproc"
        );
        if !(keyword && self.words.is_empty()) {
            self.words.push(word);
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        if !self.words.is_empty() {
            self.commands.push(std::mem::take(&mut self.words));
        }
    }

    /// Passes over everything up to a mark; the mark itself stays when `keep` is set.
    fn skip_past(&mut self, mark: &str, keep: bool) {
        let end = match self.rest.find(mark) {
            Some(at) if keep => at,
            Some(at) => at + mark.len(),
            None => self.rest.len(),
        };
        self.rest = &self.rest[end..];
    }

    /// Reads the end mark behind `<<`.
    fn here_document(&mut self) {
        self.end_word();
        self.rest = self.rest.strip_prefix('-').unwrap_or(self.rest);
        self.rest = self.rest.trim_start_matches([' ', '\t']);
        let end = self
            .rest
            .find(|c: char| c.is_whitespace() || ";&|<>()".contains(c))
            .unwrap_or(self.rest.len());
        let (mark, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.here_documents.push(mark.replace(['\'', '"', '\\'], ""));
    }

    fn skip_here_documents(&mut self) {
        for mark in std::mem::take(&mut self.here_documents) {
            while !self.rest.is_empty() {
                let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
                self.rest = rest;
                if line.trim() == mark {
                    break;
                }
            }
        }
    }
}
