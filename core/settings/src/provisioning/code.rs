//! The code of a link, as people type it.

/// Letters and digits that nobody mistakes for one another: no I, L, O and U.
pub const CODE_ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// 26 of 32 letters: 130 bits.
pub const CODE_LENGTH: usize = 26;

/// The code in its own spelling, from one that a person may have typed: in any case, with spaces or dashes, with O for 0
/// and I or L for 1. `None` when it is none.
pub fn read_code(text: &str) -> Option<String> {
    if text.len() > 4 * CODE_LENGTH {
        return None;
    }
    let letters = text.chars().filter(|letter| !matches!(letter, ' ' | '-'));
    let code: Option<String> = letters
        .map(|letter| match letter.to_ascii_uppercase() {
            'O' => Some('0'),
            'I' | 'L' => Some('1'),
            letter if u8::try_from(letter).is_ok_and(|byte| CODE_ALPHABET.contains(&byte)) => Some(letter),
            _ => None,
        })
        .collect();
    code.filter(|code| code.len() == CODE_LENGTH)
}
