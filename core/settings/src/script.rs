//! The parameter object of a `webphone_config.js`, read without running it.

/// Parameters that are taken from one script.
const MAX_PAIRS: usize = 4096;

/// Whether a text is such a script: it names `parameters` and assigns to it.
pub(crate) fn is_script(text: &str) -> bool {
    !assignments(text).is_empty()
}

/// Names and values, in order; or the line where the object is broken.
pub(crate) fn read(text: &str) -> Result<Vec<(String, String)>, usize> {
    let mut found = Vec::new();
    for at in assignments(text) {
        let mut scanner = Scanner { text, at };
        scanner.assignment(&mut found).ok_or_else(|| scanner.line())?;
        if found.len() > MAX_PAIRS {
            return Err(scanner.line());
        }
    }
    Ok(found)
}

/// The places behind the word `parameters` where something is assigned, outside of comments and strings.
fn assignments(text: &str) -> Vec<usize> {
    const WORD: &str = "parameters";
    let mut places = Vec::new();
    let mut scanner = Scanner { text, at: 0 };
    while let Some(c) = scanner.peek() {
        if scanner.comment() {
            continue;
        }
        if matches!(c, '\'' | '"') {
            if scanner.string().is_none() {
                // An open quote: a word of a plain text, not a script's string. The rest of its line is passed over,
                // so that no text is walked over twice (S13).
                scanner.at += scanner.rest().find('\n').unwrap_or(scanner.rest().len());
            }
            continue;
        }
        if !is_word(c) {
            scanner.at += c.len_utf8();
            continue;
        }
        if scanner.word() != WORD {
            continue;
        }
        let behind = scanner.at;
        scanner.space();
        let assigned = match scanner.peek() {
            Some('=') => {
                scanner.at += 1;
                scanner.space();
                scanner.peek() == Some('{')
            }
            Some('[' | '.') => true,
            Some(_) | None => false,
        };
        if assigned {
            places.push(behind);
        }
        // The value's own text is walked over by the loop, strings as strings.
        scanner.at = behind;
    }
    places
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '$')
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn line(&self) -> usize {
        self.text[..self.at.min(self.text.len())].bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    fn take(&mut self, wanted: char) -> Option<()> {
        (self.peek()? == wanted).then(|| self.at += wanted.len_utf8())
    }

    /// Passes over one comment.
    fn comment(&mut self) -> bool {
        let rest = self.rest();
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else {
            return false;
        };
        self.at += length;
        true
    }

    fn space(&mut self) {
        loop {
            let rest = self.rest();
            self.at += rest.len() - rest.trim_start().len();
            if !self.comment() {
                return;
            }
        }
    }

    fn word(&mut self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        self.at += end;
        &rest[..end]
    }

    /// A string with its escapes resolved; the place stays when it does not end on its line.
    fn string(&mut self) -> Option<String> {
        let quote = self.peek().filter(|c| matches!(c, '\'' | '"'))?;
        let mut plain = String::new();
        let mut characters = self.rest().char_indices().skip(1);
        while let Some((at, c)) = characters.next() {
            match c {
                _ if c == quote => {
                    self.at += at + 1;
                    return Some(plain);
                }
                '\n' => return None,
                '\\' => match characters.next()?.1 {
                    'n' => plain.push('\n'),
                    'r' => plain.push('\r'),
                    't' => plain.push('\t'),
                    'u' => {
                        let mut code = 0;
                        for _ in 0..4 {
                            code = code * 16 + characters.next()?.1.to_digit(16)?;
                        }
                        plain.push(char::from_u32(code)?);
                    }
                    other => plain.push(other),
                },
                c => plain.push(c),
            }
        }
        None
    }

    /// A plain value: string, number, `true`, `false`, `null`, `undefined`.
    fn value(&mut self) -> Option<String> {
        match self.peek()? {
            '\'' | '"' => self.string(),
            '-' | '+' | '0'..='9' => {
                let sign = if self.take('-').is_some() { "-" } else { "" };
                let _ = self.take('+');
                self.space();
                let digits = self.word();
                digits.parse::<i64>().ok()?;
                Some(format!("{sign}{digits}"))
            }
            _ => match self.word() {
                word @ ("true" | "false") => Some(word.to_owned()),
                "null" | "undefined" => Some("NULL".to_owned()),
                _ => None,
            },
        }
    }

    /// What stands behind `parameters`: `= {…}`, `['name'] = value` or `.name = value`.
    fn assignment(&mut self, found: &mut Vec<(String, String)>) -> Option<()> {
        self.space();
        if self.take('=').is_some() {
            self.space();
            return self.object(found);
        }
        let name = if self.take('[').is_some() {
            self.space();
            // A name that is worked out at run time is not ours to read.
            let Some(name) = self.string() else { return Some(()) };
            self.space();
            self.take(']')?;
            name
        } else {
            self.take('.')?;
            self.word().to_owned()
        };
        self.space();
        // It is read, compared or called, not assigned.
        if self.take('=').is_none() || self.peek() == Some('=') {
            return Some(());
        }
        self.space();
        if let Some(value) = self.value() {
            found.push((name, value));
        }
        Some(())
    }

    fn object(&mut self, found: &mut Vec<(String, String)>) -> Option<()> {
        self.take('{')?;
        loop {
            self.space();
            if self.take('}').is_some() {
                return Some(());
            }
            let name = match self.peek()? {
                '\'' | '"' => self.string()?,
                _ => self.word().to_owned(),
            };
            if name.is_empty() || found.len() > MAX_PAIRS {
                return None;
            }
            self.space();
            self.take(':')?;
            self.space();
            let value = self.value()?;
            found.push((name, value));
            self.space();
            if self.take(',').is_none() && self.peek()? != '}' {
                return None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ReadError, Settings, Source};

    const SCRIPT: &str = r#"
/* parameters = { serveraddress: 'comment.example' } */
var note = "parameters = { x: 1 }"; // parameters = {y: 2}
webphone_api.parameters = {
    serveraddress: 'sip.example:5070', // where
    "username": "mi\u0061",
    password: 'it\'s // no comment',
    register: 1, autoaccept: true, transport: -1, proxyaddress: null,
    /* last */ displayname: "Mia",
};
webphone_api.parameters['transport'] = 2;
webphone_api.parameters[ "holdtype" ] = +4 ;
webphone_api.parameters.realm = "sip.example";
if (webphone_api.parameters.loglevel == 5) { run(webphone_api.parameters[name]); }
"#;

    #[test]
    fn b036_a_configuration_script_is_read_without_running_it() {
        let mut settings = Settings::new();
        settings.read_file(SCRIPT, Source::File).unwrap();
        assert_eq!(settings.text("serveraddress"), Some("sip.example:5070"));
        assert_eq!(settings.text("username"), Some("mia"));
        assert_eq!(settings.text("password"), Some("it's // no comment"));
        assert_eq!(settings.number("holdtype"), Some(4));
        assert!(settings.is_set("proxyaddress") && settings.text("proxyaddress").is_none());
        assert_eq!(settings.number("transport"), Some(2));
        assert_eq!(settings.text("realm"), Some("sip.example"));
        assert!(!settings.is_set("loglevel"));
        assert!(settings.diagnoses().is_empty(), "{:?}", settings.diagnoses());
    }

    #[test]
    fn a_broken_object_names_its_line() {
        for (bad, line) in [
            ("parameters = {\n a: 1\n b: 2 }", 3),
            ("parameters = {\n a: run() }", 2),
            ("parameters = { a: 'x", 1),
            ("parameters = {", 1),
            ("parameters = { a 1 }", 1),
        ] {
            assert_eq!(
                Settings::new().read_file(bad, Source::File),
                Err(ReadError::Script { line }),
                "{bad}"
            );
        }
    }

    #[test]
    fn lines_that_only_speak_of_parameters_are_no_script() {
        assert!(!is_script("# the parameters\nrealm=it's parameters\n"));
        assert!(!is_script("contact_parameters=a\n"));
    }
}
