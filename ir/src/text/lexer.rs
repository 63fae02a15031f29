//! A cursor over the text with line and column, and the tokens of the grammar.

use super::source_map::Position;
use crate::error::ParseError;

pub(super) struct Cursor<'a> {
    text: &'a str,
    pos: usize,
}

/// A place in the text, in bytes, and where it stands.
#[derive(Debug)]
pub(super) struct Counted(usize, pub(super) Position);

impl Default for Counted {
    fn default() -> Self {
        Counted(0, Position { line: 1, column: 1 })
    }
}

type Result<T> = std::result::Result<T, ParseError>;

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str) -> Self {
        Cursor { text, pos: 0 }
    }
    pub fn pos(&self) -> usize {
        self.pos
    }
    fn rest(&self) -> &'a str {
        &self.text[self.pos..]
    }
    pub fn error_at(&self, pos: usize, message: impl Into<String>) -> ParseError {
        let before = &self.text[..pos];
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
        ParseError { line, column, message: message.into() }
    }
    /// Counts on to `pos`, which is not before what was counted last.
    pub fn advance(&self, counted: &mut Counted, pos: usize) {
        let Counted(from, at) = counted;
        for c in self.text[*from..pos].chars() {
            match c {
                '\n' => *at = Position { line: at.line + 1, column: 1 },
                _ => at.column += 1,
            }
        }
        *from = pos;
    }
    pub fn error(&self, message: impl Into<String>) -> ParseError {
        self.error_at(self.pos, message)
    }
    /// Skips white space and `#` comments.
    pub fn skip(&mut self) {
        loop {
            let r = self.rest();
            let t = r.trim_start();
            self.pos += r.len() - t.len();
            if !t.starts_with('#') {
                return;
            }
            self.pos += t.find('\n').unwrap_or(t.len());
        }
    }
    pub fn at_end(&mut self) -> bool {
        self.skip();
        self.rest().is_empty()
    }
    pub fn peek(&mut self, token: &str) -> bool {
        self.skip();
        self.rest().starts_with(token)
    }
    pub fn eat(&mut self, token: &str) -> bool {
        let yes = self.peek(token);
        if yes {
            self.pos += token.len();
        }
        yes
    }
    pub fn expect(&mut self, token: &str) -> Result<()> {
        if self.eat(token) { Ok(()) } else { Err(self.error(format!("expected `{token}`, found {}", self.found()))) }
    }
    fn found(&self) -> String {
        match self.rest().chars().next() {
            None => "the end of the text".into(),
            Some('\n') => "the end of the line".into(),
            Some(_) => {
                let w: String = self.rest().chars().take_while(|c| !c.is_whitespace()).take(24).collect();
                format!("`{w}`")
            }
        }
    }
    /// Longest run of characters that satisfy `f`; an error naming `what` if empty.
    pub fn run(&mut self, what: &str, f: impl Fn(char) -> bool) -> Result<&'a str> {
        self.skip();
        let r = self.rest();
        let n = r.find(|c| !f(c)).unwrap_or(r.len());
        if n == 0 {
            return Err(self.error(format!("expected {what}, found {}", self.found())));
        }
        self.pos += n;
        Ok(&r[..n])
    }
    pub fn ident(&mut self, what: &str) -> Result<&'a str> {
        self.run(what, |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.'))
    }
    /// Characters of numbers and of words such as `2^30*q4^-1`.
    pub fn word(&mut self) -> Result<&'a str> {
        self.run("a value", |c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '^' | '*' | '+' | '-' | '/'))
    }
    /// The rest of the line up to `stop` characters, trimmed.
    pub fn until(&mut self, stop: &[char]) -> &'a str {
        while self.rest().starts_with([' ', '\t']) {
            self.pos += 1;
        }
        let r = self.rest();
        let n = r.find(stop).unwrap_or(r.len());
        self.pos += n;
        r[..n].trim_end()
    }
    pub fn string(&mut self) -> Result<String> {
        self.expect("\"")?;
        let start = self.pos;
        let mut out = String::new();
        let mut it = self.rest().char_indices();
        while let Some((i, c)) = it.next() {
            match c {
                '"' => {
                    self.pos = start + i + 1;
                    return Ok(out);
                }
                '\\' => match it.next().map(|(_, c)| c) {
                    Some('n') => out.push('\n'),
                    Some('u') => {
                        let hex: String = it.by_ref().map(|(_, c)| c).skip(1).take_while(|&c| c != '}').collect();
                        let c = u32::from_str_radix(&hex, 16).ok().and_then(char::from_u32);
                        out.push(c.ok_or_else(|| self.error_at(start + i, "bad character escape"))?);
                    }
                    Some(c) => out.push(c),
                    None => break,
                },
                c => out.push(c),
            }
        }
        Err(self.error_at(start - 1, "this string does not end"))
    }
}
