//! Comparing people: who is on a list, and who is the same.

use crate::number::normalized;

/// Whether a caller stands on a list of users (`blacklist`, B-139). An entry with `@` names one user of one domain; one
/// without names that user of any domain. Numbers compare without the marks between their digits.
pub fn is_listed<S: AsRef<str>>(list: &[S], user: &str, host: &str) -> bool {
    list.iter().any(|entry| match entry.as_ref().rsplit_once('@') {
        Some((listed, domain)) => domain.eq_ignore_ascii_case(host) && same_peer(listed, user),
        None => same_peer(entry.as_ref(), user),
    })
}

/// Whether two names or numbers mean the same peer (B-134).
pub fn same_peer(one: &str, other: &str) -> bool {
    match (normalized(one), normalized(other)) {
        (Some(one), Some(other)) => one == other,
        (Some(_) | None, Some(_) | None) => one.trim().eq_ignore_ascii_case(other.trim()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn b139_listed_users_are_found_however_they_are_written() {
        let list = ["eve", "mallory@evil.example", "+36 1 234-567"];
        for (user, host, listed) in [
            ("eve", "a.example", true),
            ("EVE", "b.example", true),
            ("mallory", "EVIL.example", true),
            ("mallory", "good.example", false),
            ("+361234567", "x", true),
            ("361234567", "x", false),
            ("steve", "x", false),
            ("", "x", false),
        ] {
            assert_eq!(is_listed(&list, user, host), listed, "{user}@{host}");
        }
        assert!(!is_listed::<&str>(&[], "eve", "x"));
    }

    #[test]
    fn b134_the_same_number_is_known_again() {
        assert!(same_peer("+36 1 234-567", "+361234567"));
        assert!(!same_peer("1234567", "+1234567"));
        assert!(same_peer("Mia", "mia"));
    }
}
