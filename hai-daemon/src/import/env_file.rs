//! Reads a file of shell assignments, as far as people write them: `export NAME="value"  # why`.
//!
//! See [`read`] for the primary entry point. Nothing is executed. `$NAME` and `${NAME}` stand for what the file set
//! before; a value that needs a shell beyond that is kept as such, and matters only to who wants it. No message repeats
//! a value: many are secret.

use std::collections::BTreeMap;
use std::fmt;

/// What is wrong, and in which line, the first being 1.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Problem {
    pub(super) line: usize,
    pub(super) message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.line, self.message)
    }
}

/// What a name was set to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Assigned {
    /// The line in which that begins.
    pub(super) line: usize,
    /// The value; else what only a shell could say, in words.
    pub(super) value: Result<String, String>,
}

/// All names that the file sets, each with its last value; and every line that can not be read.
pub(super) fn read(text: &str) -> (BTreeMap<String, Assigned>, Vec<Problem>) {
    let mut reader = Reader { rest: text, line: 1, known: BTreeMap::new() };
    let mut problems = Vec::new();
    while !reader.rest.is_empty() {
        let line = reader.line;
        if let Err(message) = reader.statement() {
            problems.push(Problem { line, message });
            reader.skip_line();
        }
    }
    (reader.known, problems)
}

struct Reader<'a> {
    rest: &'a str,
    line: usize,
    known: BTreeMap<String, Assigned>,
}

impl Reader<'_> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        self.line += usize::from(next == '\n');
        Some(next)
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|next| next != '\n') {}
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\r')) {
            self.next();
        }
    }

    /// One line, or several if a quoted value has line breaks in it.
    fn statement(&mut self) -> Result<(), String> {
        self.skip_blanks();
        match self.peek() {
            None => return Ok(()),
            Some('\n' | ';') => {
                self.next();
                return Ok(());
            }
            Some('#') => {
                self.skip_line();
                return Ok(());
            }
            Some(_) => {}
        }
        let line = self.line;
        let mut name = self.name();
        if name == "export" && matches!(self.peek(), Some(' ' | '\t')) {
            self.skip_blanks();
            name = self.name();
        }
        if name.is_empty() || name.starts_with(|first: char| first.is_ascii_digit()) || self.peek() != Some('=') {
            return Err("this is not an assignment; write NAME=\"value\"".to_owned());
        }
        self.next();
        let value = self.value(&name)?;
        self.known.insert(name, Assigned { line, value });
        Ok(())
    }

    fn name(&mut self) -> String {
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let name = self.rest[..end].to_owned();
        self.rest = &self.rest[end..];
        name
    }

    /// The value up to the end of its line.
    fn value(&mut self, name: &str) -> Result<Result<String, String>, String> {
        let mut value = Ok(String::new());
        loop {
            match self.peek() {
                None | Some('\n' | ' ' | '\t' | '\r' | ';') => break,
                Some('\'') => {
                    self.next();
                    let Some(end) = self.rest.find('\'') else { return Err(open(name, '\'')) };
                    let part = self.rest[..end].to_owned();
                    self.line += part.matches('\n').count();
                    self.rest = &self.rest[end + 1..];
                    add(&mut value, Ok(part));
                }
                Some('"') => {
                    self.next();
                    loop {
                        match self.peek() {
                            None => return Err(open(name, '"')),
                            Some('"') => {
                                self.next();
                                break;
                            }
                            Some(_) => {
                                let part = self.part(name, true)?;
                                add(&mut value, part);
                            }
                        }
                    }
                }
                Some(_) => {
                    let part = self.part(name, false)?;
                    add(&mut value, part);
                }
            }
        }
        self.skip_blanks();
        match self.peek() {
            None | Some('\n' | ';') => drop(self.next()),
            Some('#') => self.skip_line(),
            Some(_) => return Err(format!("there is something behind the value of {name}; put all of it in quotes")),
        }
        Ok(value)
    }

    /// One character, or what stands for more.
    fn part(&mut self, name: &str, quoted: bool) -> Result<Result<String, String>, String> {
        let needs_shell = || Err(format!("{name} has a command in it, which only a shell can execute"));
        match self.next() {
            Some('\\') => Ok(match self.next() {
                Some('\n') | None => Ok(String::new()),
                Some(next) if quoted && !matches!(next, '"' | '\\' | '$' | '`') => Ok(format!("\\{next}")),
                Some(next) => Ok(next.to_string()),
            }),
            Some('`') => {
                self.skip_to('`', name)?;
                Ok(needs_shell())
            }
            Some('$') => match self.peek() {
                Some('(') => {
                    self.skip_brackets(name)?;
                    Ok(needs_shell())
                }
                Some('{') => {
                    self.next();
                    let other = self.name();
                    match self.next() {
                        Some('}') => Ok(self.lookup(name, &other)),
                        _ => {
                            self.skip_to('}', name)?;
                            Ok(Err(format!("{name} changes another value on the way, which only a shell can do")))
                        }
                    }
                }
                Some(next) if next.is_ascii_alphabetic() || next == '_' => {
                    let other = self.name();
                    Ok(self.lookup(name, &other))
                }
                _ => Ok(Ok("$".to_owned())),
            },
            Some(next) => Ok(Ok(next.to_string())),
            None => Ok(Ok(String::new())),
        }
    }

    fn lookup(&self, name: &str, other: &str) -> Result<String, String> {
        match self.known.get(other) {
            Some(assigned) => assigned.value.clone(),
            None => Err(format!("{name} uses ${other}, which the file does not set before")),
        }
    }

    fn skip_to(&mut self, end: char, name: &str) -> Result<(), String> {
        while let Some(next) = self.next() {
            if next == end {
                return Ok(());
            }
        }
        Err(open(name, end))
    }

    fn skip_brackets(&mut self, name: &str) -> Result<(), String> {
        let mut depth = 0_usize;
        while let Some(next) = self.next() {
            depth += usize::from(next == '(');
            depth -= usize::from(next == ')');
            if depth == 0 {
                return Ok(());
            }
        }
        Err(open(name, ')'))
    }
}

