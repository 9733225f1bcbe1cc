//! What is a telephone number, and how it is cleaned (B-131).

/// Whether a text is dialled as a number: digits, `*`, `#`, a leading `+` and the marks that people put between them.
/// Everything else is a user name.
pub fn is_number(text: &str) -> bool {
    let rest = text.strip_prefix('+').unwrap_or(text);
    rest.bytes().any(|byte| byte.is_ascii_digit() || matches!(byte, b'*' | b'#'))
        && rest.bytes().all(|byte| byte.is_ascii_digit() || b"*#-./() ".contains(&byte))
}

/// A number without the marks between its digits. Only what looks like a telephone number is cleaned: 5 to 20
/// characters, at least five digits, no letters and no `@`; `None` for the rest.
pub fn normalized(text: &str) -> Option<String> {
    let text = text.trim();
    let length = text.chars().count();
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    let foreign = |c: char| c.is_alphabetic() || c == '@' || c.is_control();
    if !(5..=20).contains(&length) || digits < 5 || text.chars().any(foreign) {
        return None;
    }
    let plus = text.starts_with('+').then_some('+');
    let kept = text.chars().filter(|c| c.is_ascii_digit() || matches!(c, '*' | '#'));
    Some(plus.into_iter().chain(kept).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b131_only_what_looks_like_a_number_is_cleaned() {
        for (typed, cleaned) in [
            ("+36 (1) 234-5678", Some("+3612345678")),
            ("(06-1) 234.567", Some("061234567")),
            ("*21*12345#", Some("*21*12345#")),
            ("12345", Some("12345")),
            ("0043+12345", Some("004312345")),
            (" 12 345 ", Some("12345")),
            ("1234", None),
            ("12-34", None),
            ("123456789012345678901", None),
            ("12345a", None),
            ("12345@example.org", None),
            ("mia", None),
            ("", None),
        ] {
            assert_eq!(normalized(typed).as_deref(), cleaned, "{typed}");
        }
    }

    #[test]
    fn numbers_and_names_are_told_apart() {
        for number in ["100", "+49 30 1234", "*97", "#31#12345", "(0)1/2"] {
            assert!(is_number(number), "{number}");
        }
        for name in ["mia", "mia.1", "100a", "", "+", "-", "1+2", "1@2", "1_2"] {
            assert!(!is_number(name), "{name}");
        }
    }
}
