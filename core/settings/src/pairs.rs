//! `name=value` pairs in one line.

/// Pairs that are taken from one list.
const MAX_PAIRS: usize = 4096;

/// The pairs of a list. A part without `=` belongs to the value before it, if that began a list of its own
/// (`codec=pcmu,pcma`).
pub(crate) fn pairs(text: &str, separator: char) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    core::iter::from_fn(move || {
        loop {
            let part_end = rest.find(separator).unwrap_or(rest.len());
            if rest.is_empty() {
                return None;
            }
            let Some((name, _)) = rest[..part_end].split_once('=') else {
                rest = rest.get(part_end + separator.len_utf8()..).unwrap_or("");
                continue;
            };
            let mut end = part_end;
            while let Some(behind) = rest.get(end + separator.len_utf8()..) {
                let next = behind.find(separator).unwrap_or(behind.len());
                if behind[..next].contains('=') || behind[..next].trim().is_empty() {
                    break;
                }
                end += separator.len_utf8() + next;
            }
            let value = rest[name.len() + 1..end].trim();
            rest = rest.get(end + separator.len_utf8()..).unwrap_or("");
            return Some((name.trim(), value));
        }
    })
    .take(MAX_PAIRS)
}