fn open(name: &str, end: char) -> String {
    format!("the value of {name} has no end; a {end} is missing")
}

fn add(value: &mut Result<String, String>, part: Result<String, String>) {
    match (value.as_mut(), part) {
        (Ok(value), Ok(part)) => value.push_str(&part),
        (Ok(_), Err(part)) => *value = Err(part),
        (Err(_), _) => {}
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value(text: &str) -> Result<String, String> {
        let (known, problems) = read(text);
        assert_eq!(problems, []);
        known["A"].value.clone()
    }

    #[test]
    fn values_are_read_as_a_shell_reads_them() {
        for (text, expected) in [
            ("A=b", "b"),
            ("export A=\"b c\" # a remark\n", "b c"),
            ("  export   A='b # c'", "b # c"),
            ("A=\"x:y,\n z\"\n", "x:y,\n z"),
            ("B=one\nA=\"${B}/two\"", "one/two"),
            ("B=one\nA=$B/two\r\n", "one/two"),
            ("A=\"a\\\"b\"", "a\"b"),
            ("A=b'c d'\"e\"", "bc de"),
            ("A=", ""),
            ("A=1\nA=2", "2"),
            ("B=1; A=3", "3"),
        ] {
            assert_eq!(value(text).as_deref(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn nothing_is_executed() {
        for text in ["A=$(id)", "A=\"$(echo $(id))\" # x", "A=`id`", "A=\"${B:-c}\"", "A=$HOME/x"] {
            let error = value(text).expect_err(text);
            assert!(error.contains('A'), "{error}");
        }
    }

    #[test]
    fn what_can_not_be_read_is_named_by_its_line() {
        let (known, problems) = read("A=1\n\nif true; then\nB=\"2\nC=3\n");
        assert_eq!(known.keys().collect::<Vec<_>>(), ["A"]);
        let lines: Vec<usize> = problems.iter().map(|problem| problem.line).collect();
        assert_eq!(lines, [3, 4], "{problems:?}");
        assert!(problems[1].to_string().starts_with("4: the value of B has no end"), "{problems:?}");
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(text in "([A-Z]=|export |[ a-z\"'$`(){}#\\\\\n;:=é])*") {
            let (known, problems) = read(&text);
            let lines = text.lines().count().max(1) + 1;
            prop_assert!(known.values().all(|assigned| (1..=lines).contains(&assigned.line)));
            prop_assert!(problems.iter().all(|problem| (1..=lines).contains(&problem.line)));
        }
    }
}
